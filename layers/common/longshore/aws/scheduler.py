"""The schedules of the API in EventBridge Scheduler: the only code of the functions that calls this service.

A schedule is one schedule in the group of the stack, and is its only record. Its name is `<project_id>.<name>`, and its
target is the function that runs schedules. The input of the target states what to do, and who saved it:

    {"time": "<aws.scheduler.scheduled-time>",
     "input": {"project_id": "...", "operation": "start", "labels": {"env": "dev"}, "rule": "office-hours",
               "actor": "user-1", "saved_at": "2025-01-15T10:30:00.000Z"}}

EventBridge Scheduler replaces the first value by the scheduled time. Every `<` in the input itself is written as an
escape sequence, so that a label cannot contain such a keyword.

What happens if a call fails:

ThrottlingException              botocore repeats the call twice, then it fails with ExternalServiceError
a lost reply                     botocore repeats the call with the same ClientToken, which has no second effect
ConflictException                CreateSchedule: the schedule exists
                                 other calls: another request is changing the schedule, so the call is repeated
ServiceQuotaExceededException    ExternalServiceError; nothing has changed
ValidationException              InvalidInputError: EventBridge Scheduler does not accept the expression

Reads of EventBridge Scheduler may lag behind writes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from longshore.domain.bodies import fault
from longshore.domain.clock import Clock, to_text
from longshore.domain.errors import ExternalServiceError, InvalidInputError, UnreadableItemError
from longshore.domain.lifecycle import Operation
from longshore.domain.schedules import Schedule, ScheduleSettings, Targets
from longshore.domain.timetable import Interval, next_runs, timetable

_SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"
_OLDEST_EVENT = 3600  # seconds: a run that begins later does nothing
_MOST_RETRIES = 185  # the limit of EventBridge Scheduler, which also waits between the attempts
_CONFLICT_TRIES = 4
_CONFLICT_PAUSE = 0.2  # seconds; doubled after each try
_PAGE = 100


class ScheduleTarget(NamedTuple):
    """The target of every schedule.

    Attributes:
        function_arn: The function that runs schedules.
        role_arn: The role with which EventBridge Scheduler invokes the function.
        dead_letters_arn: The queue for events that it could not deliver.
    """

    function_arn: str
    role_arn: str
    dead_letters_arn: str


class Definition(NamedTuple):
    """What GetSchedule returns of a schedule, as JSON values. None for what it does not return.

    Attributes:
        expression: The expression.
        timezone: The IANA name of the time zone.
        state: `ENABLED` or `DISABLED`.
        start_at: The time before which it does not run.
        input: The input of the target.
        modified_at: When it was modified last. ListSchedules returns the same time.
    """

    expression: str | None
    timezone: str | None
    state: str | None
    start_at: str | None
    input: str | None
    modified_at: str

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Definition":
        """Return the definition in an answer of GetSchedule."""
        start_at = answer.get("StartDate")
        return cls(
            expression=answer.get("ScheduleExpression"),
            timezone=answer.get("ScheduleExpressionTimezone"),
            state=answer.get("State"),
            start_at=None if start_at is None else to_text(start_at),
            input=(answer.get("Target") or {}).get("Input"),
            modified_at=to_text(answer["LastModificationDate"]),
        )


class ScheduleGroup:
    """Reads and writes the schedules of a group.

    Args:
        client: botocore's client of EventBridge Scheduler.
        name: The name of the group.
        clock: Waits before a call is repeated after a conflict.

    Raises:
        ExternalServiceError: Every method: EventBridge Scheduler failed after retries. A write may have taken effect,
            and can be repeated.
    """

    def __init__(self, client: Any, name: str, clock: Clock) -> None:
        self._client = client
        self._name = name
        self._clock = clock

    def modified(self, project_id: str) -> dict[str, str]:
        """Return the names of the schedules of a project, sorted, each with the time of its last modification."""
        prefix = f"{project_id}."
        found = {each["Name"].removeprefix(prefix): each["LastModificationDate"] for each in self._listed(prefix)}
        return {name: to_text(found[name]) for name in sorted(found)}

    def definition(self, project_id: str, name: str) -> Definition | None:
        """Return the definition of a schedule, or None if it does not exist."""
        answer = self.described(f"{project_id}.{name}")
        return None if answer is None else Definition.of(answer)

    def find(self, project_id: str, name: str) -> Schedule | None:
        """Return a schedule, or None if it does not exist.

        Raises:
            UnreadableItemError: It was not written by this version.
        """
        found = self.definition(project_id, name)
        return None if found is None else schedule_of(project_id, name, found)

    def create(self, schedule: Schedule, target: ScheduleTarget) -> bool:
        """Create a schedule. Returns False if it exists.

        Raises:
            InvalidInputError: EventBridge Scheduler does not accept the expression or the time zone.
        """
        request = self._request(schedule, target)
        error = self._failure(lambda: self._client.create_schedule(**request))
        return self._written(error, absent="ConflictException")

    def replace(self, schedule: Schedule, target: ScheduleTarget) -> bool:
        """Replace a schedule. Returns False if it does not exist.

        Raises:
            InvalidInputError: EventBridge Scheduler does not accept the expression or the time zone.
        """
        request = self._request(schedule, target)
        error = self._changed(lambda: self._client.update_schedule(**request))
        return self._written(error, absent="ResourceNotFoundException")

    def delete(self, project_id: str, name: str) -> None:
        """Delete a schedule. If it does not exist, nothing happens."""
        self.delete_named(f"{project_id}.{name}")

    # --- by the full name, for the administration ------------------------------------------------------------------

    def all_names(self) -> list[str]:
        """Return the full names of all schedules of the group, sorted."""
        return sorted(each["Name"] for each in self._listed(None))

    def described(self, full_name: str) -> Mapping[str, Any] | None:
        """Return the answer of GetSchedule, or None if the schedule does not exist."""
        answer: dict[str, Any] = {}
        error = self._failure(
            lambda: answer.update(self._client.get_schedule(GroupName=self._name, Name=full_name)),
        )
        if _code(error) == "ResourceNotFoundException":
            return None
        _check(error)
        return answer

    def set_enabled(self, full_name: str, *, enabled: bool) -> bool:
        """Enable or disable a schedule without other changes. Returns False if it does not exist."""
        answer = self.described(full_name)
        if answer is None:
            return False
        # UpdateSchedule sets every value that is not given to its default.
        request = {key: answer[key] for key in _KEPT if answer.get(key) is not None}
        if (start := answer.get("StartDate")) is not None and start <= (now := self._clock.now()):
            # EventBridge Scheduler refuses a time in the past. Only a rate is counted from it.
            request.pop("StartDate")
            if (first := _next_of_rate(answer, now)) is not None:
                request["StartDate"] = first
        request["State"] = "ENABLED" if enabled else "DISABLED"
        error = self._changed(
            lambda: self._client.update_schedule(GroupName=self._name, Name=full_name, **request),
        )
        return self._written(error, absent="ResourceNotFoundException")

    def delete_named(self, full_name: str) -> None:
        """Delete a schedule by its full name. If it does not exist, nothing happens."""
        error = self._changed(lambda: self._client.delete_schedule(GroupName=self._name, Name=full_name))
        if _code(error) != "ResourceNotFoundException":
            _check(error)

    # --- calls ------------------------------------------------------------------------------------------------------

    def _listed(self, prefix: str | None) -> Iterator[Mapping[str, Any]]:
        request: dict[str, Any] = {"GroupName": self._name, "MaxResults": _PAGE}
        if prefix is not None:
            request["NamePrefix"] = prefix
        while True:
            answer = self._page(request)
            yield from answer["Schedules"]
            if not answer.get("NextToken"):
                return
            request["NextToken"] = answer["NextToken"]

    def _page(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        _check(self._failure(lambda: answer.update(self._client.list_schedules(**request))))
        return answer

    def _request(self, schedule: Schedule, target: ScheduleTarget) -> dict[str, Any]:
        settings = schedule.settings
        request: dict[str, Any] = {
            "GroupName": self._name,
            "Name": f"{schedule.project_id}.{schedule.name}",
            "ScheduleExpression": settings.expression,
            "ScheduleExpressionTimezone": settings.timezone,
            "State": "ENABLED" if settings.enabled else "DISABLED",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            # A schedule that is over remains, so that callers can see it.
            "ActionAfterCompletion": "NONE",
            "Target": {
                "Arn": target.function_arn,
                "RoleArn": target.role_arn,
                "Input": _input(schedule),
                "DeadLetterConfig": {"Arn": target.dead_letters_arn},
                "RetryPolicy": {
                    "MaximumEventAgeInSeconds": _OLDEST_EVENT,
                    "MaximumRetryAttempts": _MOST_RETRIES,
                },
            },
        }
        if schedule.start_at is not None:
            request["StartDate"] = schedule.start_at
        return request

    def _changed(self, call: Callable[[], object]) -> ClientError | None:
        """Make a call, and repeat it while another request changes the schedule. Returns the last error, or None."""
        for attempt in range(_CONFLICT_TRIES):
            if attempt:
                self._clock.sleep(_CONFLICT_PAUSE * 2 ** (attempt - 1))
            error = self._failure(call)
            if _code(error) != "ConflictException":
                break
        return error

    @staticmethod
    def _written(error: ClientError | None, *, absent: str) -> bool:
        if _code(error) == "ValidationException":
            raise InvalidInputError([fault("is not accepted by EventBridge Scheduler", "expression")]) from error
        if _code(error) == absent:
            return False
        _check(error)
        return True

    @staticmethod
    def _failure(call: Callable[[], object]) -> ClientError | None:
        """Make a call. Returns the error of EventBridge Scheduler, or None."""
        try:
            call()
        except ClientError as error:
            return error
        except BotoCoreError as error:
            raise ExternalServiceError("EventBridge Scheduler failed") from error
        return None


_KEPT = (
    "ActionAfterCompletion",
    "Description",
    "EndDate",
    "FlexibleTimeWindow",
    "KmsKeyArn",
    "ScheduleExpression",
    "ScheduleExpressionTimezone",
    "StartDate",
    "Target",
)
"""What UpdateSchedule takes, and GetSchedule returns, besides the state."""

_REASONS = {
    "ConflictException": "The schedule is being changed by another request",
    "ServiceQuotaExceededException": "The account has reached its quota of schedules",
    "ThrottlingException": "EventBridge Scheduler is receiving too many requests",
}


def _next_of_rate(answer: Mapping[str, Any], now: datetime) -> datetime | None:
    """Return when a schedule with equal intervals runs next (UTC); None for other schedules."""
    try:
        found = timetable(str(answer["ScheduleExpression"]), UTC)
    except ValueError:
        return None  # The expression is not one of the API's.
    if not isinstance(found, Interval):
        return None
    (first,) = next_runs(found, now, 1, answer["StartDate"].astimezone(UTC))
    return first


def _code(error: ClientError | None) -> str | None:
    return None if error is None else str(error.response.get("Error", {}).get("Code", ""))


def _check(error: ClientError | None) -> None:
    """Raise ExternalServiceError if a call has failed."""
    if error is not None:
        raise ExternalServiceError(_REASONS.get(_code(error) or "", "EventBridge Scheduler failed")) from error


def _input(schedule: Schedule) -> str:
    """Return the input of the target. `engine.schedules.ScheduleInput` reads it."""
    targets = schedule.settings.targets
    content = {
        "project_id": schedule.project_id,
        "operation": schedule.settings.operation.value,
        **({} if targets == Targets() else targets.as_json()),
        "rule": schedule.name,
        "actor": schedule.created_by,
        "saved_at": to_text(schedule.saved_at),
    }
    escaped = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return f'{{"time":"{_SCHEDULED_TIME}","input":{escaped}}}'


def schedule_of(project_id: str, name: str, definition: Definition) -> Schedule:
    """Return the schedule with a definition.

    Raises:
        UnreadableItemError: It was not written by this version.
    """
    try:
        content = json.loads(definition.input or "")["input"]
        ids = content.get("container_ids")
        settings = ScheduleSettings(
            operation=Operation(content["operation"]),
            expression=definition.expression or "",
            timezone=definition.timezone or "UTC",
            targets=Targets(labels=content.get("labels"), container_ids=None if ids is None else tuple(ids)),
            enabled=definition.state == "ENABLED",
        )
        start_at = definition.start_at
        schedule = Schedule(
            project_id=project_id,
            name=name,
            settings=settings,
            created_by=str(content["actor"]),
            saved_at=datetime.fromisoformat(content["saved_at"]),
            start_at=None if start_at is None else datetime.fromisoformat(start_at),
        )
        _ = settings.timetable
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableItemError(f"{project_id}.{name}") from error
    if content["project_id"] != project_id:
        raise UnreadableItemError(f"{project_id}.{name}")
    return schedule
