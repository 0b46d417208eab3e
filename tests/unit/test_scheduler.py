"""Tests of the calls of EventBridge Scheduler: their parameters, and what follows from each error."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from botocore.stub import Stubber
from longshore.aws.scheduler import ScheduleGroup, ScheduleTarget
from longshore.domain.clock import to_text
from longshore.domain.errors import ExternalServiceError, InvalidInputError, UnreadableItemError
from longshore.domain.lifecycle import Operation
from longshore.domain.schedules import Schedule, ScheduleSettings, Targets
from longshore.engine.schedules import ScheduleInput

PROJECT, CONTAINER = "a" * 24, "c" * 24
SAVED = datetime(2025, 1, 15, 10, 30, 7, 123_000, tzinfo=UTC)
TARGET = ScheduleTarget(
    "arn:aws:lambda:us-east-1:123456789012:function:run",
    "arn:aws:iam::123456789012:role/run",
    "arn:aws:sqs:us-east-1:123456789012:letters",
)
TIMED_OUT = ReadTimeoutError(endpoint_url="https://scheduler.us-east-1.amazonaws.com")


class Clock:
    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return SAVED

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Client:
    """A client that answers each call with the next answer, and records it."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self.calls.append((name, parameters))
            answer = self._answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "arn:aws:scheduler:secret"}}, "Operation")


def group(*answers: Any) -> tuple[ScheduleGroup, Client, Clock]:
    client, clock = Client(*answers), Clock()
    return ScheduleGroup(client, "group", clock), client, clock


def schedule(targets: Targets = Targets(), **changes: Any) -> Schedule:  # noqa: B008  (immutable)
    settings = ScheduleSettings(Operation.START, "cron(0 8 * * ? *)", "Europe/Berlin", targets)
    return Schedule(PROJECT, "office-hours", settings, "ann", SAVED)._replace(**changes)


def described(saved: Schedule) -> dict[str, Any]:
    """Return what GetSchedule returns after a schedule was created."""
    found, client, _ = group({})
    found.create(saved, TARGET)
    return client.calls[0][1] | {"CreationDate": SAVED, "LastModificationDate": SAVED}


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "targets",
    [
        Targets(),
        Targets(labels={"env": "dev", "odd": '<aws.scheduler.schedule-arn> "\\'}),
        Targets(container_ids=(CONTAINER,)),
    ],
)
@pytest.mark.parametrize("changes", [{}, {"created_by": "auth0|<aws.scheduler.scheduled-time>"}, {"start_at": SAVED}])
def test_a_schedule_is_read_as_it_was_written(targets: Targets, changes: dict[str, Any]) -> None:
    saved = schedule(targets, **changes)
    found, _, _ = group(described(saved))
    assert found.find(PROJECT, "office-hours") == saved


def test_the_parameters() -> None:
    request = described(schedule(start_at=SAVED + timedelta(hours=1)))
    assert (request["GroupName"], request["Name"]) == ("group", f"{PROJECT}.office-hours")
    assert (request["ScheduleExpression"], request["ScheduleExpressionTimezone"]) == (
        "cron(0 8 * * ? *)",
        "Europe/Berlin",
    )
    assert (request["State"], request["ActionAfterCompletion"]) == ("ENABLED", "NONE")
    assert request["FlexibleTimeWindow"] == {"Mode": "OFF"}
    assert request["StartDate"] == SAVED + timedelta(hours=1)
    target = request["Target"]
    assert (target["Arn"], target["RoleArn"]) == TARGET[:2]
    assert target["DeadLetterConfig"] == {"Arn": TARGET.dead_letters_arn}
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 3600, "MaximumRetryAttempts": 185}


