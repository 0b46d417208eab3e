"""Scheduled stops: what an EventBridge rule asks for, and the batch that does it."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ConfigDict, Field, model_validator

from longshore.errors import ExternalServiceError, LongshoreError, StateConflictError
from longshore.lifecycle import Operation, Status
from longshore.models import Container, OperationRequest, Trigger
from longshore.operations import Operations
from longshore.store import Store
from longshore.sweeps import Spread

if TYPE_CHECKING:
    from types_boto3_lambda import LambdaClient

_NO_WAIT = timedelta()
_THAW = timedelta(seconds=5)  # a paused container has to be thawed before it can be told to stop
_HANDED_ON_AT_ONCE = 5000  # ids of 27 bytes each in an event of 256 KB at most

ContainerId = Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]


class StopInput(BaseModel):
    """The rule's constant input: which containers, in one of three ways, and the rule's name for the history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project_id: ContainerId | None = None
    container_ids: list[ContainerId] | None = None
    all: bool = False
    rule: str | None = Field(default=None, max_length=64)

    @model_validator(mode="after")
    def _one_way(self) -> "StopInput":
        if (self.project_id is not None) + (self.container_ids is not None) + self.all != 1:
            raise ValueError("exactly one of project_id, container_ids and all (true) has to be given")
        return self


class StopResult(BaseModel):
    """What became of a batch. `left` are the ids that time did not suffice for."""

    stopped: int = 0  # the stop has begun, or is complete
    skipped: int = 0  # nothing was running
    failed: list[str] = []
    left: list[str] = []

    @property
    def counts(self) -> dict[str, int]:
        return {
            "stopped": self.stopped,
            "skipped": self.skipped,
            "failed": len(self.failed),
            "continued": len(self.left),
        }


class ScheduledStops:
    """Stops what is running, each container by the same operation that a caller would ask for."""

    def __init__(self, store: Store, operations: Operations, spread: Spread) -> None:
        self._store = store
        self._operations = operations
        self._spread = spread

    def run(self, wanted: StopInput, request_id: str, enough_time: Callable[[], bool]) -> StopResult:
        """Begin a stop for each container, without waiting for its end: events and sweeps see to that.

        One failure does not end the batch. Safe to repeat: what is stopping, or has stopped, is skipped. Raises
        ExternalServiceError when the containers cannot be listed.
        """

        def stop(container_id: str) -> str:
            return self._stop(container_id, wanted.rule, request_id) if enough_time() else "left"

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
        if wanted.project_id is not None:
            return self._store.live_in_project(wanted.project_id)
        return self._store.live()

    def _stop(self, container_id: str, rule: str | None, request_id: str) -> str:
        request = OperationRequest(
            container_id=container_id,
            operation=Operation.STOP,
            actor=None,
            request_id=request_id,
            triggered_by=Trigger.SCHEDULE,
            rule=rule,
        )
        try:
            container = self._store.container(container_id)
            if container is None or not _runs(container):
                return "skipped"
            wait = _THAW if container.status is Status.PAUSED else _NO_WAIT
            self._operations.run(container, request, wait=wait)
        except StateConflictError as conflict:
            # Something else was quicker. What it does may leave the container running.
            return "skipped" if conflict.data["status"] not in ("running", "paused") else "failed"
        except ExternalServiceError:
            # Its stop may be pending all the same; then a repeat skips it, and recovery sees to it.
            return "failed"
        except LongshoreError:
            return "skipped"
        return "stopped"


class Continuation:
    """Hands containers on to the next invocation of a function."""

    def __init__(self, functions: "LambdaClient", function_arn: str) -> None:
        self._functions = functions
        self._function_arn = function_arn

    def hand_on(self, container_ids: list[str], rule: str | None) -> None:
        """Invoke the function once more for these, without waiting. Raises ExternalServiceError.

        When the reply is lost the same containers may be handed on twice, and the second time are skipped.
        """
        for start in range(0, len(container_ids), _HANDED_ON_AT_ONCE):
            rest = StopInput(container_ids=container_ids[start : start + _HANDED_ON_AT_ONCE], rule=rule)
            try:
                self._functions.invoke(
                    FunctionName=self._function_arn,
                    InvocationType="Event",
                    Payload=rest.model_dump_json(exclude_defaults=True),
                )
            except (ClientError, BotoCoreError) as error:
                raise ExternalServiceError("Lambda did not take over the rest of the batch") from error


def _runs(container: Container) -> bool:
    """Whether there is something to stop that nobody is stopping already."""
    return container.is_live and container.pending not in (Operation.STOP, Operation.FORCE_STOP)
