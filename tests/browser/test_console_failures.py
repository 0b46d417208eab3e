"""The console in a browser: conflicts, errors, and lost connections."""

from collections.abc import Callable

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from lossy_proxy import LossyProxy, first_posts_lost
from selenium.webdriver.common.keys import Keys

from local import tokens
from local.emulator import Emulator
from local.seed import INSTANCE, Seeder, container_id
from local.stack import LocalStack

STOPPED = ["stopped", "running", "stopped"]
RUNNING = ["stopped", "running"]


def test_a_conflict(console: ConsolePage, api: Api, seeder: Seeder, refusals: set[int | str], fresh_id: str) -> None:
    """A conflict shows the message of the API and the new state of the container."""
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


def test_force_stop_asks_for_confirmation(console: ConsolePage, api: Api, seeder: Seeder, fresh_id: str) -> None:
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
    """The reason is shown, and the request can be sent again with the same key."""
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
    """The operation is repeated with the same key: it takes effect once, and returns the first response."""
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
    """The displayed data stays, marked as outdated, until the API responds again."""
    refusals.add("net::ERR_INTERNET_DISCONNECTED")
    seeder.add(fresh_id, RUNNING)
    console.sign_in(fresh_id)
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    console.cdp("Network.emulateNetworkConditions", offline=True, **network)
    try:
        console.wait(lambda: "No response from 127.0.0.1" in console.text("#stale"))
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
def test_containers_that_cannot_be_read(
    console: ConsolePage, refusals: set[int | str], identity: str, user: str, words: str
) -> None:
    refusals |= {400, 403, 404}
    console.open(identity)
    console.connect(tokens.token(user))
    console.wait_for_notice(words)
    assert not console.element("#container").is_displayed()
    assert not console.element("#history").is_displayed()


def test_a_viewer(console: ConsolePage, seeder: Seeder, fresh_id: str) -> None:
    """The operations are disabled, and a click tells why."""
    seeder.add(fresh_id, RUNNING)
    console.sign_in(fresh_id, "viewer")
    console.wait(lambda: console.enabled() == [])
    console.requests()
    console.click("stop")
    reason = "Your role in the project is viewer. Operations need the role operator or owner"
    console.wait(lambda: console.announced() == reason)
    assert console.element("[data-operation=stop]").get_attribute("title") == reason
    assert [request for request in console.requests() if request["method"] == "POST"] == []
