"""The console in a browser: connecting, operating by clicks and by keys, and what it says when things go wrong."""

from collections.abc import Callable
from typing import Any

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from lossy_proxy import LossyProxy, first_posts_lost
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from local import tokens
from local.emulator import Emulator
from local.seed import INSTANCE, PROJECT, Seeder, container_id
from local.stack import LocalStack

STOPPED = ["stopped", "running", "stopped"]
RUNNING = ["stopped", "running"]


def test_a_first_visit(console: ConsolePage, refusals: set[int | str]) -> None:
    """The page asks for a token, refuses bad ones in the API's words, and keeps a good one in this tab alone."""
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
    requests = console.requests()
    assert len(requests) > 15
    assert {request["url"] for request in requests if not request["url"].startswith(console.url)} == set()
    assert [request["url"] for request in requests if token[-20:] in request["url"]] == []

    console.element("#connection-toggle").click()
    console.element("#forget").click()
    console.wait(lambda: console.text("#session-text") == "No token")
    assert token not in console.run("return Object.values(sessionStorage)")


def test_where_the_token_may_be_sent(console: ConsolePage) -> None:
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
    """The API's CORS lets the console in: its headers, its request ids. Only for plain HTTP is its policy put aside."""
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


def test_a_button_that_is_not_enabled(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, RUNNING)
    console.sign_in(fresh_id)
    console.requests()
    console.click("resume")
    console.wait(lambda: console.announced() == "Resume is not allowed while the container is running")
    assert [request for request in console.requests() if request["method"] == "POST"] == []


def test_a_conflict(console: ConsolePage, api: Api, seeder: Seeder, refusals: set[int | str], fresh_id: str) -> None:
    """What changes behind the page's back is told in the API's words, and then shown."""
    refusals.add(400)
    seeder.add(fresh_id, RUNNING)
    console.freeze()
    console.sign_in(fresh_id)
    assert api.post(fresh_id, "pause").status_code == 200
    console.click("pause")
    notice = console.wait_for_notice("Container is already paused", "OPERATION_STATE_CONFLICT")
    assert "Allowed now: stop, force-stop, restart, resume" in notice
    assert "request " in notice
    assert "Container is already paused" in console.announced()
    console.wait_for_status("paused")
    assert console.enabled() == ["stop", "restart", "resume", "force-stop"]
    # A message can be dismissed.
    console.element(".notice button").click()
    console.wait(lambda: console.notices() == [])


def test_force_stop_asks_first(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, RUNNING, name="web-2")
    console.sign_in(fresh_id)
    console.click("force-stop")
    console.wait(lambda: "web-2 is running" in console.text("#confirm"))
    assert console.driver.switch_to.active_element.get_attribute("id") == "confirm-cancel"
    console.press(Keys.ESCAPE)
    console.wait(lambda: not console.element("#confirm").is_displayed())
    assert console.driver.switch_to.active_element.get_attribute("data-operation") == "force-stop"
    assert len(api.rows(fresh_id)) == 2
    console.press(Keys.ENTER)
    console.wait(lambda: console.element("#confirm").is_displayed())
    console.element("#confirm-ok").click()
    console.wait_for_notice("Container force-stopped successfully")
    console.wait_for_status("stopped")


def test_a_failure_of_aws(
    console: ConsolePage,
    api: Api,
    seeder: Seeder,
    emulator: Emulator,
    refusals: set[int | str],
    fresh_id: str,
) -> None:
    """Its reason is shown, and the same request can be sent again, under the same key."""
    refusals.add(500)
    seeder.add(fresh_id, STOPPED)
    console.sign_in(fresh_id)
    emulator.ecs.set_capacity(INSTANCE, memory=0)
    console.click("start")
    console.wait_for_notice(
        "A required external service is unavailable or returned an error EXTERNAL_SERVICE_ERROR",
        "No instance of the cluster has enough memory left",
    )
    emulator.ecs.set_capacity(INSTANCE)
    console.element(".notice button").click()
    console.wait_for_notice("Container started successfully")
    console.wait_for_status("running")
    sent = [request["headers"] for request in console.requests() if request["method"] == "POST"]
    assert len(sent) == 2
    assert sent[0]["Idempotency-Key"] == sent[1]["Idempotency-Key"]


