"""The console in a browser: the filters of a container's history, and the history of a project."""

from typing import Any

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from browser.fleet_page import FleetPage
from browser.test_console_accessibility import cells, fits, violations
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from local import tokens
from local.seed import Seeder, container_id, long_history

LONG = container_id(17)
HISTORY_ROWS = 1000


@pytest.fixture
def page(console: ConsolePage) -> FleetPage:
    """The console of the stack, in UTC. The page is not open yet."""
    page = FleetPage(console.driver, console.url)
    page.open()
    page.run("localStorage.setItem('longshore.zone', 'utc')")
    return page


@pytest.fixture
def project(seeder: Seeder, fresh_id: str) -> str:
    """A project with two containers, `alpha` with 60 rows and `beta` with 3 rows."""
    project = f"{fresh_id[-8:]}{0:016x}"
    seeder.members(project)
    seeder.add(f"{fresh_id[-8:]}{1:016x}", long_history(60), name="alpha", project=project)
    seeder.add(f"{fresh_id[-8:]}{2:016x}", ["stopped", "running", "failed"], name="beta", project=project)
    return project


def set_time(page: FleetPage, selector: str, value: str) -> None:
    """Enter a time, such as `2026-01-15T10:30:00`, as a user does who leaves the field."""
    script = """
        const field = document.querySelector(arguments[0]);
        field.value = arguments[1];
        field.dispatchEvent(new Event("change", {bubbles: true}));"""
    page.run(script, selector, value)


def logged(api: Api, project: str, **query: Any) -> list[str]:
    """Return the ids of all rows of the project's history, newest first, as the API returns them."""
    ids: list[str] = []
    cursor = ""
    while True:
        own = query | ({"cursor": cursor} if cursor else {})
        data = api.call("GET", f"/projects/{project}/status-logs", params=own | {"limit": 100}).json()["data"]
        ids += [row["id"] for row in data["logs"]]
        cursor = data["pagination"]["next_cursor"]
        if not cursor:
            return ids


def shown(page: FleetPage) -> list[str]:
    """Return the ids of the displayed rows."""
    rows = page.driver.find_elements(By.CSS_SELECTOR, "#activity tr[data-row]")
    return [str(row.get_attribute("data-row")) for row in rows]


def test_filters_of_a_container(page: FleetPage, api: Api) -> None:
    """The table shows the matching rows, their exact number, and the address contains the filters."""
    page.sign_in(LONG)
    Select(page.element("#history-to_status")).select_by_value("failed")
    failed = api.logs(LONG, to_status="failed", limit=25).json()["data"]
    page.wait(lambda: [row["id"] for row in page.shown_rows()] == [row["id"] for row in failed["logs"]])
    page.wait(lambda: page.text("#range") == f"1 to 25 of {failed['pagination']['total']}")
    assert page.driver.current_url.endswith(f"#{LONG}?to_status=failed")
    # The API does not sort by the other status while one is filtered.
    assert page.element("[data-sort=from_status]").get_attribute("aria-disabled") == "true"

    rows = api.rows(LONG)
    begin, end = rows[300]["transition_time"], rows[500]["transition_time"]
    set_time(page, "#history-from", begin[:19])
    set_time(page, "#history-to", end[:19])
    query = {"to_status": "failed", "from": f"{begin[:19]}.000Z", "to": f"{end[:19]}.000Z"}
    between = api.logs(LONG, **query, limit=25).json()["data"]
    assert 0 < between["pagination"]["total"] < failed["pagination"]["total"]
    page.wait(lambda: page.text("#range").endswith(f"of {between['pagination']['total']}"))
    page.wait(lambda: [row["id"] for row in page.shown_rows()] == [row["id"] for row in between["logs"]])

    page.driver.refresh()
    page.wait(lambda: page.text("#range").endswith(f"of {between['pagination']['total']}"))
    # The browser leaves out seconds that are zero.
    assert str(page.element("#history-from").get_attribute("value"))[:19] == begin[:19].removesuffix(":00")
    assert Select(page.element("#history-to_status")).first_selected_option.text == "Failed"
    page.driver.back()
    page.driver.back()
    page.wait(lambda: page.text("#range") == f"1 to 25 of {failed['pagination']['total']}")
    # The timeline shows all rows, and opens one in the table without filters.
    page.element(".timeline-slider").send_keys(Keys.END, Keys.ENTER)
    page.wait(lambda: page.text("#range") == "1 to 25 of 1,000")
    assert page.driver.current_url.endswith(f"#{LONG}")


