"""The console in a browser: connecting, and operating containers."""

from api_client import Api
from browser.console_page import ConsolePage
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from service_seed import add_service

from local import tokens
from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

STOPPED = ["stopped", "running", "stopped"]
RUNNING = ["stopped", "running"]


def test_a_first_visit(console: ConsolePage, refusals: set[int | str]) -> None:
    """The page asks for a token, shows the API's error for an invalid one, and stores a valid one in this tab only."""
    refusals.add(401)
    console.open(container_id(12))
    assert console.element("#base-url").get_attribute("value") == f"{console.url}/api/v1"
    assert console.driver.switch_to.active_element.get_attribute("id") == "token"
    console.connect("nonsense")
    console.wait(lambda: "Invalid authentication token (INVALID_TOKEN)" in console.text("#connection-error"))
    console.connect(tokens.token("operator", -3600))
    console.wait(lambda: "Authentication token has expired (TOKEN_EXPIRED)" in console.text("#connection-error"))
    assert not console.element("#container").is_displayed()

    token = tokens.token("operator")
    console.connect(f"Authorization: Bearer {token} ")
    console.wait_for_status("running")
    assert console.text("#container-name") == "payments"
    assert console.text("#session-text") == "operator"
    assert not console.element("#connection").is_displayed()
    assert console.driver.current_url == f"{console.url}/console/#{container_id(12)}"
    assert token in console.run("return Object.values(sessionStorage)")
    assert not [text for text in console.run("return Object.values(localStorage)") if token in text]
    assert console.run("return document.cookie") == ""

    console.driver.refresh()
    console.wait_for_status("running")
    # Chromium loads the icons of its own controls from data URLs.
    requests = [request for request in console.requests() if not request["url"].startswith("data:")]
    assert len(requests) > 15
    assert {request["url"] for request in requests if not request["url"].startswith(console.url)} == set()
    assert [request["url"] for request in requests if token[-20:] in request["url"]] == []

    console.element("#connection-toggle").click()
    console.element("#forget").click()
    console.wait(lambda: console.text("#session-text") == "No token")
    assert token not in console.run("return Object.values(sessionStorage)")


def test_the_hosts_that_may_receive_the_token(console: ConsolePage) -> None:
    console.open()
    field = console.element("#base-url")
    faults = {
        "": "not a URL",
        "http://api.example.com/v1": "must be https:",
        "https://user:secret@api.example.com": "must have no user",
        "https://api.example.com/?a=b": "must have no user",
    }
    console.run("document.getElementById('base-url').required = false")
    for url, fault in faults.items():
        field.clear()
        field.send_keys(url)
        console.connect("some.token.x")
        console.wait(lambda fault=fault: fault in console.text("#connection-error"))  # type: ignore[misc]
        field = console.element("#base-url")
    assert console.run("return sessionStorage.length") == 0


def test_an_api_on_another_host(
    console: ConsolePage, api: Api, seeder: Seeder, refusals: set[int | str], fresh_id: str
) -> None:
    """CORS allows the headers and exposes the request ids. The CSP is bypassed, because it forbids plain HTTP."""
    refusals.add(400)
    seeder.add(fresh_id, STOPPED)
    console.cdp("Page.setBypassCSP", enabled=True)
    console.freeze()
    console.open()
    elsewhere = console.url.replace("127.0.0.1", "localhost")
    console.run("sessionStorage.setItem('longshore.base-url', arguments[0])", f"{elsewhere}/api/v1")
    console.run("sessionStorage.setItem('longshore.token', arguments[0])", tokens.token("operator"))
    console.open(fresh_id)
    console.wait_for_status("stopped")
    assert console.text("#session-text").startswith("operator at localhost:")
    assert api.post(fresh_id, "start").status_code == 200
    console.click("start")
    console.wait_for_notice("Container is already running", "OPERATION_STATE_CONFLICT", "request ")
    console.wait_for_status("running")
    sent = {request["url"] for request in console.requests() if request["method"] == "POST"}
    assert sent == {f"{elsewhere}/api/v1/containers/{fresh_id}/start"}


