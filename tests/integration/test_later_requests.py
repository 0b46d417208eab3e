"""Tests that a repeated, late or continued scheduled stop never stops a container that a user has started since."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from api_client import Api
from integration.scheduled_stop import FUNCTION, ShortOfTime, effects
from invariants import all_rows, check
from settling import PATIENCE, eventually

from local.emulator import Emulator
from local.runtime import FunctionError
from local.seed import Seeder
from local.stack import LocalStack

ELSEWHERE = "e15e" + "0" * 20
HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(at: datetime, **selection: Any) -> dict[str, Any]:
    """Return the event that a rule's input transformer creates."""
    return {"time": text(at), "input": selection}


def item(stack: LocalStack, identity: str) -> dict[str, Any]:
    answer = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": identity}}, ConsistentRead=True
    )
    found: dict[str, Any] = answer["Item"]
    return found


def status(stack: LocalStack, identity: str) -> str:
    return str(item(stack, identity)["status"]["S"])


def wait_until_stopped(stack: LocalStack, identity: str) -> None:
    """Wait until the container is stopped and has no pending operation."""
    eventually(lambda: status(stack, identity) == "stopped")
    eventually(lambda: "operation" not in item(stack, identity))


def leave_pending(stack: LocalStack, identity: str, operation: str, requested_at: datetime) -> None:
    """Give the container a pending operation of another worker."""
    moment = {"S": text(requested_at)}
    later = {"S": "2999-01-01T00:00:00.000Z"}
    pending = {
        "id": {"S": "0" * 24},
        "operation": {"S": operation},
        "step": {"S": operation if operation in ("start", "pause") else "stop"},
        "started_at": moment,
        "since": moment,
        "deadline": later,
        "triggered_by": {"S": "user"},
    }
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": identity}},
        UpdateExpression="SET #operation = :pending, requested_at = :at, pending_shard = :shard, "
        "pending_deadline = :deadline",
        ExpressionAttributeNames={"#operation": "operation"},
        ExpressionAttributeValues={":pending": {"M": pending}, ":at": moment, ":shard": {"S": "0"}, ":deadline": later},
    )


def complete_start(stack: LocalStack, seeder: Seeder, identity: str, requested_at: datetime) -> None:
    """Complete the pending start: the container is running."""
    project = item(stack, identity)["project_id"]["S"]
    seeder.add(identity, ["stopped", "running"], project=project)
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": identity}},
        UpdateExpression="SET requested_at = :at",
        ExpressionAttributeValues={":at": {"S": text(requested_at)}},
    )


@contextmanager
def before_the_claim(identity: str, meanwhile: Callable[[], object]) -> Iterator[None]:
    """Call `meanwhile` between a run's read of the container and its first claim."""
    from longshore.wiring import api_functions

    done: list[bool] = []

    def interrupt(params: dict[str, Any], **_: Any) -> None:
        # Functions that handle events at the same time use the same client.
        operation = params["ExpressionAttributeValues"].get(":operation", {}).get("M", {})
        by_schedule = operation.get("triggered_by") == {"S": "schedule"}
        if by_schedule and params["Key"] == {"id": {"S": identity}} and not done:
            done.append(True)
            meanwhile()

    events, name = api_functions.dynamodb().meta.events, "before-parameter-build.dynamodb.UpdateItem"
    events.register(name, interrupt)
    try:
        yield
    finally:
        events.unregister(name, interrupt)
    assert done, "the run did not claim the container"


