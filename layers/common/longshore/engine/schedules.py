"""Scheduled stops: the input of an EventBridge schedule, and the run that stops its containers.

A run acts for its scheduled time. EventBridge delivers events at least once, Lambda retries events that failed, and a
long run continues in further invocations, so the same run may act several times, and late. It therefore skips
containers for which an operation was requested at or after the scheduled time:

    20:00:00  the scheduled time
    20:00:02  the run stops the container
    20:05:00  a user starts the container          requested_at is now 20:05
    20:06:00  the event is delivered again         requested_at is not before 20:00: skipped
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from longshore.aws.functions import Function
from longshore.aws.store import Store
from longshore.domain.clock import to_milliseconds, to_text
from longshore.domain.errors import (
    ExternalServiceError,
    LaterRequestError,
    LongshoreError,
    StateConflictError,
    UnreadableItemError,
)
from longshore.domain.lifecycle import LIVE, Operation
from longshore.domain.models import Container, OperationRequest, Trigger
from longshore.engine.operations import Operations
from longshore.engine.sweeps import OnFailure, Spread

LATEST = timedelta(hours=1)
"""A run that starts later than this after its scheduled time does nothing."""

_NO_WAIT = timedelta()
_HANDED_ON_AT_ONCE = 5000  # ids, of 27 bytes each; an event is limited to 256 KB
_STOPS = (Operation.STOP, Operation.FORCE_STOP)

ContainerId = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
ScheduledTime = Annotated[AwareDatetime, AfterValidator(to_milliseconds), PlainSerializer(to_text)]
"""An RFC 3339 time, with or without a fraction of a second, in UTC to the millisecond."""


class StopInput(BaseModel):
    """The input of a schedule: its containers, its name for the history and its scheduled time.

    Selects the containers in `container_ids`, those of the project `project_id`, or all. With both `container_ids` and
    `project_id`, containers of other projects are skipped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    project_id: ContainerId | None = None
    container_ids: Annotated[list[ContainerId], Field(min_length=1)] | None = None
    all: bool = False
    rule: str | None = Field(default=None, max_length=64)
    time: ScheduledTime | None = None  # None: the start of the run

    @model_validator(mode="after")
    def _selects_containers(self) -> "StopInput":
        if (self.project_id is not None or self.container_ids is not None) is self.all:
            raise ValueError("either all (true) or project_id and/or container_ids have to be given")
        return self

    @classmethod
    def of(cls, event: Mapping[str, Any], now: datetime) -> "StopInput":
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
    input: StopInput


class StopResult(BaseModel):
    """The result of a run: the number of containers by effect, and the ids of those to be tried again."""

    stopped: int = 0  # the stop has begun or is complete
    skipped: int = 0  # not live, or an operation was requested at or after the scheduled time
    failed: list[str] = []  # to be tried again: an error occurred, or another operation is pending
    left: list[str] = []  # not tried, because the function's time ran out
    late: int = 0  # 1 if the run was too late and did nothing

    @property
    def counts(self) -> dict[str, int]:
        """The numbers for logs and metrics."""
        return {
            "stopped": self.stopped,
            "skipped": self.skipped,
            "failed": len(self.failed),
            "continued": len(self.left),
            "late": self.late,
        }