def test_botocore_accepts_the_parameters_and_adds_a_client_token() -> None:
    client = botocore.session.get_session().create_client(
        "scheduler", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    sent: list[Any] = []

    def note(params: Any, **_: Any) -> None:
        sent.append(params)

    with Stubber(client) as stub:
        client.meta.events.register_last("before-parameter-build.scheduler.CreateSchedule", note)
        stub.add_response("create_schedule", {"ScheduleArn": "arn:aws:scheduler:us-east-1:123456789012:schedule/g/n"})
        assert ScheduleGroup(client, "group", Clock()).create(schedule(start_at=SAVED), TARGET)
    assert len(sent[0]["ClientToken"]) == 36


@pytest.mark.parametrize("targets", [Targets(), Targets({"k": "<v>"}), Targets(None, (CONTAINER,))])
def test_the_function_reads_the_input(targets: Targets) -> None:
    text = described(schedule(targets))["Target"]["Input"]
    # Only the scheduled time is a keyword of EventBridge Scheduler.
    assert text.count("<") == 1
    event = json.loads(text.replace("<aws.scheduler.scheduled-time>", "2025-01-16T07:00:00Z"))
    wanted = ScheduleInput.of(event, SAVED)
    assert wanted == ScheduleInput(
        project_id=PROJECT,
        container_ids=None if targets.container_ids is None else list(targets.container_ids),
        labels=None if targets.labels is None else dict(targets.labels),
        operation=Operation.START,
        rule="office-hours",
        actor="ann",
        saved_at=SAVED,
        time=datetime(2025, 1, 16, 7, tzinfo=UTC),
    )


def test_the_longest_names_fit() -> None:
    saved = schedule()._replace(name="n" * 32)
    assert len(described(saved)["Name"]) <= 64


def test_pages_of_names() -> None:
    pages = [[{"Name": f"{PROJECT}.{name}", "LastModificationDate": SAVED} for name in names] for names in ("bc", "a")]
    found, client, _ = group({"Schedules": pages[0], "NextToken": "more"}, {"Schedules": pages[1]})
    assert list(found.modified(PROJECT).items()) == [(name, to_text(SAVED)) for name in "abc"]
    request = {"GroupName": "group", "NamePrefix": f"{PROJECT}.", "MaxResults": 100, "NextToken": "more"}
    assert client.calls[-1] == ("list_schedules", request)


# --- errors -----------------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[ScheduleGroup], object]] = {
    "create": lambda found: found.create(schedule(), TARGET),
    "replace": lambda found: found.replace(schedule(), TARGET),
    "delete": lambda found: found.delete(PROJECT, "office-hours"),
    "find": lambda found: found.find(PROJECT, "office-hours"),
    "names": lambda found: found.modified(PROJECT),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (error("ThrottlingException"), "EventBridge Scheduler is receiving too many requests"),
        (error("ServiceQuotaExceededException"), "The account has reached its quota of schedules"),
        (error("AccessDeniedException"), "EventBridge Scheduler failed"),
        (error("InternalServerException"), "EventBridge Scheduler failed"),
        (TIMED_OUT, "EventBridge Scheduler failed"),
    ],
    ids=["throttled", "quota", "denied", "failed", "timeout"],
)
def test_a_failure_is_an_error_of_an_external_service(call: str, failure: Exception, reason: str) -> None:
    found, client, _ = group(failure)
    with pytest.raises(ExternalServiceError) as raised:
        CALLS[call](found)
    assert raised.value.reason == reason
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    ("call", "code", "result"),
    [
        ("create", "ConflictException", False),
        ("replace", "ResourceNotFoundException", False),
        ("delete", "ResourceNotFoundException", None),
        ("find", "ResourceNotFoundException", None),
    ],
)
def test_whether_a_schedule_exists(call: str, code: str, result: object) -> None:
    found, client, _ = group(error(code))
    assert CALLS[call](found) == result
    assert len(client.calls) == 1


@pytest.mark.parametrize("call", ["create", "replace"])
def test_an_expression_that_eventbridge_does_not_accept(call: str) -> None:
    found, _, _ = group(error("ValidationException"))
    with pytest.raises(InvalidInputError) as raised:
        CALLS[call](found)
    assert raised.value.data == [{"instancePath": "/expression", "message": "is not accepted by EventBridge Scheduler"}]


