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
    seen = tab_order(console)
    assert seen[:5] == ["skip", "to-fleet", "to-activity", "to-schedules", "container-id"]
    assert seen[5:8] == ["Open", "zone-local", "connection-toggle"]
    order = ["start", "stop", "restart", "pause", "resume", "force-stop", "Stop time, hold and protection"]
    order += ["zoom-all", "Changes of status in view", "Show in the table", "history-from", "History table"]
    order += ["transition_time", f"row {api.rows(fresh_id)[-1]['id']}", "Previous page", "page"]
    positions = [seen.index(name) for name in order]
    assert positions == sorted(positions)
    assert seen[-2:] == ["limit", "project-activity"]

    # The skip link leads to the content: the link to the project, and the buttons.
    console.driver.refresh()
    console.wait(lambda: len(console.shown_rows()) == 3)
    assert tab(console) == "skip"
    console.press(Keys.ENTER, Keys.TAB)
    assert tab(console) == "start"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert console.run(outline) == "solid"
    console.press(Keys.ENTER)
    console.wait_for_status("running")
    assert focused(console) == "start"

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
    console.wait(lambda: focused(console) == f"row {rows[1]['id']}")
    console.press(Keys.SPACE)
    assert console.element(f"#details-{rows[1]['id']}").is_displayed()


def tab_order(console: ConsolePage) -> list[str]:
    """Return the names of the elements that the Tab key reaches, in their order, from the focused element on."""
    seen: list[str] = []
    # The parts of a field for a time are stops of their own.
    while (here := tab(console)) and (here not in seen or here == seen[-1]):
        if here not in seen:
            seen.append(here)
    return seen


def tab(console: ConsolePage) -> str:
    console.press(Keys.TAB)
    return focused(console)


def focused(console: ConsolePage) -> str:
    """Return a name of the focused element, or an empty string if no element has the focus."""
    script = """
        const one = document.activeElement;
        const row = one.closest("tr[data-row]");
        return row ? `row ${row.dataset.row}`
          : one === document.body ? ""
          : one.id || one.dataset.operation || one.dataset.bulk || one.dataset.sort || one.dataset.fleetSort
          || one.getAttribute("aria-label") || one.innerText;"""
    return str(console.run(script))


def test_a_phone(console: ConsolePage, api: Api, seeder: Seeder, refusals: set[int | str], fresh_id: str) -> None:
    """On a screen of 360 pixels, nothing is wider than the screen. The rows of the table are cards with all columns."""
    refusals.add(400)
    seeder.add(fresh_id, RUNNING, name="a-name-without-any-space-that-is-as-long-as-a-name-might-ever-get-to-be")
    console.resize(360, 740)
    console.freeze()
    console.open(fresh_id)
    fits(console)
    console.connect(tokens.token("operator"))
    console.wait_for_status("running")
    assert api.post(fresh_id, "pause").status_code == 200
    console.click("pause")
    console.wait_for_notice("Container is already paused")
    console.wait(lambda: len(console.shown_rows()) == 3)
    console.element("tr[data-row] .expand").click()
    fits(console)
    assert cells(console, "tr[data-row]") == ["Time", "From", "To", "Took", "Trigger", "Cause", "Recorded"]
    console.click("force-stop")
    fits(console)


def cells(console: ConsolePage, row: str) -> list[str]:
    """Return the labels of the cells of a row that are displayed within the screen."""
    script = """
        return [...document.querySelector(arguments[0]).querySelectorAll("td[data-label]")].filter((cell) => {
          const box = cell.getBoundingClientRect();
          return cell.checkVisibility() && box.left >= 0 && box.right <= document.documentElement.clientWidth
            && getComputedStyle(cell, "::before").content.includes(cell.dataset.label);
        }).map((cell) => cell.dataset.label);"""
    return list(console.run(script, row))


def fits(console: ConsolePage) -> None:
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
    found = {"connection": violations(console)}
    console.connect(tokens.token("operator"))
    console.wait_for_status("running")
    assert api.post(fresh_id, "pause").status_code == 200
    console.click("pause")
    console.wait_for_notice("OPERATION_STATE_CONFLICT")
    console.wait(lambda: len(console.shown_rows()) == 7)
    console.element("tr[data-row] .expand").click()
    for scheme in ("light", "dark"):
        console.prefer(prefers_color_scheme=scheme)
        found[scheme] = violations(console)
    console.click("force-stop")
    found["dialog"] = violations(console)
    assert found == {"connection": [], "light": [], "dark": [], "dialog": []}


def violations(console: ConsolePage) -> list[Any]:
    script = """
        const done = arguments[arguments.length - 1];
        axe.run().then(({violations}) => done(violations.map(({id, nodes}) =>
          [id, nodes.map(({target, failureSummary}) => [target.join(" "), failureSummary])])));"""
    return list(console.driver.execute_async_script(script))