def test_start_and_pause_by_clicking(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, STOPPED, name="web-1")
    console.sign_in(fresh_id)
    assert (console.text("#container-name"), console.status()) == ("web-1", "stopped")
    assert console.enabled() == ["start", "restart"]
    console.click("start")
    console.wait_for_notice("Container started successfully", "request ")
    console.wait_for_status("running")
    console.wait(lambda: sorted(console.enabled()) == sorted(api.get(fresh_id).json()["data"]["allowed_operations"]))
    console.click("pause")
    console.wait_for_notice("Container paused successfully")
    assert "Container paused successfully" in console.announced()
    console.wait_for_status("paused")
    assert console.driver.title == "Paused · web-1 · Longshore"
    rows = console.wait(lambda: rows if len(rows := console.shown_rows()) == 5 else None)
    assert [row["to_status"] for row in rows or []] == ["paused", "running", "stopped", "running", "stopped"]
    assert api.get(fresh_id).json()["data"]["status"] == "paused"
    assert console.wait(lambda: console.bands()) == {"running": 2, "paused": 1, "stopped": 2, "failed": 0, "expired": 0}


def test_a_disabled_button(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, RUNNING)
    console.sign_in(fresh_id)
    console.requests()
    console.click("resume")
    console.wait(lambda: console.announced() == "Resume is not allowed while the container is running")
    assert [request for request in console.requests() if request["method"] == "POST"] == []


def test_a_service(console: ConsolePage, stack: LocalStack) -> None:
    service = add_service(stack, "console-service", "running")
    console.sign_in(service)
    assert console.text(".card .count") == "2 of 2 tasks running"
    buttons = console.driver.find_elements(By.CSS_SELECTOR, "[data-operation]")
    names = [button.get_attribute("data-operation") for button in buttons if button.is_displayed()]
    assert names == ["start", "stop", "restart", "force-stop"]
    console.click("stop")
    console.wait(lambda: console.text(".card .count") == "0 of 2 tasks running")
    console.open("")
    console.wait(lambda: "0 of 2" in console.text("#fleet-table"))


def test_from_one_container_to_another(console: ConsolePage) -> None:
    """The URL selects the container, whether it changes by a link, the form or the browser's Back button."""
    console.sign_in(container_id(13))
    assert console.status() == "paused"
    field = console.element("#container-id")
    field.clear()
    field.send_keys(container_id(15), Keys.ENTER)
    console.wait_for_status("expired")
    assert console.enabled() == []
    console.wait(lambda: [row["to_status"] for row in console.shown_rows()] == ["expired", "running", "stopped"])
    console.driver.back()
    console.wait_for_status("paused")
    console.wait(lambda: [row["to_status"] for row in console.shown_rows()] == ["paused", "running", "stopped"])
    options = console.driver.find_elements(By.CSS_SELECTOR, "#recent option")
    assert [option.get_attribute("value") for option in options] == [container_id(13), container_id(15)]


def test_html_is_shown_as_text(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    html = "<img src=x onerror=\"window.broken='yes'\">"
    seeder.add(fresh_id, STOPPED, name=html)
    seeder.grant(html, PROJECT, "operator")
    assert api.post(fresh_id, "start", user=html).status_code == 200
    console.sign_in(fresh_id, html)
    assert console.text("#container-name") == html
    assert console.text("#session-text") == html
    toggle = console.element("tr[data-row] .expand")
    assert toggle.text == f"start by {html}"
    toggle.click()
    assert html in console.text("tr.details:not([hidden])")
    assert html in console.text(".timeline-detail")
    console.click("stop")
    console.wait_for_status("stopped")
    assert console.run("return [window.broken ?? null, document.querySelectorAll('main img').length]") == [None, 0]