def test_a_lost_reply(
    visit: Callable[[str], ConsolePage],
    stack: LocalStack,
    api: Api,
    seeder: Seeder,
    refusals: set[int | str],
    fresh_id: str,
) -> None:
    """The operation is repeated under the same key: it has one effect, and its first answer."""
    refusals.add("net::ERR_EMPTY_RESPONSE")
    seeder.add(fresh_id, STOPPED)
    with LossyProxy(stack.url, first_posts_lost(2), keep_alive=False) as proxy:
        console = visit(proxy.url)
        console.sign_in(fresh_id)
        console.click("start")
        console.wait_for_notice("Container started successfully")
        console.wait_for_status("running")
        assert len(proxy.keys) == 3
        assert len(set(proxy.keys)) == 1
        console.click("pause")
        console.wait_for_notice("Container paused successfully")
        assert proxy.keys[3] not in proxy.keys[:3]
        console.driver.get("about:blank")
    assert [row["metadata"].get("command") for row in api.rows(fresh_id)[3:]] == ["start", "pause"]


def test_no_connection(console: ConsolePage, seeder: Seeder, refusals: set[int | str], fresh_id: str) -> None:
    """What is shown stays, and is called old, until the API answers again."""
    refusals.add("net::ERR_INTERNET_DISCONNECTED")
    seeder.add(fresh_id, RUNNING)
    console.sign_in(fresh_id)
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    console.cdp("Network.emulateNetworkConditions", offline=True, **network)
    try:
        console.wait(lambda: "No answer from 127.0.0.1" in console.text("#stale"))
        assert console.text("#stale").startswith("Not updated since ")
        assert console.status() == "running"
    finally:
        console.cdp("Network.emulateNetworkConditions", offline=False, **network)
    console.wait(lambda: not console.element("#stale").is_displayed())


@pytest.mark.parametrize(
    ("identity", "user", "words"),
    [
        ("nonsense", "operator", "Invalid ID format INVALID_ID_FORMAT"),
        (container_id(99), "operator", "Container not found CONTAINER_NOT_FOUND"),
        (container_id(12), "stranger", "Container not found CONTAINER_NOT_FOUND"),
        (container_id(12), "banned", "Account has been banned ACCOUNT_BANNED"),
    ],
)
def test_what_cannot_be_read(
    console: ConsolePage, refusals: set[int | str], identity: str, user: str, words: str
) -> None:
    refusals |= {400, 403, 404}
    console.open(identity)
    console.connect(tokens.token(user))
    console.wait_for_notice(words)
    assert not console.element("#container").is_displayed()
    assert not console.element("#history").is_displayed()


def test_a_viewer(console: ConsolePage, api: Api, seeder: Seeder, refusals: set[int | str], fresh_id: str) -> None:
    refusals.add(403)
    seeder.add(fresh_id, RUNNING)
    console.sign_in(fresh_id, "viewer")
    console.click("stop")
    console.wait_for_notice("Insufficient permissions", "INSUFFICIENT_PERMISSIONS")
    assert console.status() == "running"


def test_from_one_container_to_another(console: ConsolePage) -> None:
    """The address names the container: by the form, by a link, and by the browser's Back."""
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