@pytest.mark.parametrize("call", ["replace", "delete"])
def test_a_concurrent_change_is_waited_for(call: str) -> None:
    conflict = error("ConflictException")
    found, client, clock = group(conflict, conflict, {})
    CALLS[call](found)
    assert len(client.calls) == 3
    assert clock.slept == [0.2, 0.4]
    found, client, _ = group(*[conflict] * 4)
    with pytest.raises(ExternalServiceError) as raised:
        CALLS[call](found)
    assert raised.value.reason == "The schedule is being changed by another request"
    assert len(client.calls) == 4


def test_a_group_that_does_not_exist() -> None:
    found, _, _ = group(error("ResourceNotFoundException"))
    with pytest.raises(ExternalServiceError):
        found.create(schedule(), TARGET)


@pytest.mark.parametrize(
    "change",
    [
        {"Target": {}},
        {"Target": {"Input": "now"}},
        {"Target": {"Input": "[]"}},
        {"Target": {"Input": '{"input": {}}'}},
        {"Target": {"Input": '{"input": null}'}},
        {"State": None, "ScheduleExpression": "rate(5 weeks)"},
        {"ScheduleExpression": "every day"},
        {"ScheduleExpressionTimezone": "Europe/Atlantis"},
    ],
)
def test_a_schedule_that_was_not_written_by_this_version(change: dict[str, Any]) -> None:
    found, _, _ = group(described(schedule()) | change)
    with pytest.raises(UnreadableItemError):
        found.find(PROJECT, "office-hours")


def test_a_schedule_with_the_input_of_another_project() -> None:
    found, _, _ = group(described(schedule()))
    with pytest.raises(UnreadableItemError):
        found.find("b" * 24, "office-hours")


# --- the administration -----------------------------------------------------------------------------------------------


LATER = SAVED + timedelta(hours=1)


def test_a_state_is_changed_without_other_changes() -> None:
    before = described(schedule(start_at=LATER)) | {"Arn": "arn:s", "Description": None}
    found, client, _ = group(before, {})
    assert found.set_enabled(f"{PROJECT}.office-hours", enabled=False)
    name, request = client.calls[-1]
    assert name == "update_schedule"
    assert request == {
        key: value for key, value in described(schedule(start_at=LATER)).items() if "Date" not in key
    } | {
        "State": "DISABLED",
        "StartDate": LATER,
    }


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize(
    ("expression", "start_at", "expected"),
    [
        ("rate(1 hour)", SAVED - timedelta(minutes=150), SAVED + timedelta(minutes=30)),
        ("rate(1 hour)", SAVED, LATER),
        ("rate(1 hour)", LATER, LATER),
        ("cron(0 8 * * ? *)", SAVED - timedelta(minutes=150), None),
        ("cron(0 8 * * ? *)", LATER, LATER),
        ("unknown(1)", SAVED - timedelta(minutes=150), None),
    ],
)
def test_a_start_in_the_past_is_replaced_by_the_next_run(
    enabled: bool, expression: str, start_at: datetime, expected: datetime | None
) -> None:
    """EventBridge Scheduler refuses a StartDate in the past."""
    before = described(schedule()) | {"ScheduleExpression": expression, "StartDate": start_at}
    found, client, _ = group(before, {})
    assert found.set_enabled(f"{PROJECT}.office-hours", enabled=enabled)
    assert client.calls[-1][1].get("StartDate") == expected


@pytest.mark.parametrize("answers", [[error("ResourceNotFoundException")], [{}, error("ResourceNotFoundException")]])
def test_the_state_of_a_schedule_that_does_not_exist(answers: list[Any]) -> None:
    found, _, _ = group(*answers)
    assert not found.set_enabled(f"{PROJECT}.office-hours", enabled=False)
