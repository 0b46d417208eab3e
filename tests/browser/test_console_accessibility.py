"""The console in a browser: keyboard, small screens and accessibility."""

from typing import Any

from api_client import Api
from browser.console_page import ConsolePage
from selenium.webdriver.common.keys import Keys

from local import tokens
from local.seed import Seeder

STOPPED = ["stopped", "running", "stopped"]
RUNNING = ["stopped", "running"]


def test_the_page_works_with_the_keyboard(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """The Tab order of the page, then a token, an operation, the timeline and the table, all with the keyboard."""
    seeder.add(fresh_id, STOPPED)
    console.open(fresh_id)
    console.press(*tokens.token("operator"), Keys.ENTER)
    console.wait_for_status("stopped")
    console.wait(lambda: len(console.shown_rows()) == 3)
    # After a reload, the focus starts at the top of the page.
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

    # The skip link leads to the buttons.
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

    # The timeline describes the selected change, and Enter shows it in the table.
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
    """Return a name of the focused element, or an empty string if no element has the focus."""
    script = """
        const one = document.activeElement;
        const row = one.closest("tr[data-row]");
        return row ? `row ${row.dataset.row}`
          : one === document.body ? ""
          : one.id || one.dataset.operation || one.dataset.sort || one.getAttribute("aria-label") || one.innerText;"""
    return str(console.run(script))


def test_a_phone(console: ConsolePage, api: Api, seeder: Seeder, refusals: set[int | str], fresh_id: str) -> None:
    """On a screen of 360 pixels, nothing but the table is wider than the screen."""
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
    """axe-core finds no violations in either color scheme."""
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