def test_a_range_that_ends_before_it_begins(page: FleetPage, refusals: set[int | str]) -> None:
    refusals.add(400)
    page.open(f"{LONG}?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z")
    page.connect(tokens.token("operator"))
    page.wait(lambda: "VALIDATION_ERROR" in page.text("#table .error-text"))
    page.driver.find_element(By.XPATH, "//div[@id='history-filters']//button").click()
    page.wait(lambda: page.text("#range") == "1 to 25 of 1,000")
    assert page.text("#table .error-text") == ""


def test_activity(page: FleetPage, api: Api, project: str) -> None:
    """The rows of all containers, newest first; older ones on request, newer ones as they are written."""
    page.open(f"activity?project={project}")
    page.connect(tokens.token("operator"))
    expected = logged(api, project)
    page.wait(lambda: shown(page) == expected[:50])
    page.driver.find_element(By.XPATH, "//div[@id='activity-table']//button[.='Load older changes']").click()
    page.wait(lambda: shown(page) == expected)
    assert len(expected) == 63
    assert page.text("#activity-summary") == "63 changes loaded."
    assert api.post(f"{project[:8]}{1:016x}", "start", user="owner").status_code == 200
    page.wait(lambda: len(shown(page)) == 64)
    newest = page.text("#activity tr[data-row]")
    assert "alpha" in newest
    assert "start by owner" in newest
    # A row links to its container, which links back.
    page.element("#activity tr[data-row] a").click()
    page.wait_for_status("running")
    page.wait(lambda: page.element("#project-activity").is_displayed())
    page.element("#project-activity").click()
    page.wait(lambda: len(shown(page)) == 50)
    assert page.address() == f"activity?project={project}"


def test_filters_of_the_activity(page: FleetPage, api: Api, project: str) -> None:
    page.open(f"activity?project={project}")
    page.connect(tokens.token("operator"))
    page.wait(lambda: len(shown(page)) == 50)
    Select(page.element("#activity-to_status")).select_by_value("failed")
    failed = logged(api, project, to_status="failed")
    page.wait(lambda: shown(page) == failed)
    Select(page.element("#activity-triggered_by")).select_by_value("user")
    page.wait(lambda: page.text("#activity .empty") == "No changes match the filters.")
    page.driver.back()
    page.wait(lambda: shown(page) == failed)
    page.element("#activity-container_id").send_keys(f"{project[:8]}{2:016x}", Keys.ENTER)
    page.wait(lambda: shown(page) == logged(api, project, to_status="failed", container_id=f"{project[:8]}{2:016x}"))
    assert len(shown(page)) == 1
    page.driver.refresh()
    page.wait(lambda: len(shown(page)) == 1)
    page.driver.find_element(By.XPATH, "//div[@id='activity-filters']//button").click()
    page.wait(lambda: len(shown(page)) == 50)
    page.element("#activity-actor").send_keys("nobody", Keys.ENTER)
    page.wait(lambda: page.text("#activity .empty") == "No changes match the filters.")


def test_activity_of_an_unknown_project(page: FleetPage, refusals: set[int | str]) -> None:
    refusals.add(404)
    page.open("activity?project=507f1f77bcf86cd799439099")
    page.connect(tokens.token("operator"))
    page.wait(lambda: "Project not found (PROJECT_NOT_FOUND)" in page.text("#activity-error"))
    # Without a project in the address, the first one is shown.
    page.element("#to-activity").click()
    page.wait(lambda: shown(page))
    assert page.text("#activity-error") == ""


def test_activity_on_a_phone_and_accessibility(page: FleetPage, project: str, axe: str) -> None:
    page.open(f"activity?project={project}")
    page.connect(tokens.token("operator"))
    page.wait(lambda: len(shown(page)) == 50)
    page.run(axe)
    page.element("#activity .expand").click()
    found = {"light": violations(page)}
    page.prefer(prefers_color_scheme="dark")
    found["dark"] = violations(page)
    page.resize(360, 740)
    fits(page)
    assert cells(page, "#activity tr[data-row]") == ["Time", "Container", "From", "To", "Took", "Trigger", "Cause"]
    found["phone"] = violations(page)
    assert found == {"light": [], "dark": [], "phone": []}
