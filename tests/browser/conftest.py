"""Fixtures: a headless Chromium with a new tab for each test. Tests are skipped without chromium and chromedriver."""

import re
import shutil
from collections.abc import Callable, Iterator

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from browser.npm import NpmUnavailableError, package
from browser.open_server import OpenServer
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver

from local.stack import LocalStack

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",  # tests run as root in containers, where Chromium's sandbox does not work
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
    # The domain of a page that attacks servers on this machine by DNS rebinding.
    "--host-resolver-rules=MAP rebound.example 127.0.0.1",
]
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d{3})")
_AXE = ("axe-core", "4.14.1")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """Chromium with its driver, for the whole session. Tests use `tab`."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("chromium or chromedriver is missing: Debian's packages are chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in [*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def refusals() -> set[int | str]:
    """Errors that a test expects in the browser's log: HTTP statuses of refused calls, and network errors."""
    return set()


@pytest.fixture
def tab(browser: WebDriver, refusals: set[int | str]) -> Iterator[WebDriver]:
    """The browser with a new, empty tab of 1280 by 900 pixels. Fails if the browser's log has unexpected errors."""
    old = browser.current_window_handle
    browser.switch_to.new_window("tab")
    new = browser.current_window_handle
    browser.switch_to.window(old)
    browser.close()
    browser.switch_to.window(new)
    for log in ("browser", "performance"):
        browser.get_log(log)  # type: ignore[no-untyped-call]  # entries of the previous test
    yield browser
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]
    # Otherwise the last page of this process keeps polling while other tests run.
    browser.get("about:blank")
    errors = [entry["message"] for entry in entries if entry["level"] in {"SEVERE", "WARNING"}]
    assert [error for error in errors if not _expected(error, refusals)] == []


@pytest.fixture
def visit(tab: WebDriver) -> Callable[[str], ConsolePage]:
    """A function that returns the console of the stack with the given base URL."""

    def console(url: str) -> ConsolePage:
        tab.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"})
        return ConsolePage(tab, url)

    return console


@pytest.fixture
def console(visit: Callable[[str], ConsolePage], stack: LocalStack, api: Api) -> ConsolePage:
    """The console of the stack. The page is not open yet."""
    return visit(stack.url)


@pytest.fixture(scope="module")
def other() -> Iterator[OpenServer]:
    server = OpenServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, an accessibility checker."""
    try:
        return (package(*_AXE) / "axe.min.js").read_text(encoding="utf-8")
    except NpmUnavailableError as missing:
        pytest.skip(str(missing))


def _expected(error: str, refusals: set[int | str]) -> bool:
    refused = _REFUSED.search(error)
    if refused:
        return int(refused[1]) in refusals
    return any(isinstance(refusal, str) and refusal in error for refusal in refusals)
