"""The console in a browser: operations that return 202 are followed until they end."""

from collections.abc import Callable, Iterator

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from conftest import PARAMETERS, QUICK

from local.seed import Seeder
from local.stack import LocalStack


@pytest.fixture(scope="module")
def slow() -> Iterator[LocalStack]:
    """A stack that waits at most one second for an operation. Its tasks take longer to start."""
    parameters, delays = PARAMETERS | {"WaitSeconds": "1"}, QUICK | {"run_delay": 3}
    with LocalStack(port=0, parameters=parameters, emulator_options=delays) as stack:
        yield stack


def test_a_start_is_followed(visit: Callable[[str], ConsolePage], slow: LocalStack, fresh_id: str) -> None:
    Seeder(slow).add(fresh_id, ["stopped"])
    console = visit(slow.url)
    console.sign_in(fresh_id)
    console.click("start")
    console.wait(lambda: "requested by user" in console.text(".progress"))
    console.wait(lambda: console.enabled() == ["force-stop"])
    console.wait_for_notice("Container is starting")
    console.wait_for_notice("Start completed: the container is running")
    assert console.status() == "running"
    assert not console.element(".progress").is_displayed()
    console.wait(lambda: [row["to_status"] for row in console.shown_rows()] == ["running", "stopped"])


def test_a_start_that_fails(visit: Callable[[str], ConsolePage], slow: LocalStack, fresh_id: str) -> None:
    seeder = Seeder(slow)
    seeder.task_definition("no-image", labels={"simulate.start": "fail"})
    seeder.add(fresh_id, ["stopped"], task_definition="no-image")
    console = visit(slow.url)
    console.sign_in(fresh_id)
    console.click("start")
    notice = console.wait_for_notice("Start did not succeed: the container is failed")
    assert "CannotPullContainerError" in notice
    assert console.status() == "failed"


def test_a_start_superseded_elsewhere(visit: Callable[[str], ConsolePage], slow: LocalStack, fresh_id: str) -> None:
    Seeder(slow).add(fresh_id, ["stopped"])
    api = Api(slow.url)
    console = visit(slow.url)
    console.sign_in(fresh_id)
    console.click("start")
    console.wait_for_notice("Container is starting")
    api.post(fresh_id, "force-stop")
    api.close()
    # The message depends on whether the page reads the container while it is being stopped.
    either = ["Start has ended, and force-stop is pending", "Start did not succeed: the container is stopped"]
    console.wait(lambda: any(text in notice for text in either for notice in console.notices()))
    console.wait_for_status("stopped")
    assert "Container is starting" not in " ".join(console.notices())


def test_a_start_superseded_by_the_page(visit: Callable[[str], ConsolePage], slow: LocalStack, fresh_id: str) -> None:
    Seeder(slow).add(fresh_id, ["stopped"])
    console = visit(slow.url)
    console.sign_in(fresh_id)
    console.click("start")
    console.wait_for_notice("Container is starting")
    console.wait(lambda: console.enabled() == ["force-stop"])
    console.click("force-stop")
    console.wait(lambda: "is stopped and starting" in console.text("#confirm-text"))
    console.element("#confirm-ok").click()
    console.wait_for_status("stopped")
    console.wait(lambda: not console.element(".progress").is_displayed())
    console.wait(lambda: "Container is starting" not in " ".join(console.notices()))
    assert console.enabled() == ["start", "restart"]
