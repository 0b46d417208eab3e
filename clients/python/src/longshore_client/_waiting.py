"""What became of an operation that was accepted, as container and history tell it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from longshore_client.errors import OperationFailedError, WaitTimeoutError
from longshore_client.models import Container, Operation, OperationResult, PendingOperation, Status, StatusLog, time_of

GOAL: dict[Operation, Status] = {
    "start": "running",
    "stop": "stopped",
    "force-stop": "stopped",
    "restart": "running",
    "pause": "paused",
    "resume": "running",
}
"""The status that an operation ends in."""

_DONE: dict[Operation, str] = {
    "start": "started",
    "stop": "stopped",
    "force-stop": "force-stopped",
    "restart": "restarted",
    "pause": "paused",
    "resume": "resumed",
}

_MILLISECOND = timedelta(milliseconds=1)
# A row is written after its operation began, by another machine's clock.
_SKEW = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Wait:
    """Waits for the operation of a 202. `request_ids` are of all the requests for it that were answered."""

    accepted: OperationResult
    request_ids: frozenset[str]

    @property
    def _pending(self) -> PendingOperation:
        assert self.accepted.pending_operation is not None
        return self.accepted.pending_operation

    def is_pending(self, container: Container) -> bool:
        """Whether the operation is still under way. Another one may be, which is not waited for."""
        now, own = container.pending_operation, self._pending
        return now is not None and (now.operation, now.started_at) == (own.operation, own.started_at)

    def is_before(self, row: StatusLog) -> bool:
        """Whether the row was written before the operation began."""
        return row.created_at < self._pending.started_at - _SKEW

    def timed_out(self, container: Container, seconds: float) -> WaitTimeoutError:
        return WaitTimeoutError(self.accepted.operation, container, seconds, self.accepted.request_id)

    def result(self, container: Container, newest_first: Sequence[StatusLog]) -> OperationResult:
        """The completed result, from the container and its rows since the operation began. OperationFailedError.

        An operation's rows name its id and the request that began it. When that request's reply was lost its id is not
        known, and the rows are those that this operation began at the very time that the 202 gave.
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
        is_replaced = pending is not None and pending.operation == "force-stop"
        if is_replaced or any(row.metadata.get("superseded") == self.accepted.operation for row in rows):
            return "a force-stop took its place"
        since = [row for row in rows if row.created_at >= self._pending.started_at]
        told = [str(row.metadata["reason"]) for row in since if "reason" in row.metadata]
        return told[-1] if told else f"it ended without an effect, and the container is {container.status}"

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
    """When the change was observed: a row whose time had to be moved after the row before it keeps that apart."""
    observed = row.metadata.get("observed_at")
    return time_of(observed) if isinstance(observed, str) else row.transition_time
