"""The console's schedules page and the limits of containers in a browser."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from browser.schedules_page import SchedulesPage
from browser.test_console_accessibility import fits, violations
from selenium.webdriver.support.select import Select

from local.seed import Seeder


@pytest.fixture
def project(seeder: Seeder, fresh_id: str) -> str:
    """A project with the containers `api` and `web`, which are running."""
    project = f"{fresh_id[-8:]}{0:016x}"
    seeder.members(project)
    for number, name in ((1, "api"), (2, "web")):
        identity = container(project, number)
        seeder.add(identity, ["stopped", "running"], name=name, project=project, labels={"env": "dev"})
    return project


@pytest.fixture
def page(console: ConsolePage) -> SchedulesPage:
    """The console of the stack. The page is not open yet."""
    return SchedulesPage(console.driver, console.url)


def container(project: str, number: int) -> str:
    return f"{project[:8]}{number:016x}"


def schedule(api: Api, project: str, name: str) -> dict[str, Any]:
    data: dict[str, Any] = api.call("GET", f"/projects/{project}/schedules/{name}").json()["data"]
    return data


def test_a_day(page: SchedulesPage, api: Api, project: str) -> None:
    """Make a schedule, see its next runs, hold and limit a container, and see everything in the fleet."""
    page.sign_in_to_schedules(project)
    assert page.text("#schedules .empty") == "The project has no schedules."
    page.element("#schedule-add").click()
    zone = page.run("return Intl.DateTimeFormat().resolvedOptions().timeZone")
    assert page.element("#schedule-zone").get_attribute("value") == zone
    page.fill("name", "evenings")
    page.fill("zone", "Europe/Berlin")
    page.choose("targets-labels")
    page.fill("labels", "env:dev")
    page.save()
    page.wait_for_notice("Schedule evenings saved")
    saved = schedule(api, project, "evenings")
    assert (saved["operation"], saved["expression"]) == ("stop", "cron(0 20 ? * MON-FRI *)")
    assert (saved["timezone"], saved["targets"]) == ("Europe/Berlin", {"labels": {"env": "dev"}})
    row = page.schedules()["evenings"]
    assert (row["Operation"], row["Containers"], row["Saved by"]) == ("Stop", "env: dev", "operator")
    assert page.next_runs("evenings") == saved["next_runs"]
    assert len(saved["next_runs"]) == 3
    # The week has all of them: three working days are at most five days away.
    assert [text.partition(" at ")[0] for text in page.drawn()] == ["evenings: stop"] * 3
    assert str(page.element(".week").get_attribute("aria-label")).count("evenings: stop at ") == 3

    page.go(container(project, 2))
    page.wait_for_status("running")
    page.limit("stop-at")
    page.wait_for_notice("Stop time set")
    page.wait(lambda: page.limits() and re.fullmatch(r"Stops in 1 h 59 min", page.limits()[0]))
    Select(page.element("#limit-hold")).select_by_visible_text("30 minutes")
    page.limit("hold")
    page.wait_for_notice("Container held")
    page.wait(lambda: len(page.limits()) == 2)
    assert page.limits()[1].startswith("Held until ")
    limits = api.get(container(project, 2)).json()["data"]
    held = datetime.fromisoformat(limits["hold_until"]) - datetime.now(UTC)
    assert timedelta(minutes=28) < held <= timedelta(minutes=30)

    page.go(f"?project={project}")
    page.wait_for_names(["api", "web"])
    page.wait(lambda: "(evenings)" in page.row("api")["Name"] and "(evenings)" in page.row("web")["Name"])
    assert [line.split(" ")[0] for line in page.row("api")["Name"].split("\n")] == ["api", "env:", "Next:"]
    badges = page.row("web")["Name"].split("\n")[2:]
    assert [badge.split(" ")[0] for badge in badges] == ["Stops", "Held", "Next:"]


def test_a_schedule_is_changed_paused_and_deleted(
    page: SchedulesPage, api: Api, project: str, refusals: set[int | str]
) -> None:
    refusals.add(400)
    body = {"operation": "start", "expression": "rate(12 hours)", "targets": {"all": True}}
    assert api.call("PUT", f"/projects/{project}/schedules/twice-a-day", json=body).status_code == 200
    page.sign_in_to_schedules(project)
    page.wait(page.schedules)
    page.element("[data-change='edit twice-a-day']").click()
    assert page.element("#schedule-name").get_attribute("readonly")
    assert page.element("#schedule-number").get_attribute("value") == "12"
    # An expression that the API refuses stays in the form, with the error.
    page.choose("kind-cron")
    page.fill("cron", "0 20 * * MON *")
    page.save()
    page.wait(lambda: "/expression must be a valid" in page.text(".schedule-form .error-text"))
    page.choose("kind-at")
    page.run("document.getElementById('schedule-at').value = '2099-01-01T08:30'")
    page.choose("targets-containers")
    page.fill("container", "web")
    page.element("#schedule-container + datalist + button").click()
    page.wait(lambda: page.text(".chosen").startswith("web"))
    page.save()
    page.wait_for_notice("Schedule twice-a-day saved")
    saved = schedule(api, project, "twice-a-day")
    assert (saved["operation"], saved["expression"]) == ("start", "at(2099-01-01T08:30:00)")
    assert saved["targets"] == {"container_ids": [container(project, 2)]}
    assert page.drawn() == []
    page.element("[data-change='pause twice-a-day']").click()
    page.wait(lambda: page.schedules()["twice-a-day"]["Next runs"] == "Paused")
    assert schedule(api, project, "twice-a-day")["enabled"] is False
    assert page.run("return document.activeElement.dataset.change") == "resume twice-a-day"
    # A new schedule does not replace one with the same name.
    page.element("#schedule-add").click()
    page.fill("name", "twice-a-day")
    page.save()
    page.wait(lambda: "already has a schedule" in page.text(".schedule-form > .error-text"))
    page.element("[data-change='delete twice-a-day']").click()
    page.element("#confirm-ok").click()
    page.wait_for_notice("Schedule twice-a-day deleted")
    assert page.schedules() == {}
    assert api.call("GET", f"/projects/{project}/schedules").json()["data"] == {"schedules": []}


def test_protection_and_roles(page: SchedulesPage, api: Api, project: str) -> None:
    """An owner protects a container, an operator keeps it alive, and neither can stop it."""
    identity = container(project, 1)
    page.sign_in(identity, "owner")
    page.limit("protect")
    page.wait_for_notice("Enter the reason of the protection")
    page.element("#limit-reason").send_keys("demo on Friday")
    page.limit("protect")
    page.wait(lambda: page.limits() == ["Protected: demo on Friday"])
    assert page.enabled() == []
    assert page.element("[data-operation=stop]").get_attribute("title") == "The container is protected: demo on Friday"
    page.become("operator")
    page.wait_for_status("running")
    page.requests()
    page.limit("protect-off")
    page.wait(lambda: page.announced().endswith("Changing the protection needs the role owner"))
    assert [request["method"] for request in page.requests() if request["method"] == "PATCH"] == []
    page.limit("idle")
    page.wait(lambda: any(text.startswith("Idle: stops in 1 h 59 min") for text in page.limits()))
    before = api.get(identity).json()["data"]
    page.limit("keep-alive")
    page.wait_for_notice("Container kept alive")
    after = api.get(identity).json()["data"]
    assert (before["idle_timeout"], before["protection"]) == (7200, {"reason": "demo on Friday"})
    assert after["idle_at"] > before["idle_at"]
    body = {"operation": "stop", "expression": "rate(1 day)", "targets": {"all": True}}
    assert api.call("PUT", f"/projects/{project}/schedules/daily", json=body).status_code == 200
    page.become("viewer")
    page.go(f"schedules?project={project}")
    page.wait(page.schedules)
    reason = "Your role in the project is viewer. Operations need the role operator or owner"
    page.element("[data-change='delete daily']").click()
    page.wait(lambda: page.announced() == reason)
    assert page.element("#schedule-add").get_attribute("aria-disabled") == "true"
    assert not page.element("#confirm").is_displayed()


def test_accessibility(page: SchedulesPage, api: Api, project: str, axe: str) -> None:
    """axe-core finds no violations in either color scheme, nor on a phone, where nothing is wider than the screen."""
    for name, operation in (("mornings", "start"), ("evenings", "stop"), ("nights", "pause")):
        body = {"operation": operation, "expression": "rate(20 hours)", "targets": {"labels": {"env": "dev"}}}
        assert api.call("PUT", f"/projects/{project}/schedules/{name}", json=body).status_code == 200
    limits = {"idle_timeout": 7200, "hold_until": "2099-01-01T00:00:00Z", "protection": {"reason": "demo " * 40}}
    assert api.patch(container(project, 1), limits).status_code == 200
    page.sign_in_to_schedules(project)
    page.wait(page.schedules)
    page.run(axe)
    page.element("#schedule-add").click()
    page.choose("targets-containers")
    page.fill("container", "web")
    page.element("#schedule-container + datalist + button").click()
    page.wait(lambda: page.text(".chosen").startswith("web"))
    found = {}
    for scheme in ("light", "dark"):
        page.prefer(prefers_color_scheme=scheme)
        found[scheme] = violations(page)
    page.resize(360, 740)
    fits(page)
    found["phone"] = violations(page)
    page.go(container(project, 1))
    page.wait_for_status("running")
    page.element("#limits-panel summary").click()
    fits(page)
    found["container"] = violations(page)
    page.go(f"?project={project}")
    page.wait_for_names(["api", "web"])
    page.wait(lambda: "Protected: demo" in page.row("api")["Name"])
    fits(page)
    found["fleet"] = violations(page)
    assert found == {"light": [], "dark": [], "phone": [], "container": [], "fleet": []}
