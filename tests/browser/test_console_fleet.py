"""The console's fleet in a browser: filters, order, pages, selection, and operations on several containers."""

from collections.abc import Callable

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from browser.fleet_page import FleetPage
from lossy_proxy import LossyProxy, first_posts_lost
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from local import tokens
from local.seed import PROJECT, Seeder
from local.stack import LocalStack

HISTORIES = {
    "running": ["stopped", "running"],
    "stopped": ["stopped", "running", "stopped"],
    "paused": ["stopped", "running", "paused"],
    "failed": ["stopped", "running", "failed"],
}
STATUSES = ["running", "running", "stopped", "paused", "failed"]
NAMES = [f"{group}-{number}" for group in ("api", "web") for number in range(1, 7)]


class Project:
    """A project with containers of its own."""

    def __init__(self, seeder: Seeder, prefix: str) -> None:
        """Grant the demo's users their roles. All ids begin with the prefix of 8 hexadecimal digits."""
        self.id = f"{prefix}{0:016x}"
        self.ids: dict[str, str] = {}
        self._prefix = prefix
        self._seeder = seeder
        seeder.members(self.id)

    def add(self, name: str, status: str, labels: dict[str, str] | None = None) -> None:
        identity = f"{self._prefix}{len(self.ids) + 1:016x}"
        self._seeder.add(identity, HISTORIES[status], name=name, project=self.id, labels=labels)
        self.ids[name] = identity


@pytest.fixture
def project(seeder: Seeder, fresh_id: str) -> Project:
    """A project with 12 containers in several statuses."""
    project = Project(seeder, fresh_id[-8:])
    for number, name in enumerate(NAMES):
        project.add(name, STATUSES[number % 5], {"env": "dev" if number % 4 == 0 else "prod"})
    return project


@pytest.fixture
def fleet(console: ConsolePage) -> FleetPage:
    """The fleet of the stack. The page is not open yet."""
    return FleetPage(console.driver, console.url)


def listed(api: Api, project: Project, **query: str) -> list[str]:
    """Return the names of a project's containers as the API lists them."""
    containers = api.call("GET", f"/projects/{project.id}/containers", params=query).json()["data"]["containers"]
    assert containers
    return [container["name"] for container in containers]


def test_rows(fleet: FleetPage, project: Project) -> None:
    fleet.sign_in_to(project=project.id)
    assert fleet.names() == NAMES
    assert Select(fleet.element("#fleet-project")).first_selected_option.text == f"{project.id} (operator)"
    row = fleet.row("api-1")
    assert (row["Status"], row["Project"]) == ("Running", project.id)
    assert row["Name"].split("\n") == ["api-1", "env: dev"]
    assert row["Since"].endswith(" s")
    # The cause is read from the history of the container.
    fleet.wait(lambda: fleet.row("api-1")["Last cause"] == "start by operator")
    fleet.wait(lambda: fleet.row("api-5")["Last cause"] == "system: Essential container in task exited")


