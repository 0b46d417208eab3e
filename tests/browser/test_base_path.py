"""The console and the reference page in Chromium, below the base path of a stage."""

from collections.abc import Callable, Iterator

import pytest
from api_client import Api
from base_path import BasePath
from browser.console_page import ConsolePage
from browser.docs_page import DocsPage
from selenium.webdriver.chrome.webdriver import WebDriver

from local.seed import container_id
from local.stack import LocalStack


@pytest.fixture(scope="module")
def staged(stack: LocalStack) -> Iterator[str]:
    with BasePath(stack.url) as proxy:
        yield proxy.url


def test_the_console(visit: Callable[[str], ConsolePage], staged: str, api: Api) -> None:
    console = visit(staged)
    console.sign_in(container_id(12))
    assert console.driver.current_url == f"{staged}/console/#{container_id(12)}"
    assert console.driver.execute_script("return document.getElementById('base-url').value") == f"{staged}/api/v1"


def test_the_files_of_the_console_are_loaded_once(visit: Callable[[str], ConsolePage], staged: str) -> None:
    """The first load sends one request for each file, the second only one for the page."""
    console = visit(staged)
    console.open()
    assert len(loaded(console.driver, staged)) <= 5
    console.driver.refresh()
    console.wait(lambda: console.element("#connection-toggle").is_displayed())
    entries = loaded(console.driver, staged)
    assert entries
    assert all(size == 0 for name, size in entries.items() if not name.endswith("/")), entries


def test_the_reference(tab: WebDriver, staged: str, api: Api) -> None:
    docs = DocsPage(tab, staged).open()
    assert tab.current_url == f"{staged}/docs/"
    docs.authorize(api.token("operator"))
    status, body = docs.execute(docs.expand("getContainer"), id=container_id(17))
    assert (status, body["data"]["id"]) == (200, container_id(17))
    assert docs.hosts == {staged.removesuffix("/live")}


def loaded(driver: WebDriver, url: str) -> dict[str, int]:
    """Return the bytes that were transferred for each file since the page was loaded. 0: from the browser's cache."""
    script = "return performance.getEntriesByType('resource').map(entry => [entry.name, entry.transferSize])"
    return {name: size for name, size in driver.execute_script(script) if name.startswith(f"{url}/console/")}
