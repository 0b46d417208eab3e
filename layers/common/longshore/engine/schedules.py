"""Scheduled operations: the input of a schedule, and the run that performs its operation on its containers.

A run acts for its scheduled time. EventBridge delivers events at least once, Lambda retries events that failed, and a
long run continues in further invocations, so the same run may act several times, and late. It therefore skips
containers for which an operation was requested at or after the scheduled time:

    20:00:00  the scheduled time
    20:00:02  the run stops the container
    20:05:00  a user starts the container          requested_at is now 20:05
    20:06:00  the event is delivered again         requested_at is not before 20:00: skipped

A schedule that a user has saved acts with the user's role, which is checked at the beginning of each invocation.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from longshore.aws.access import Access
from longshore.aws.functions import Function
from longshore.aws.listing import ContainerListing
from longshore.aws.store import Store
from longshore.domain.clock import to_milliseconds, to_text
from longshore.domain.errors import (
    AccountBannedError,
    ExternalServiceError,
    InsufficientPermissionsError,
    LaterRequestError,
    LongshoreError,
    ProjectNotFoundError,
    StateConflictError,
    UnreadableItemError,
)
from longshore.domain.lifecycle import Operation, Refusal, Refused, effect_of, final_status
from longshore.domain.models import Container, OperationRequest
from longshore.domain.pending import Trigger
from longshore.domain.roles import Role
from longshore.engine.operations import Operations
from longshore.engine.sweeps import OnFailure, Spread

LATEST = timedelta(hours=1)
"""A run that starts later than this after its scheduled time does nothing."""

_NO_WAIT = timedelta()
_HANDED_ON_AT_ONCE = 5000  # ids, of 27 bytes each; an event is limited to 256 KB

ContainerId = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
ScheduledTime = Annotated[AwareDatetime, AfterValidator(to_milliseconds), PlainSerializer(to_text)]
"""An RFC 3339 time, with or without a fraction of a second, in UTC to the millisecond."""


class ScheduleInput(BaseModel):
    """The input of a schedule: its operation and containers, its name for the history, and its scheduled time.

    Selects the containers in `container_ids`, those of the project `project_id` or, with `labels`, those of them that
    have these labels, or all. With both `container_ids` and `project_id`, containers of other projects are skipped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    project_id: ContainerId | None = None
    container_ids: Annotated[list[ContainerId], Field(min_length=1)] | None = None
    labels: Annotated[dict[str, str], Field(min_length=1)] | None = None
    all: bool = False
    operation: Operation = Operation.STOP
    rule: str | None = Field(default=None, max_length=64)
    actor: str | None = None  # the user who saved the schedule; None: a rule, which acts without a role
    saved_at: ScheduledTime | None = None  # when the user saved it; not used by the run
    time: ScheduledTime | None = None  # None: the start of the run

    @model_validator(mode="after")
    def _selects_containers(self) -> "ScheduleInput":
        if (self.project_id is not None or self.container_ids is not None) is self.all:
            raise ValueError("either all (true) or project_id and/or container_ids have to be given")
        if self.project_id is None and (self.labels is not None or self.actor is not None):
            raise ValueError("labels and actor require project_id")
        if self.all and self.operation is not Operation.STOP:
            raise ValueError("all supports only the operation stop: the other operations require project_id")
        return self

    @classmethod
    def of(cls, event: Mapping[str, Any], now: datetime) -> "ScheduleInput":
        """Parse the function's event.

        Args:
            event: The input itself, or `{"time": "2025-01-15T20:00:00Z", "input": {...}}`, as the input transformers of
                rules and the inputs of EventBridge Scheduler (`<aws.scheduler.scheduled-time>`) build it.
            now: The start of the function (UTC), used as the scheduled time if the event has none.

        Raises:
            pydantic.ValidationError: The event has neither form.
        """
        if "input" in event:
            timed = _TimedInput.model_validate(event)
            return timed.input.model_copy(update={"time": timed.time})
        wanted = cls.model_validate(event)
        return wanted if wanted.time is not None else wanted.model_copy(update={"time": now})