def test_filters_and_order_are_in_the_address(fleet: FleetPage, api: Api, project: Project) -> None:
    """A reload and the browser's Back button show what the address says."""
    fleet.sign_in_to(project=project.id)
    fleet.element("#fleet-name").send_keys("WEB")
    web = [name for name in NAMES if name.startswith("web")]
    fleet.wait_for_names(web)
    assert fleet.address() == f"?project={project.id}&name=WEB"
    fleet.element("label[for=fleet-status-running]").click()
    fleet.element("label[for=fleet-status-failed]").click()
    running = listed(api, project, name="web", status="running,failed")
    fleet.wait_for_names(running)
    assert len(running) < len(web)
    assert "status=running%2Cfailed" in fleet.address()
    fleet.element("[data-fleet-sort=status]").click()
    fleet.wait_for_names(listed(api, project, name="web", status="running,failed", sort_by="status"))
    fleet.element("[data-fleet-sort=status]").click()
    by_status = listed(api, project, name="web", status="running,failed", sort_by="status", sort_order="desc")
    fleet.wait_for_names(by_status)
    assert fleet.run("return document.querySelector('.fleet th[aria-sort]').innerText.trim()") == "Status"

    fleet.driver.refresh()
    fleet.wait_for_names(by_status)
    assert fleet.element("#fleet-name").get_attribute("value") == "WEB"
    assert fleet.element("#fleet-status-failed").is_selected()
    assert Select(fleet.element("#fleet-order")).first_selected_option.get_attribute("value") == "status desc"
    for _ in range(4):
        fleet.driver.back()
    fleet.wait_for_names(web)
    assert fleet.element("#fleet-name").get_attribute("value") == "WEB"
    assert not fleet.element("#fleet-status-failed").is_selected()
    # The text was typed in several steps, but is one entry of the browser's history.
    fleet.driver.back()
    fleet.wait_for_names(NAMES)
    assert fleet.element("#fleet-name").get_attribute("value") == ""


def test_labels_and_order(fleet: FleetPage, api: Api, project: Project) -> None:
    fleet.sign_in_to(project=project.id)
    fleet.element("#fleet-label").send_keys("env:dev", Keys.ENTER)
    fleet.wait_for_names(listed(api, project, label="env:dev"))
    assert len(fleet.names()) == 3
    fleet.element("#fleet-name").send_keys("nothing")
    fleet.wait(lambda: fleet.text(".empty") == "No containers match the filters.")
    fleet.wait(lambda: fleet.announced() == "0 containers")
    fleet.driver.find_element("xpath", "//div[@id='fleet-filters']//button").click()
    fleet.wait_for_names(NAMES)
    Select(fleet.element("#fleet-order")).select_by_value("created_at desc")
    fleet.wait_for_names(listed(api, project, sort_by="created_at", sort_order="desc"))


def test_all_projects(fleet: FleetPage, seeder: Seeder, project: Project) -> None:
    """The list contains all projects of the user, and the chooser selects one."""
    seeder.grant("member", PROJECT, "viewer")
    seeder.grant("member", project.id, "owner")
    fleet.sign_in_to("member")
    assert {"orders", "payments", *NAMES} <= set(fleet.names())
    choice = Select(fleet.element("#fleet-project"))
    texts = [option.text for option in choice.options]
    assert texts == ["All projects", *sorted([f"{PROJECT} (viewer)", f"{project.id} (owner)"])]
    choice.select_by_value(project.id)
    fleet.wait_for_names(NAMES)
    assert fleet.address() == f"?project={project.id}"


def test_ten_are_stopped_and_one_refuses(
    fleet: FleetPage, api: Api, seeder: Seeder, refusals: set[int | str], fresh_id: str
) -> None:
    """Each container gets one request with its own Idempotency-Key, which does not wait for the effect."""
    refusals.add(400)
    project = Project(seeder, fresh_id[-8:])
    names = [f"job-{number:02}" for number in range(11)]
    for name in names:
        project.add(name, "stopped" if name == "job-04" else "running")
    fleet.sign_in_to(project=project.id)
    fleet.select_range("job-00", "job-09")
    assert fleet.text("#selected-count") == "10 containers selected"
    fleet.requests()
    fleet.element("[data-bulk=stop]").click()
    fleet.wait(lambda: fleet.text("#confirm-title") == "Stop 10 containers?")
    assert "9 of 10 allow this" in fleet.text("#confirm-text")
    fleet.element("#confirm-ok").click()
    fleet.wait(lambda: fleet.announced() == "Stop: 9 succeeded, 1 refused of 10")
    assert fleet.text(".bulk-result h2") == "Stop: 9 succeeded, 1 refused of 10"
    results = fleet.results()
    assert sorted(results) == names[:10]
    # The refused container is the first of the results.
    assert next(iter(results)) == "job-04"
    assert "Container is already stopped (OPERATION_STATE_CONFLICT)" in results["job-04"]
    posts = fleet.posts()
    assert sorted(post["url"].split("/")[-2] for post in posts) == sorted(project.ids[name] for name in names[:10])
    assert len({post["headers"]["Idempotency-Key"] for post in posts}) == 10
    assert {post["headers"]["Prefer"] for post in posts} == {"respond-async"}
    fleet.wait(lambda: [fleet.row(name)["Status"] for name in names] == ["Stopped"] * 10 + ["Running"])
    statuses = {name: api.get(identity).json()["data"]["status"] for name, identity in project.ids.items()}
    assert statuses == dict.fromkeys(names, "stopped") | {"job-10": "running"}
    # The selection and its allowed operations follow.
    assert fleet.bulk_enabled() == ["start", "restart"]