def test_a_repeated_event_does_not_stop_a_container_started_since(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    first = event(now(), container_ids=[fresh_id], rule="nightly")
    assert stack.invoke(FUNCTION, first) == effects(stopped=1)
    wait_until_stopped(stack, fresh_id)
    assert stack.invoke(FUNCTION, first) == effects(skipped=1)
    assert api.post(fresh_id, "start").status_code == 200
    assert stack.invoke(FUNCTION, first) == effects(skipped=1)
    assert check(stack, fresh_id)["status"] == "running"
    # The run of the next night stops it.
    assert stack.invoke(FUNCTION, event(now() + timedelta(seconds=1), container_ids=[fresh_id])) == effects(stopped=1)
    wait_until_stopped(stack, fresh_id)
    check(stack, fresh_id)


def test_every_later_request_prevents_the_stop(stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    at = now()
    for operation, after in (("restart", "running"), ("pause", "paused"), ("resume", "running")):
        assert api.post(fresh_id, operation).status_code == 200
        assert stack.invoke(FUNCTION, event(at, container_ids=[fresh_id])) == effects(skipped=1)
        assert check(stack, fresh_id)["status"] == after


def test_the_rule_of_the_stack_passes_its_scheduled_time(
    stack: LocalStack, api: Api, seeder: Seeder, run_rule: Callable[[datetime], int], fresh_id: str
) -> None:
    project = f"d0{fresh_id[2:]}"
    seeder.members(project)
    seeder.add(fresh_id, ["stopped", "running"], project=project)
    at = now() - timedelta(minutes=1)
    assert run_rule(at) == 1
    wait_until_stopped(stack, fresh_id)
    assert api.post(fresh_id, "start").status_code == 200
    assert run_rule(at) == 1
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    assert check(stack, fresh_id)["status"] == "running"


@pytest.fixture
def run_rule(stack: LocalStack, fresh_id: str) -> Iterator[Callable[[datetime], int]]:
    """Fire a rule with the target of the template's rule, for the project of the test."""
    events = stack.client("events")
    assert stack.template is not None
    properties = stack.template.of_type("AWS::Events::Rule")["ScheduledStopFunctionNightly"]
    (target,) = properties["Targets"]
    template = target["InputTransformer"]["InputTemplate"]
    wanted = stack.template.parameters["StopInput"]
    assert template == f'{{"time": <time>, "input": {wanted}}}'
    own = template.replace(wanted, f'{{"project_id": "d0{fresh_id[2:]}"}}')
    transformer = {**target["InputTransformer"], "InputTemplate": own}
    name = f"longshore.{fresh_id}"
    events.put_rule(Name=name, ScheduleExpression="cron(0 20 * * ? *)")
    events.put_targets(Rule=name, Targets=[{**target, "InputTransformer": transformer}])
    yield lambda at: stack.fire(name, at)
    events.remove_targets(Rule=name, Ids=[target["Id"]])
    events.delete_rule(Name=name)


def test_a_run_that_is_more_than_an_hour_late_does_nothing(
    stack: LocalStack, emulator: Emulator, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    emulator.calls.clear()
    late = event(now() - HOUR - timedelta(seconds=1), container_ids=[fresh_id])
    assert stack.invoke(FUNCTION, late) == effects(late=1)
    assert emulator.calls.list("dynamodb") == []
    assert check(stack, fresh_id)["status"] == "running"
    in_time = event(now() - HOUR + timedelta(minutes=1), container_ids=[fresh_id])
    assert stack.invoke(FUNCTION, in_time) == effects(stopped=1)
    wait_until_stopped(stack, fresh_id)


@pytest.mark.parametrize("selects", ["containers", "project", "all"])
def test_a_container_with_an_earlier_pending_start_is_retried_and_stopped(
    stack: LocalStack, seeder: Seeder, fresh_id: str, selects: str
) -> None:
    project = f"be{fresh_id[2:]}"
    seeder.add(fresh_id, ["stopped"], project=project)
    requested_at = now() - timedelta(seconds=2)
    leave_pending(stack, fresh_id, "start", requested_at)
    selections: dict[str, dict[str, Any]] = {
        "containers": {"container_ids": [fresh_id]},
        "project": {"project_id": project},
        "all": {"all": True},
    }
    scheduled = event(now(), **selections[selects])
    with pytest.raises(FunctionError) as raised:
        stack.invoke(FUNCTION, scheduled)
    assert raised.value.error_type == "PartialFailureError"
    assert fresh_id in raised.value.message
    complete_start(stack, seeder, fresh_id, requested_at)
    assert stack.invoke(FUNCTION, scheduled)["stopped"] >= 1
    wait_until_stopped(stack, fresh_id)
    assert all_rows(stack, fresh_id)[-1]["triggered_by"] == "schedule"


@pytest.mark.parametrize("operation", ["start", "restart", "pause"])
def test_an_operation_requested_later_is_skipped(
    stack: LocalStack, seeder: Seeder, fresh_id: str, operation: str
) -> None:
    seeder.add(fresh_id, ["stopped"] if operation == "start" else ["stopped", "running"])
    at = now()
    leave_pending(stack, fresh_id, operation, at + timedelta(milliseconds=1))
    assert stack.invoke(FUNCTION, event(at, container_ids=[fresh_id])) == effects(skipped=1)
    leave_pending(stack, fresh_id, operation, at)
    # A request at the scheduled time itself is not before it.
    assert stack.invoke(FUNCTION, event(at, container_ids=[fresh_id])) == effects(skipped=1)


@pytest.mark.parametrize("operation", ["stop", "force-stop"])
def test_a_pending_stop_is_not_repeated(stack: LocalStack, seeder: Seeder, fresh_id: str, operation: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    leave_pending(stack, fresh_id, operation, now() - timedelta(seconds=2))
    assert stack.invoke(FUNCTION, event(now(), container_ids=[fresh_id])) == effects(skipped=1)


def test_an_operation_of_an_older_version_counts_from_its_start(
    stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    """A claim of an older version does not store when the operation was requested."""
    seeder.add(fresh_id, ["stopped"])
    at = now()
    leave_pending(stack, fresh_id, "start", at)
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": fresh_id}},
        UpdateExpression="REMOVE requested_at",
    )
    assert stack.invoke(FUNCTION, event(at, container_ids=[fresh_id])) == effects(skipped=1)
    with pytest.raises(FunctionError, match="PartialFailureError"):
        stack.invoke(FUNCTION, event(at + timedelta(seconds=1), container_ids=[fresh_id]))


@pytest.mark.parametrize("meanwhile", ["stop and start", "restart", "pause"])
def test_a_request_claimed_between_read_and_claim_of_a_run_is_skipped(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, meanwhile: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    scheduled = event(now(), container_ids=[fresh_id])

    def user() -> None:
        for operation in meanwhile.split(" and "):
            assert api.post(fresh_id, operation).status_code == 200

    with before_the_claim(fresh_id, user):
        assert stack.invoke(FUNCTION, scheduled) == effects(skipped=1)
    assert check(stack, fresh_id)["status"] == ("paused" if meanwhile == "pause" else "running")


def test_an_operation_pending_at_the_claim_of_a_run_is_skipped(
    stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    scheduled = event(now(), container_ids=[fresh_id])
    with before_the_claim(fresh_id, lambda: leave_pending(stack, fresh_id, "restart", now())):
        assert stack.invoke(FUNCTION, scheduled) == effects(skipped=1)


def test_a_stop_without_effect_is_repeated_by_the_same_event(
    stack: LocalStack, emulator: Emulator, seeder: Seeder, fresh_id: str
) -> None:
    """Releasing the claim removes the time that it stored."""
    seeder.add(fresh_id, ["stopped", "running"])
    scheduled = event(now(), container_ids=[fresh_id])
    emulator.faults.add("ecs", "StopTask", "AccessDeniedException", status=400)
    with pytest.raises(FunctionError, match="PartialFailureError"):
        stack.invoke(FUNCTION, scheduled)
    assert "requested_at" not in item(stack, fresh_id)
    assert stack.invoke(FUNCTION, scheduled) == effects(stopped=1)
    wait_until_stopped(stack, fresh_id)
    assert item(stack, fresh_id)["requested_at"]["S"] == scheduled["time"]


def test_a_continuation_keeps_time_project_and_rule(
    stack: LocalStack, emulator: Emulator, seeder: Seeder, fresh_id: str
) -> None:
    assert stack._runtime is not None
    project = f"c0{fresh_id[2:]}"
    ids = [f"{number:x}{fresh_id[1:]}" for number in range(1, 5)]
    for identity in ids:
        seeder.add(identity, ["stopped", "running"], project=project)
    scheduled = event(now() - timedelta(minutes=5), project_id=project, rule="nightly")
    emulator.faults.add("lambda", "Invoke", "TooManyRequestsException", status=429, times=None)
    emulator.calls.clear()
    # The invocation of the continuation fails, so that the test can make it later.
    with pytest.raises(Exception, match="external service"):
        stack._runtime._handlers[FUNCTION](scheduled, ShortOfTime(stack, 1))
    payload = emulator.calls.list("lambda", "Invoke")[0].parameters["Payload"]
    # The payload may contain containers of other projects with a pending operation, which are skipped.
    left = [identity for identity in payload.pop("container_ids") if identity in ids]
    assert len(left) == 3
    assert payload == {"project_id": project, "rule": "nightly", "time": scheduled["time"]}
    emulator.faults.clear()

    moved, restarted, plain = left
    seeder.add(moved, ["stopped", "running"], project=ELSEWHERE)
    seeder.members(project)
    client = Api(stack.url)
    assert client.post(restarted, "restart").status_code == 200
    client.close()
    assert stack.invoke(FUNCTION, payload | {"container_ids": left}) == effects(stopped=1, skipped=2)
    wait_until_stopped(stack, plain)
    assert [status(stack, identity) for identity in (moved, restarted)] == ["running", "running"]
    assert all_rows(stack, plain)[-1]["metadata"]["rule"] == "nightly"


def test_a_container_that_has_left_the_project_is_skipped(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    project = f"a0{fresh_id[2:]}"
    seeder.add(fresh_id, ["stopped", "running"], project=ELSEWHERE)
    # The index is eventually consistent and still lists the container in the old project.
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": fresh_id}},
        UpdateExpression="SET live_project_id = :project",
        ExpressionAttributeValues={":project": {"S": project}},
    )
    selections: list[dict[str, Any]] = [{"project_id": project}, {"project_id": project, "container_ids": [fresh_id]}]
    for selection in selections:
        assert stack.invoke(FUNCTION, event(now(), **selection))["stopped"] == 0
    assert status(stack, fresh_id) == "running"


def test_an_unreadable_container_does_not_prevent_other_stops(
    stack: LocalStack, seeder: Seeder, fresh_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged and skipped, because a retry would not make it readable."""
    unreadable, running = (f"{digit}{fresh_id[1:]}" for digit in "12")
    for identity in (unreadable, running):
        seeder.add(identity, ["stopped", "running"])
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("ContainersTable"),
        Key={"id": {"S": unreadable}},
        UpdateExpression="SET log_count = :text",
        ExpressionAttributeValues={":text": {"S": "many"}},
    )
    scheduled = event(now(), container_ids=[unreadable, running])
    assert stack.invoke(FUNCTION, scheduled) == effects(stopped=1, skipped=1)
    logged = [vars(record)["item"] for record in caplog.records if record.message == "item failed"]
    assert logged == [unreadable]
    wait_until_stopped(stack, running)
    seeder.add(unreadable, ["stopped"])


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+00:00", "%Y-%m-%dT%H:%M:%S.%fZ"])
def test_time_formats_of_rules_and_of_eventbridge_scheduler(
    stack: LocalStack, seeder: Seeder, fresh_id: str, form: str
) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    scheduled = {"time": now().strftime(form), "input": {"container_ids": [fresh_id]}}
    assert stack.invoke(FUNCTION, scheduled) == effects(stopped=1)
    wait_until_stopped(stack, fresh_id)


def test_an_event_without_a_time_uses_the_start_of_the_function(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    """Rules of older versions and manual invocations send no time."""
    seeder.add(fresh_id, ["stopped"])
    assert api.post(fresh_id, "start").status_code == 200
    assert stack.invoke(FUNCTION, {"container_ids": [fresh_id]}) == effects(stopped=1)
    wait_until_stopped(stack, fresh_id)