class _TimedInput(BaseModel):
    """An event that passes the scheduled time."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    time: ScheduledTime
    input: ScheduleInput


class RunResult(BaseModel):
    """The result of a run: the number of containers by effect, and the ids of those to be tried again."""

    operation: Operation = Operation.STOP
    begun: int = 0  # the operation has begun or is complete
    skipped: int = 0  # the operation is not possible or not needed, or another was requested since the scheduled time
    failed: list[str] = []  # to be tried again: an error occurred, or another operation is pending
    left: list[str] = []  # not tried, because the function's time ran out
    late: int = 0  # 1 if the run was too late and did nothing
    unauthorized: int = 0  # 1 if the user who saved the schedule lacks the role, and the run did nothing

    @property
    def counts(self) -> dict[str, int]:
        """The numbers for logs and metrics. The operation that has begun is named by its effect, such as `stopped`."""
        return {
            effect_of(self.operation): self.begun,
            "skipped": self.skipped,
            "failed": len(self.failed),
            "continued": len(self.left),
            "late": self.late,
            "unauthorized": self.unauthorized,
        }


class ScheduledRuns:
    """Performs the operation of a schedule in the same way as for a caller who requests it.

    Args:
        on_failure: Called with the name and the error of each container that fails or whose item cannot be read.
    """

    def __init__(
        self,
        store: Store,
        listing: ContainerListing,
        access: Access,
        operations: Operations,
        spread: Spread,
        on_failure: OnFailure = lambda *_: None,
    ) -> None:
        self._store = store
        self._listing = listing
        self._access = access
        self._operations = operations
        self._spread = spread
        self._on_failure = on_failure

    def run(
        self, wanted: ScheduleInput, request_id: str, enough_time: Callable[[], bool], *, now: datetime
    ) -> RunResult:
        """Begin the operation for each container, without waiting for the effect, which events and sweeps observe.

        An error for one container does not end the run. The run is safe to repeat: containers that have the status, or
        will have it, are skipped, and so are those for which an operation was requested since the scheduled time.

        Args:
            wanted: The operation, the containers and the scheduled time.
            request_id: The id of the invocation, for the history.
            enough_time: Returns whether there is time for another container.
            now: The current time (UTC).

        Raises:
            ExternalServiceError: The containers could not be listed, or the user's role could not be read.
        """
        scheduled_at = wanted.time or now
        if now - scheduled_at > LATEST:
            return RunResult(operation=wanted.operation, late=1)
        if not self._is_authorized(wanted):
            return RunResult(operation=wanted.operation, unauthorized=1)

        def begin(container_id: str) -> str:
            return self._begin(container_id, wanted, scheduled_at, request_id) if enough_time() else "left"

        ids = list(self._ids(wanted))
        effects = list(zip(ids, self._spread(begin, ids), strict=True))
        return RunResult(
            operation=wanted.operation,
            begun=sum(effect == "begun" for _, effect in effects),
            skipped=sum(effect == "skipped" for _, effect in effects),
            failed=[container_id for container_id, effect in effects if effect == "failed"],
            left=[container_id for container_id, effect in effects if effect == "left"],
        )

    def _is_authorized(self, wanted: ScheduleInput) -> bool:
        if wanted.actor is None or wanted.project_id is None:
            return True
        try:
            grants = self._access.all_grants(wanted.actor)
            self._access.admit_to_project(grants, wanted.project_id, needs=Role.OPERATOR)
        except (AccountBannedError, InsufficientPermissionsError, ProjectNotFoundError):
            return False
        return True

    def _ids(self, wanted: ScheduleInput) -> Iterable[str]:
        if wanted.container_ids is not None:
            return dict.fromkeys(wanted.container_ids)
        if wanted.project_id is not None and (wanted.labels is not None or wanted.operation is not Operation.STOP):
            # Containers that are not live are in no other index.
            entries = self._listing.entries(wanted.project_id, {"id", "labels"})
            return [entry.id for entry in entries if _has_labels(entry.labels, wanted)]
        index = self._store.index
        live = index.live() if wanted.project_id is None else index.live_in_project(wanted.project_id)
        # A stopped container with a pending start is not live yet. The index of pending operations does not contain
        # projects: containers of other projects are skipped after they have been read.
        return dict.fromkeys([*live, *index.pending()])

    def _begin(self, container_id: str, wanted: ScheduleInput, scheduled_at: datetime, request_id: str) -> str:
        request = OperationRequest(
            container_id=container_id,
            operation=wanted.operation,
            actor=wanted.actor,
            request_id=request_id,
            triggered_by=Trigger.SCHEDULE,
            rule=wanted.rule,
            requested_at=scheduled_at,
        )
        name = container_id
        try:
            container = self._store.container(container_id)
            if container is None or _is_exempt(container, wanted, scheduled_at):
                return "skipped"
            effect = _effect_without_claim(container, wanted.operation)
            if effect is not None:
                return effect
            name = f"{container_id} in the cluster {container.runtime.cluster}"
            self._operations.run(container, request, wait=_NO_WAIT)
        except LaterRequestError:
            return "skipped"
        except StateConflictError as conflict:
            return _effect_of_conflict(wanted.operation, conflict.data)
        except ExternalServiceError as error:
            self._on_failure(name, error)
            # The operation may be pending. In that case a repeat skips the container, and the recovery sweep
            # completes the operation.
            return "failed"
        except UnreadableItemError as error:
            self._on_failure(container_id, error)
            return "skipped"
        except LongshoreError:
            return "skipped"
        return "begun"


class Continuation:
    """Passes the remaining containers of a run to another invocation of the function."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def hand_on(self, container_ids: list[str], wanted: ScheduleInput) -> None:
        """Invoke the function asynchronously for the remaining containers of a run.

        The new events keep everything else of the run's input. If the reply is lost, the same containers may be
        passed on twice, and are skipped the second time.

        Args:
            container_ids: The remaining containers.
            wanted: The input of the run.

        Raises:
            ExternalServiceError: Lambda did not accept the invocation.
        """
        for start in range(0, len(container_ids), _HANDED_ON_AT_ONCE):
            rest = wanted.model_copy(
                update={"all": False, "container_ids": container_ids[start : start + _HANDED_ON_AT_ONCE]}
            )
            self._function.invoke(rest.model_dump_json(exclude_defaults=True))