def test_a_lost_reply_of_one_of_several(
    visit: Callable[[str], ConsolePage], stack: LocalStack, api: Api, project: Project, refusals: set[int | str]
) -> None:
    """The request is repeated with the same key: it takes effect once."""
    refusals.add("net::ERR_EMPTY_RESPONSE")
    with LossyProxy(stack.url, first_posts_lost(2), keep_alive=False) as proxy:
        fleet = FleetPage(visit(proxy.url).driver, proxy.url)
        fleet.sign_in_to(project=project.id, status="running")
        names = fleet.names()
        fleet.element("[aria-label='Select all containers on this page']").click()
        fleet.operate("stop")
        fleet.wait(lambda: fleet.text(".bulk-result h2") == f"Stop: {len(names)} succeeded of {len(names)}")
        fleet.driver.get("about:blank")
    assert len(proxy.keys) == len(names) + 2
    assert len(set(proxy.keys)) == len(names)
    for name in names:
        commands = [(row["metadata"] or {}).get("command") for row in api.rows(project.ids[name])]
        assert commands == [None, "start", "stop"]


def test_a_change_of_another_user_appears(fleet: FleetPage, api: Api, project: Project) -> None:
    fleet.sign_in_to(project=project.id)
    fleet.select("api-2")
    assert api.post(project.ids["api-1"], "stop", user="owner").status_code == 200
    fleet.wait(lambda: fleet.row("api-1")["Status"] == "Stopped")
    fleet.wait(lambda: fleet.row("api-1")["Last cause"].startswith("stop by owner"))
    assert fleet.text("#selected-count") == "1 container selected"
    assert fleet.element("[aria-label='Select api-2']").is_selected()


def test_the_role_does_not_allow_operations(fleet: FleetPage, project: Project) -> None:
    fleet.sign_in_to("viewer", project=project.id)
    fleet.select("api-1")
    assert fleet.bulk_enabled() == []
    reason = "Your role in the project is viewer. Operations need the role operator or owner"
    assert fleet.element("[data-bulk=stop]").get_attribute("title") == reason
    fleet.requests()
    fleet.element("[data-bulk=stop]").click()
    fleet.wait(lambda: fleet.announced() == reason)
    assert fleet.posts() == []


def test_one_of_the_projects_does_not_allow_operations(
    fleet: FleetPage, seeder: Seeder, project: Project, fresh_id: str
) -> None:
    """A container that the role refuses is not sent."""
    seeder.grant("both", project.id, "viewer")
    other = Project(seeder, f"ffff{fresh_id[-4:]}")
    seeder.grant("both", other.id, "operator")
    other.add("web-7", "running")
    fleet.sign_in_to("both", name="web")
    fleet.select("web-1", "web-7")
    fleet.requests()
    fleet.operate("stop")
    fleet.wait(lambda: fleet.text(".bulk-result h2") == "Stop: 1 succeeded, 1 refused of 2")
    assert fleet.results()["web-1"].startswith("Your role in the project is viewer")
    assert [post["url"].split("/")[-2] for post in fleet.posts()] == [other.ids["web-7"]]


