"""The outcome of an accepted operation, determined from the container and its history. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from longshore_client._parsing import time_of
from longshore_client.errors import OperationFailedError, WaitTimeoutError
from longshore_client.models import Container, Operation, OperationResult, PendingOperation, Status, StatusLog

GOAL: dict[Operation, Status] = {
    "start": "running",
    "stop": "stopped",
    "force-stop": "stopped",
    "restart": "running",
    "pause": "paused",
    "resume": "running",
}
"""The status after each operation has succeeded."""

_DONE: dict[Operation, str] = {
    "start": "started",
    "stop": "stopped",
    "force-stop": "force-stopped",
    "restart": "restarted",
    "pause": "paused",
    "resume": "resumed",
}

_MILLISECOND = timedelta(milliseconds=1)
# Rows are written after their operation has started, but possibly by a machine with a slower clock.
_SKEW = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Wait:
    """Finds the outcome of an operation that was accepted with a 202.

    Attributes:
        accepted: The result in the 202.
        request_ids: The ids of all answered requests for the operation.
    """

    accepted: OperationResult
    request_ids: frozenset[str]

    @property
    def _pending(self) -> PendingOperation:
        assert self.accepted.pending_operation is not None
        return self.accepted.pending_operation

    def is_pending(self, container: Container) -> bool:
        """Return whether this operation is still pending. Other pending operations are ignored."""
        pending, own = container.pending_operation, self._pending
        return pending is not None and (pending.operation, pending.started_at) == (own.operation, own.started_at)

    def is_before(self, row: StatusLog) -> bool:
        """Return whether the row was written before the operation started."""
        return row.created_at < self._pending.started_at - _SKEW

    def timed_out(self, container: Container, seconds: float) -> WaitTimeoutError:
        """Return the error for an operation that is still pending after the timeout."""
        return WaitTimeoutError(self.accepted.operation, container, seconds, self.accepted.request_id)

    def result(self, container: Container, newest_first: Sequence[StatusLog]) -> OperationResult:
        """Return the completed result.

        The rows of an operation contain its id and the id of the request that started it. If the response to that
        request was lost, its id is unknown. In this case the rows are identified by the start time in the 202.

        Args:
            container: The container after the operation has ended.
            newest_first: The container's rows since the operation started, in descending order of time.

        Raises:
            OperationFailedError: The operation ended without its effect.
        """
        rows = [row for row in reversed(newest_first) if not self.is_before(row)]
        operation_ids = {row.metadata.get("operation_id") for row in rows if self._is_its_own(row)} - {None}
        own = [row for row in rows if row.metadata.get("operation_id") in operation_ids]
        accepted = self.accepted
        if own and own[-1].to_status == GOAL[accepted.operation]:
            return self._completed(own[-1].to_status)
        reason = self._reason(container, rows, own)
        raise OperationFailedError(accepted.operation, reason, container, rows, accepted.request_id)

    def _is_its_own(self, row: StatusLog) -> bool:
        if row.metadata.get("request_id") in self.request_ids:
            return True
        if row.metadata.get("command") != self.accepted.operation or row.duration_ms is None:
            return False
        took = max(timedelta(0), _observed_at(row) - self._pending.started_at)
        return abs(took - row.duration_ms * _MILLISECOND) <= 2 * _MILLISECOND

    def _reason(self, container: Container, rows: Sequence[StatusLog], own: Sequence[StatusLog]) -> str:
        if own and own[-1].to_status == "failed":
            return str(own[-1].metadata.get("reason") or "the container has failed")
        pending = container.pending_operation
        is_superseded = pending is not None and pending.operation == "force-stop"
        if is_superseded or any(row.metadata.get("superseded") == self.accepted.operation for row in rows):
            return "superseded by a force-stop"
        since = [row for row in rows if row.created_at >= self._pending.started_at]
        reasons = [str(row.metadata["reason"]) for row in since if "reason" in row.metadata]
        return reasons[-1] if reasons else f"the operation had no effect, and the container is {container.status}"

    def _completed(self, status: Status) -> OperationResult:
        message = f"Container {_DONE[self.accepted.operation]} successfully"
        raw = {name: value for name, value in self.accepted.raw.items() if name != "pending_operation"}
        return replace(
            self.accepted,
            message=message,
            status=status,
            pending_operation=None,
            raw=raw | {"message": message, "status": status},
        )


def _observed_at(row: StatusLog) -> datetime:
    """Return the time of the observation. It is in the metadata if it is not later than the previous row's time."""
    observed = row.metadata.get("observed_at")
    return time_of(observed) if isinstance(observed, str) else row.transition_time