def _is_exempt(container: Container, wanted: ScheduleInput, scheduled_at: datetime) -> bool:
    """Decide whether a run must leave a container alone, whatever its status."""
    if wanted.project_id is not None and container.project_id != wanted.project_id:
        return True
    if not _has_labels(container.labels, wanted):
        return True
    pending = container.operation
    requested_at = container.requested_at or (pending.started_at if pending else None)
    return requested_at is not None and requested_at >= scheduled_at


def _effect_without_claim(container: Container, operation: Operation) -> str | None:
    """Decide whether the operation cannot begin.

    Returns:
        `skipped` if it is not needed or not possible, `failed` if a later try must check again, None if it can begin.
    """
    verdict = container.decide(operation)
    if not isinstance(verdict, Refused):
        return None
    if verdict.refusal is not Refusal.CONFLICT:
        return "skipped"
    return _effect_of_pending(operation, container.pending)


def _effect_of_pending(operation: Operation, pending: Operation | None) -> str:
    """Return the effect of an operation that was refused while another one, or none, was pending."""
    if pending is None or pending is operation:
        return "skipped"
    if operation is not Operation.RESTART and final_status(pending) is final_status(operation):
        return "skipped"
    # The pending operation may leave the container in another status, such as a start of a container to be stopped.
    return "failed"


def _effect_of_conflict(operation: Operation, data: Mapping[str, Any]) -> str:
    """Return the effect of an operation that was refused. `data` is the state of the container that caused this."""
    pending = data.get("pending_operation")
    if pending is not None:
        return _effect_of_pending(operation, Operation(pending["operation"]))
    return "failed" if operation in data["allowed_operations"] else "skipped"


def _has_labels(labels: Mapping[str, str], wanted: ScheduleInput) -> bool:
    return wanted.labels is None or wanted.labels.items() <= labels.items()