class ScheduledStops:
    """Stops containers for a schedule with the same operation that a caller would request.

    Args:
        on_failure: Called with the id and the error of each container whose item cannot be read.
    """

    def __init__(
        self, store: Store, operations: Operations, spread: Spread, on_failure: OnFailure = lambda *_: None
    ) -> None:
        self._store = store
        self._operations = operations
        self._spread = spread
        self._on_failure = on_failure

    def run(self, wanted: StopInput, request_id: str, enough_time: Callable[[], bool], *, now: datetime) -> StopResult:
        """Begin to stop each container, without waiting for the effect, which events and sweeps observe.

        An error for one container does not end the run. The run is safe to repeat: containers that are stopping or have
        stopped are skipped, and so are those for which an operation was requested since the scheduled time.

        Args:
            wanted: The containers and the scheduled time.
            request_id: The id of the invocation, for the history.
            enough_time: Returns whether there is time for another container.
            now: The current time (UTC).

        Raises:
            ExternalServiceError: The containers could not be listed.
        """
        scheduled_at = wanted.time or now
        if now - scheduled_at > LATEST:
            return StopResult(late=1)

        def stop(container_id: str) -> str:
            return self._stop(container_id, wanted, scheduled_at, request_id) if enough_time() else "left"

        ids = list(self._ids(wanted))
        effects = list(zip(ids, self._spread(stop, ids), strict=True))
        return StopResult(
            stopped=sum(effect == "stopped" for _, effect in effects),
            skipped=sum(effect == "skipped" for _, effect in effects),
            failed=[container_id for container_id, effect in effects if effect == "failed"],
            left=[container_id for container_id, effect in effects if effect == "left"],
        )

    def _ids(self, wanted: StopInput) -> Iterable[str]:
        if wanted.container_ids is not None:
            return dict.fromkeys(wanted.container_ids)
        index = self._store.index
        live = index.live() if wanted.project_id is None else index.live_in_project(wanted.project_id)
        # A stopped container with a pending start is not live yet. The index of pending operations does not contain
        # projects: containers of other projects are skipped after they have been read.
        return dict.fromkeys([*live, *index.pending()])

    def _stop(self, container_id: str, wanted: StopInput, scheduled_at: datetime, request_id: str) -> str:
        request = OperationRequest(
            container_id=container_id,
            operation=Operation.STOP,
            actor=None,
            request_id=request_id,
            triggered_by=Trigger.SCHEDULE,
            rule=wanted.rule,
            requested_at=scheduled_at,
        )
        try:
            container = self._store.container(container_id)
            effect = _effect_without_stop(container, wanted.project_id, scheduled_at)
            if container is None or effect is not None:
                return effect or "skipped"
            self._operations.run(container, request, wait=_NO_WAIT)
        except LaterRequestError:
            return "skipped"
        except StateConflictError as conflict:
            return _effect_of_conflict(conflict.data)
        except ExternalServiceError:
            # The stop may be pending. In that case a repeat skips the container, and the recovery sweep completes it.
            return "failed"
        except UnreadableItemError as error:
            self._on_failure(container_id, error)
            return "skipped"
        except LongshoreError:
            return "skipped"
        return "stopped"


class Continuation:
    """Passes the remaining containers of a run to another invocation of the function."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def hand_on(self, container_ids: list[str], wanted: StopInput) -> None:
        """Invoke the function asynchronously for the remaining containers of a run.

        The new events keep the run's scheduled time, project and rule. If the reply is lost, the same containers may be
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


def _effect_without_stop(container: Container | None, project_id: str | None, scheduled_at: datetime) -> str | None:
    """Decide whether a container can be left as it is.

    Returns:
        `skipped` if there is nothing to stop, `failed` if a later try must check again, None if the container must be
        stopped.
    """
    if container is None or (project_id is not None and container.project_id != project_id):
        return "skipped"
    pending = container.operation
    requested_at = container.requested_at or (pending.started_at if pending else None)
    if requested_at is not None and requested_at >= scheduled_at:
        return "skipped"
    if pending is not None:
        # Any other pending operation may leave the container running, for example a start of a stopped container.
        return "skipped" if pending.operation in _STOPS else "failed"
    return None if container.is_live else "skipped"


def _effect_of_conflict(data: Mapping[str, Any]) -> str:
    """Return the effect of a stop that was refused. `data` is the state of the container that caused the conflict."""
    pending = data.get("pending_operation")
    if pending is not None:
        return "skipped" if pending["operation"] in _STOPS else "failed"
    return "failed" if data["status"] in LIVE else "skipped"
