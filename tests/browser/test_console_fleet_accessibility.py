"""The console's fleet in a browser: keyboard, small screens and accessibility."""

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from browser.fleet_page import FleetPage
from browser.test_console_accessibility import cells, fits, focused, tab_order, violations
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from local import tokens
from local.seed import Seeder

COUNT = 4


@pytest.fixture
def project(seeder: Seeder, fresh_id: str) -> str:
    """A project with four running containers, `web-1` to `web-4`."""
    project = f"{fresh_id[-8:]}{0:016x}"
    seeder.members(project)
    for number in range(1, COUNT + 1):
        identity = f"{fresh_id[-8:]}{number:016x}"
        labels = {"team": "a-label-that-is-as-long-as-a-label-might-ever-get-to-be"}
        seeder.add(identity, ["stopped", "running"], name=f"web-{number}", project=project, labels=labels)
    return project


@pytest.fixture
def fleet(console: ConsolePage) -> FleetPage:
    """The fleet of the stack. The page is not open yet."""
    return FleetPage(console.driver, console.url)


def test_the_fleet_works_with_the_keyboard(fleet: FleetPage, api: Api, project: str) -> None:
    """A token, the filter, the selection, an operation, and a container, without a mouse."""
    fleet.open(f"?project={project}")
    fleet.press(*tokens.token("operator"), Keys.ENTER)
    fleet.wait_for_names(["web-1", "web-2", "web-3", "web-4"])
    fleet.driver.refresh()
    fleet.wait_for_names(["web-1", "web-2", "web-3", "web-4"])
    seen = tab_order(fleet)
    assert seen[8:12] == ["fleet-project", "fleet-name", "fleet-label", "fleet-order"]
    assert seen[12:17] == [f"fleet-status-{name}" for name in ("running", "paused", "stopped", "failed", "expired")]
    assert seen[17:23] == ["start", "stop", "restart", "pause", "resume", "force-stop"]
    # The rows are one stop: the checkbox and the link of one of them.
    assert seen[23:27] == ["Select all containers on this page", "status", "name", "Select web-1"]
    assert seen[27:29] == ["web-1", "First page"]

    # Select the second to the fourth container.
    fleet.run("document.querySelector('tr[data-container] input').focus()")
    fleet.press(Keys.ARROW_DOWN)
    assert focused(fleet) == "Select web-2"
    fleet.press(Keys.SPACE, Keys.END)
    assert focused(fleet) == "Select web-4"
    ActionChains(fleet.driver).key_down(Keys.SHIFT).send_keys(Keys.SPACE).key_up(Keys.SHIFT).perform()
    fleet.wait(lambda: fleet.text("#selected-count") == "3 containers selected")
    # Shift and Tab lead back to the operations.
    while focused(fleet) != "stop":
        ActionChains(fleet.driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    fleet.press(Keys.ENTER)
    fleet.wait(lambda: focused(fleet) == "confirm-cancel")
    fleet.press(Keys.TAB, Keys.ENTER)
    fleet.wait(lambda: fleet.text(".bulk-result h2") == "Stop: 3 succeeded of 3")
    assert fleet.run("return document.activeElement.tagName") == "H2"
    fleet.wait(lambda: [fleet.row(f"web-{number}")["Status"] for number in (1, 2)] == ["Running", "Stopped"])

    # Open a container, and come back to its row.
    fleet.run("document.querySelector('tr[data-container] input[tabindex=\"0\"]').focus()")
    fleet.press(Keys.HOME, Keys.ARROW_DOWN, Keys.TAB)
    assert focused(fleet) == "web-2"
    fleet.press(Keys.ENTER)
    fleet.wait(lambda: fleet.status() == "stopped")
    assert fleet.run("return document.activeElement.id") == "main"
    fleet.driver.back()
    fleet.wait(lambda: focused(fleet) == "web-2")


def test_a_row_keeps_the_focus_when_it_moves(fleet: FleetPage, api: Api, project: str) -> None:
    fleet.sign_in_to(project=project, sort_by="status")
    fleet.run("document.querySelector(\"[aria-label='Select web-3']\").focus()")
    assert api.post(f"{project[:8]}{3:016x}", "pause").status_code == 200
    fleet.wait(lambda: fleet.names()[0] == "web-3" or fleet.names()[-1] == "web-3")
    assert focused(fleet) == "Select web-3"


def test_the_fleet_on_a_phone(fleet: FleetPage, project: str, refusals: set[int | str]) -> None:
    """On a screen of 360 pixels, nothing is wider than the screen. The rows are cards with all columns."""
    refusals.add(400)
    fleet.resize(360, 740)
    fleet.sign_in_to(project=project)
    fits(fleet)
    fleet.wait(lambda: fleet.row("web-1")["Last cause"])
    assert cells(fleet, "tr[data-container]") == ["Status", "Name", "Project", "Since", "Last cause"]
    # Without a selection, the operations leave the room to the list.
    assert not fleet.element("[data-bulk=stop]").is_displayed()
    fleet.element("[aria-label='Select all containers on this page']").click()
    fits(fleet)
    fleet.operate("pause")
    fleet.wait(lambda: fleet.text(".bulk-result h2") == "Pause: 4 succeeded of 4")
    fleet.wait(lambda: fleet.row("web-4")["Status"] == "Paused")
    fits(fleet)


def test_accessibility_of_the_fleet(fleet: FleetPage, project: str, refusals: set[int | str], axe: str) -> None:
    """axe-core finds no violations in either color scheme, nor on a phone."""
    refusals.add(400)
    fleet.sign_in_to(project=project)
    fleet.run(axe)
    fleet.select("web-1")
    fleet.operate("stop")
    fleet.wait(lambda: fleet.text(".bulk-result h2") == "Stop: 1 succeeded of 1")
    fleet.select("web-2")
    fleet.operate("stop")
    fleet.wait(lambda: fleet.text(".bulk-result h2") == "Stop: 1 succeeded, 1 refused of 2")
    found = {}
    for scheme in ("light", "dark"):
        fleet.prefer(prefers_color_scheme=scheme)
        found[scheme] = violations(fleet)
    fleet.resize(360, 740)
    found["phone"] = violations(fleet)
    fleet.element("[data-bulk=start]").click()
    found["dialog"] = violations(fleet)
    assert found == {"light": [], "dark": [], "phone": [], "dialog": []}