def test_operations_that_no_selected_container_allows(fleet: FleetPage, project: Project) -> None:
    fleet.sign_in_to(project=project.id)
    assert fleet.bulk_enabled() == []
    fleet.select("api-3")
    assert fleet.bulk_enabled() == ["start", "restart"]
    fleet.element("[data-bulk=pause]").click()
    reason = "Pause is not allowed in the current status of the selected containers"
    fleet.wait(lambda: fleet.announced() == reason)
    # Escape cancels an operation.
    fleet.requests()
    fleet.element("[data-bulk=start]").click()
    fleet.wait(lambda: fleet.element("#confirm").is_displayed())
    fleet.press(Keys.ESCAPE)
    fleet.wait(lambda: not fleet.element("#confirm").is_displayed())
    assert fleet.posts() == []


def test_pages(fleet: FleetPage, seeder: Seeder, api: Api, fresh_id: str) -> None:
    """The page is in the address, and the selection remains on other pages until the filter changes."""
    project = Project(seeder, fresh_id[-8:])
    for number in range(30):
        project.add(f"cron-{number:02}", "stopped")
    fleet.sign_in_to(project=project.id, limit=25)
    assert len(fleet.names()) == 25
    fleet.select("cron-03")
    fleet.element("#fleet-pager [aria-label='Next page']").click()
    fleet.wait_for_names([f"cron-{number}" for number in range(25, 30)])
    assert fleet.text("#fleet-range") == "26 to 30 of 30"
    assert fleet.address().endswith("&page=2&limit=25")
    fleet.select("cron-25")
    assert fleet.text("#selected-count") == "2 containers selected"
    fleet.operate("start")
    fleet.wait(lambda: fleet.text(".bulk-result h2") == "Start: 2 succeeded of 2")
    assert api.get(project.ids["cron-03"]).json()["data"]["status"] == "running"
    assert fleet.bulk_enabled() == ["stop", "restart", "pause", "force-stop"]
    fleet.driver.back()
    fleet.wait(lambda: fleet.loaded() and len(fleet.names()) == 25)
    assert fleet.element("[aria-label='Select cron-03']").is_selected()
    fleet.element("#fleet-name").send_keys("cron-0")
    fleet.wait(lambda: fleet.loaded() and len(fleet.names()) == 10)
    assert fleet.text("#selected-count") == "No containers selected"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"status": "sleeping"}, "VALIDATION_ERROR"),
        ({"project": "507f1f77bcf86cd799439099"}, "Project not found (PROJECT_NOT_FOUND)"),
        ({"limit": "1000"}, "/limit must be <= 100"),
    ],
)
def test_an_address_that_the_api_refuses(
    fleet: FleetPage, refusals: set[int | str], query: dict[str, str], words: str
) -> None:
    refusals |= {400, 404}
    fleet.open("?" + "&".join(f"{name}={value}" for name, value in query.items()))
    fleet.connect(tokens.token("operator"))
    fleet.wait(lambda: words in fleet.text("#fleet-error"))
    # A valid address removes the error.
    fleet.element("#to-fleet").click()
    fleet.wait(lambda: fleet.loaded() and fleet.names())
    assert fleet.text("#fleet-error") == ""


def test_html_in_names_is_shown_as_text(fleet: FleetPage, project: Project) -> None:
    html = "<img src=x onerror=\"window.broken='yes'\">"
    project.add(html, "running", {"a": html})
    fleet.sign_in_to(project=project.id)
    assert fleet.row(html)["Name"].split("\n") == [html, f"a: {html}"]
    fleet.element("tr[data-container] input").click()
    fleet.operate("stop")
    fleet.wait(lambda: fleet.text(".bulk-result h2") == "Stop: 1 succeeded of 1")
    assert fleet.run("return [window.broken ?? null, document.querySelectorAll('main img').length]") == [None, 0]
