"""Plans for /containers. Each method of the clients runs one of them."""

import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from uuid import uuid4

from longshore_client._calls import Call, Pause, Plan, Success, fetch, segment, send_once
from longshore_client._waiting import Wait
from longshore_client.errors import ExternalServiceError, InternalServerError, InvalidIdFormatError, LongshoreError
from longshore_client.models import Container, Operation, OperationResult, SortBy, SortOrder, StatusLog, StatusLogsPage
from longshore_client.retries import Retries

PAGE = 100
"""The maximum number of rows on a page."""

_FIRST_LOOK = 0.5  # seconds
_SLOWEST_LOOK = 5.0


def get(container_id: str, retries: Retries) -> Plan[Container]:
    """Get the current state of a container."""
    success = yield from fetch(Call("GET", _path(container_id)), retries)
    return success.parsed(Container.of)


def status_logs(
    container_id: str, sort_by: SortBy, sort_order: SortOrder, page: int, limit: int, retries: Retries
) -> Plan[StatusLogsPage]:
    """Get a page of a container's history."""
    query = {"sort_by": sort_by, "sort_order": sort_order, "page": str(page), "limit": str(limit)}
    success = yield from fetch(Call("GET", f"{_path(container_id)}/status-logs", query), retries)
    return success.parsed(StatusLogsPage.of)


def manage(
    container_id: str,
    operation: Operation,
    *,
    wait: bool,
    timeout: float,
    idempotency_key: str | None,
    retries: Retries,
) -> Plan[OperationResult]:
    """Request an operation, which takes effect once even if the request is retried. With `wait`, wait for its end."""
    key = str(uuid4()) if idempotency_key is None else idempotency_key
    try:
        request_ids: set[str] = set()
        success = yield from _request(container_id, operation, key, request_ids, retries)
        result = success.parsed(partial(OperationResult.of, request_id=success.request_id, idempotency_key=key))
        if not wait or result.pending_operation is None:
            return result
        return (yield from _wait_for_end(result, request_ids, timeout, retries))
    except LongshoreError as error:
        error.idempotency_key = key
        raise


def _request(
    container_id: str, operation: Operation, key: str, request_ids: set[str], retries: Retries
) -> Plan[Success]:
    """Send the request, and retry it on transient errors.

    The Idempotency-Key makes a retry safe if no response arrived or the request was rejected. The API does not store
    server errors for the key, so a retry after a server error runs the operation again. This is correct if nothing has
    happened yet, or if the operation is pending: the retry continues it. But if the operation has ended and the
    container is `failed`, a retry would be a second operation. Therefore the container is read before the retry.

    Args:
        request_ids: The ids of the requests that were answered are added to this set.
    """
    call = Call("POST", f"{_path(container_id)}/{segment(operation)}", idempotency_key=key)
    attempts = 0
    while True:
        attempts += 1
        outcome = yield from send_once(call)
        request_id = getattr(outcome, "request_id", None)
        if request_id is not None:
            request_ids.add(request_id)
        if isinstance(outcome, Success):
            return outcome
        pause = retries.delay(attempts, outcome)
        if pause is None:
            raise outcome
        yield Pause(pause)
        if isinstance(outcome, ExternalServiceError | InternalServerError):
            yield from _raise_if_failed(container_id, outcome, retries)


def _raise_if_failed(container_id: str, outcome: LongshoreError, retries: Retries) -> Plan[None]:
    try:
        container = yield from get(container_id, retries)
    except LongshoreError:
        # The outcome of the operation is unknown. Its own error is more useful than the error of this read.
        raise outcome from None
    if container.pending_operation is None and container.status == "failed":
        raise outcome


def _wait_for_end(
    accepted: OperationResult, request_ids: set[str], timeout: float, retries: Retries
) -> Plan[OperationResult]:
    """Poll the container until the operation is no longer pending, and read its outcome from the history."""
    waiting = Wait(accepted, frozenset(request_ids))
    end = time.monotonic() + timeout
    pause = _FIRST_LOOK
    while True:
        container = yield from get(accepted.container_id, retries)
        if not waiting.is_pending(container):
            break
        left = end - time.monotonic()
        if left <= 0:
            raise waiting.timed_out(container, timeout)
        yield Pause(min(pause, left))
        pause = min(pause * 1.5, _SLOWEST_LOOK)
    walk = Walk("transition_time", "desc")
    rows: list[StatusLog] = []
    while not walk.done and not (rows and waiting.is_before(rows[-1])):
        page = yield from status_logs(accepted.container_id, "transition_time", "desc", walk.page, PAGE, retries)
        rows.extend(walk.take(page))
    return waiting.result(container, rows)


class Walk:
    """Iterates over the pages of a history that may grow, and returns each row once.

    Rows are never changed or removed, so new rows only move other rows to later pages. The next page may repeat rows of
    the previous page, but no row is skipped. All rows of a container have different transition times, so the position
    of the last row in the sort order identifies the rows that were already returned.
    """

    def __init__(self, sort_by: SortBy, sort_order: SortOrder) -> None:
        self.page = 1
        self.done = False
        self._sort_by = sort_by
        self._descending = sort_order == "desc"
        self._last: tuple[str, datetime, datetime] | None = None

    def take(self, page: StatusLogsPage) -> Iterator[StatusLog]:
        """Return the rows of the page that were not on earlier pages."""
        self.page += 1
        self.done = self.page > page.total_pages
        rows = [row for row in page.logs if self._is_new(row)]
        if rows:
            self._last = self._position(rows[-1])
        return iter(rows)

    def _is_new(self, row: StatusLog) -> bool:
        if self._last is None:
            return True
        position = self._position(row)
        return position < self._last if self._descending else position > self._last

    def _position(self, row: StatusLog) -> tuple[str, datetime, datetime]:
        """Return the sort key of a row: a status (a null status is first) or a time, then the transition time."""
        match self._sort_by:
            case "to_status":
                return row.to_status, row.transition_time, row.transition_time
            case "from_status":
                return row.from_status or "", row.transition_time, row.transition_time
            case "created_at":
                return "", row.created_at, row.transition_time
            case _:
                return "", row.transition_time, row.transition_time


def _path(container_id: str) -> str:
    if not container_id:
        # An empty id would result in a different path and an unrelated error.
        raise InvalidIdFormatError("INVALID_ID_FORMAT", 400, "Invalid ID format")
    return f"/containers/{segment(container_id)}"