def test_what_looks_like_html_is_text(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
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


def test_by_the_keyboard_alone(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """Through the whole page in its order; then a token, an operation, the timeline and the table, all by keys."""
    seeder.add(fresh_id, STOPPED)
    console.open(fresh_id)
    console.press(*tokens.token("operator"), Keys.ENTER)
    console.wait_for_status("stopped")
    console.wait(lambda: len(console.shown_rows()) == 3)
    # Loaded anew, the page is entered at its top.
    console.driver.refresh()
    console.wait(lambda: len(console.shown_rows()) == 3)
    seen: list[str] = []
    while (focused := _tab(console)) and focused not in seen:
        seen.append(focused)
    assert seen[:4] == ["skip", "container-id", "Open", "connection-toggle"]
    assert seen[4:10] == ["start", "stop", "restart", "pause", "resume", "force-stop"]
    order = ["zoom-all", "zone-local", "Changes of status in view", "Show in the table", "History table"]
    order += ["transition_time", f"row {api.rows(fresh_id)[-1]['id']}", "Previous page", "page"]
    positions = [seen.index(name) for name in order]
    assert positions == sorted(positions)
    assert seen[-1] == "limit"

    # To the buttons by the skip link.
    console.driver.refresh()
    console.wait(lambda: len(console.shown_rows()) == 3)
    assert _tab(console) == "skip"
    console.press(Keys.ENTER)
    assert _tab(console) == "start"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert console.run(outline) == "solid"
    console.press(Keys.ENTER)
    console.wait_for_status("running")
    assert _focused(console) == "start"

    # The timeline tells the change that is selected, and Enter finds it in the table.
    console.wait(lambda: console.slider()["max"] == "4")
    console.run("document.querySelector('.timeline-slider').focus()")
    rows = api.rows(fresh_id)
    console.press(Keys.HOME)
    assert console.slider()["now"] == "1"
    console.press(Keys.ARROW_RIGHT)
    assert console.slider()["now"] == "2"
    assert console.slider()["text"].startswith("Running from ")
    console.press(Keys.ENTER)
    console.wait(lambda: _focused(console) == f"row {rows[1]['id']}")
    console.press(Keys.SPACE)
    assert console.element(f"#details-{rows[1]['id']}").is_displayed()


def _tab(console: ConsolePage) -> str:
    console.press(Keys.TAB)
    return _focused(console)


def _focused(console: ConsolePage) -> str:
    """What has the focus, by the name that says most; empty when nothing has."""
    script = """
        const one = document.activeElement;
        const row = one.closest("tr[data-row]");
        return row ? `row ${row.dataset.row}`
          : one === document.body ? ""
          : one.id || one.dataset.operation || one.dataset.sort || one.getAttribute("aria-label") || one.innerText;"""
    return str(console.run(script))


def test_a_phone(console: ConsolePage, api: Api, seeder: Seeder, refusals: set[int | str], fresh_id: str) -> None:
    """360 pixels wide, nothing but the table is wider, whatever is shown."""
    refusals.add(400)
    seeder.add(fresh_id, RUNNING, name="a-name-without-any-space-that-is-as-long-as-a-name-might-ever-get-to-be")
    console.resize(360, 740)
    console.freeze()
    console.open(fresh_id)
    _fits(console)
    console.connect(tokens.token("operator"))
    console.wait_for_status("running")
    assert api.post(fresh_id, "pause").status_code == 200
    console.click("pause")
    console.wait_for_notice("Container is already paused")
    console.wait(lambda: len(console.shown_rows()) == 3)
    console.element("tr[data-row] .expand").click()
    _fits(console)
    frame = console.run("const f = document.querySelector('.table-frame'); return [f.scrollWidth, f.clientWidth]")
    assert frame[0] > frame[1]
    console.click("force-stop")
    _fits(console)


def _fits(console: ConsolePage) -> None:
    root = console.run("const root = document.documentElement; return [root.scrollWidth, root.clientWidth]")
    assert root[0] == root[1] <= 360


def test_accessibility(
    console: ConsolePage, api: Api, seeder: Seeder, refusals: set[int | str], axe: str, fresh_id: str
) -> None:
    """axe-core finds nothing, in both colour schemes: contrast, names, roles, order."""
    refusals.add(400)
    console.freeze()
    seeder.add(fresh_id, ["stopped", "running", "failed", "running", "paused", "running"])
    console.open(fresh_id)
    console.run(axe)
    found = {"connection": _violations(console)}
    console.connect(tokens.token("operator"))
    console.wait_for_status("running")
    assert api.post(fresh_id, "pause").status_code == 200
    console.click("pause")
    console.wait_for_notice("OPERATION_STATE_CONFLICT")
    console.wait(lambda: len(console.shown_rows()) == 7)
    console.element("tr[data-row] .expand").click()
    for scheme in ("light", "dark"):
        console.prefer(prefers_color_scheme=scheme)
        found[scheme] = _violations(console)
    console.click("force-stop")
    found["dialog"] = _violations(console)
    assert found == {"connection": [], "light": [], "dark": [], "dialog": []}


def _violations(console: ConsolePage) -> list[Any]:
    script = """
        const done = arguments[arguments.length - 1];
        axe.run().then(({violations}) => done(violations.map(({id, nodes}) =>
          [id, nodes.map(({target, failureSummary}) => [target.join(" "), failureSummary])])));"""
    return list(console.driver.execute_async_script(script))
