"""The reference page in Chromium: it loads without errors and only from this host, and it can send requests."""

import re

import pytest
import yaml
from api_client import Api
from browser.docs_page import DocsPage
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from local.seed import Seeder, container_id
from local.stack import LocalStack
from local.template import ROOT

LONG = container_id(17)
HISTORY_ROWS = 1000


@pytest.fixture
def docs(tab: WebDriver, stack: LocalStack) -> DocsPage:
    tab.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": stack.url, "storageTypes": "all"})
    return DocsPage(tab, stack.url).open()


def test_it_shows_every_operation_and_uses_no_other_host(docs: DocsPage, stack: LocalStack) -> None:
    paths = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))["paths"]
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method in ("get", "post", "patch", "put", "delete")
    ]
    assert sorted(docs.operations) == sorted(name for name, _ in operations)
    for _, operation in operations:
        block = docs.expand(operation["operationId"], operation["tags"][0])
        statuses = [cell.text for cell in block.find_elements(By.CSS_SELECTOR, "tr.response > .response-col_status")]
        assert statuses == list(operation["responses"])
        assert "Could not" not in block.text
    assert docs.faults == []
    assert docs.hosts == {stack.url}


def test_calls_with_a_token(docs: DocsPage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    docs.authorize(api.token("operator"))
    block = docs.expand("manage")
    status, body = docs.execute(block, id=fresh_id, operation="restart")
    assert (status, body["data"]["operation"], body["data"]["status"]) == (200, "restart", "running")
    status, body = docs.execute(docs.expand("getStatusLogs"), id=LONG, limit="2", page="3", sort_by="to_status")
    assert (status, body["data"]["pagination"]) == (200, {"total": 1000, "page": 3, "limit": 2, "totalPages": 500})


def test_a_conflict(docs: DocsPage, api: Api, refusals: set[int | str]) -> None:
    refusals.add(400)
    docs.authorize(api.token("operator"))
    status, body = docs.execute(docs.expand("manage"), id=container_id(12), operation="resume")
    assert (status, body["message"]) == (400, "Container is already running")


def test_a_call_without_a_token(docs: DocsPage, refusals: set[int | str]) -> None:
    refusals.add(401)
    status, body = docs.execute(docs.expand("getContainer"), id=LONG)
    assert (status, body["code"]) == (401, "MISSING_TOKEN")


def test_a_reload_forgets_the_token(docs: DocsPage, tab: WebDriver, api: Api) -> None:
    docs.authorize(api.token("operator"))
    assert tab.find_elements(By.CSS_SELECTOR, ".btn.authorize.locked")
    docs.open()
    assert tab.find_elements(By.CSS_SELECTOR, ".btn.authorize.unlocked")


# Returns what a script of the page gets of the console, or the name of the error.
SPY = """
const [console, done] = arguments;
const attempt = async read => { try { return String(await read()); } catch (error) { return error.name; } };
Promise.all([
  attempt(() => sessionStorage.getItem("longshore.token")),
  attempt(() => localStorage.getItem("longshore.recent")),
  attempt(() => document.cookie),
  attempt(async () => (await fetch(console)).status),
]).then(done);
"""


def test_it_cannot_read_what_the_console_stores(tab: WebDriver, stack: LocalStack, refusals: set[int | str]) -> None:
    """The reference is opened in the tab of the console, which is signed in."""
    refusals.add("connect-src")
    tab.get(f"{stack.url}/console/")
    tab.execute_script("sessionStorage.setItem('longshore.token', 't'); localStorage.setItem('longshore.recent', 'r')")
    assert tab.execute_async_script(SPY, f"{stack.url}/console/") == ["t", "r", "", "200"]
    DocsPage(tab, stack.url).open()
    refusals |= {"CORS policy", "net::ERR_FAILED"}
    found = tab.execute_async_script(SPY, f"{stack.url}/console/")
    assert found == ["SecurityError", "SecurityError", "SecurityError", "TypeError"]


def test_it_cannot_script_a_console_that_it_opens(docs: DocsPage, tab: WebDriver, stack: LocalStack) -> None:
    reference = tab.current_window_handle
    tab.execute_script("window.opened = window.open(arguments[0])", f"{stack.url}/console/")
    (opened,) = set(tab.window_handles) - {reference}
    try:
        script = "try { return String(window.opened.sessionStorage) } catch (error) { return error.name }"
        assert tab.execute_script(script) == "SecurityError"
        tab.switch_to.window(opened)
        WebDriverWait(tab, 10).until(lambda _: tab.find_elements(By.ID, "connection-toggle"))
        assert tab.execute_script("return window.opener") is None
    finally:
        tab.switch_to.window(opened)
        tab.close()
        tab.switch_to.window(reference)


def test_the_schemas_are_folded(docs: DocsPage, tab: WebDriver) -> None:
    (models,) = tab.find_elements(By.CSS_SELECTOR, "section.models")
    assert "is-open" not in str(models.get_attribute("class"))


def test_a_narrow_screen_does_not_scroll_sideways(docs: DocsPage, tab: WebDriver) -> None:
    size = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    tab.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        for operation in ("getContainer", "getStatusLogs", "manage"):
            docs.expand(operation)
        root = "document.documentElement"
        width, content = tab.execute_script(f"return [{root}.clientWidth, {root}.scrollWidth]")
        assert content == width <= 360
    finally:
        tab.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_colors_follow_the_system(docs: DocsPage, tab: WebDriver, scheme: str, is_dark: bool) -> None:
    """Check that headings and paragraphs have enough contrast (WCAG 2: 4.5) with the page's own background."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    tab.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    try:
        # The page's style sheet animates some colors.
        WebDriverWait(tab, 10).until(
            lambda _: is_readable(tab) and (luminance(colors(tab, "html", "backgroundColor")[0]) < 0.1) == is_dark
        )
    finally:
        tab.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def is_readable(tab: WebDriver) -> bool:
    """Return whether all headings and paragraphs have enough contrast with the background."""
    background = luminance(colors(tab, "html", "backgroundColor")[0])
    texts = colors(tab, ".info h1.title, .info p, .opblock-tag, .opblock-summary-description", "color")
    assert len(texts) > 5
    pairs = [sorted([luminance(text), background], reverse=True) for text in texts]
    return all((lighter + 0.05) / (darker + 0.05) >= 4.5 for lighter, darker in pairs)


def colors(tab: WebDriver, selector: str, property_name: str) -> list[list[int]]:
    """Return a color property of the matching elements, as red, green and blue."""
    script = "return [...document.querySelectorAll(arguments[0])].map(found => getComputedStyle(found)[arguments[1]])"
    found = tab.execute_script(script, selector, property_name)
    return [[int(part) for part in re.findall(r"\d+", color)[:3]] for color in found]


def luminance(color: list[int]) -> float:
    """Return the relative luminance of a color (WCAG 2), from 0 for black to 1 for white."""
    linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
