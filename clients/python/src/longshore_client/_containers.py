"""Plans for /containers. Each method of the clients runs one of them."""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Self, Unpack
from uuid import uuid4

from longshore_client._calls import Call, Pause, Plan, Success, fetch, segment, send_once
from longshore_client._changes import operation_body
from longshore_client._filters import LogFilters, log_query
from longshore_client._waiting import Wait
from longshore_client.errors import ExternalServiceError, InternalServerError, InvalidIdFormatError, LongshoreError
from longshore_client.models import (
    Container,
    Operation,
    OperationResult,
    SortBy,
    SortOrder,
    StatusLog,
    StatusLogsPage,
    WaitFor,
)
from longshore_client.retries import Retries

PAGE = 100
"""The maximum number of rows or containers on a page."""

_FIRST_LOOK = 0.5  # seconds
_SLOWEST_LOOK = 5.0
_LONGEST_WAIT = 20  # seconds that one request waits in the API


def get(
    container_id: str, retries: Retries, wait_for: WaitFor | None = None, timeout: int = _LONGEST_WAIT
) -> Plan[Container]:
    """Get the current state of a container. With `wait_for`, the API delays its response until then or the timeout."""
    if wait_for is None:
        call = Call("GET", _path(container_id))
    else:
        query = {"wait_for": wait_for, "timeout": str(timeout)}
        call = Call("GET", _path(container_id), query, waits=timeout)
    success = yield from fetch(call, retries)
    return success.parsed(Container.of)


def update(container_id: str, body: Mapping[str, Any], retries: Retries) -> Plan[Container]:
    """Change a container. Repeating the request has the same effect."""
    success = yield from fetch(Call("PATCH", _path(container_id), body=body), retries)
    return success.parsed(Container.of)


def keep_alive(container_id: str, retries: Retries) -> Plan[Container]:
    """Count the idle timeout of a container anew. Repeating the request is safe."""
    success = yield from fetch(Call("POST", f"{_path(container_id)}/keep-alive"), retries)
    return success.parsed(Container.of)


def status_logs(
    container_id: str, page: int, limit: int, retries: Retries, **filters: Unpack[LogFilters]
) -> Plan[StatusLogsPage]:
    """Get a page of a container's history."""
    query = log_query(**filters) | {"page": str(page), "limit": str(limit)}
    success = yield from fetch(Call("GET", f"{_path(container_id)}/status-logs", query), retries)
    return success.parsed(StatusLogsPage.of)


def manage(
    container_id: str,
    operation: Operation,
    *,
    wait: bool,
    timeout: float,
    idempotency_key: str | None,
    prefer: str | None,
    stop_at: datetime | None,
    retries: Retries,
) -> Plan[OperationResult]:
    """Request an operation, which takes effect once even if the request is retried. With `wait`, wait for its end."""
    key = str(uuid4()) if idempotency_key is None else idempotency_key
    body = operation_body(operation, stop_at)
    try:
        request_ids: set[str] = set()
        path = f"{_path(container_id)}/{segment(operation)}"
        call = Call("POST", path, idempotency_key=key, prefer=prefer, body=body)
        success = yield from _request(container_id, call, request_ids, retries)
        build = partial(
            OperationResult.of,
            request_id=success.request_id,
            idempotency_key=key,
            preference_applied=success.preference_applied,
        )
        result = success.parsed(build)
        if not wait or result.pending_operation is None:
            return result
        return (yield from _wait_for_end(result, request_ids, timeout, retries))
    except LongshoreError as error:
        error.idempotency_key = key
        raise


def wait(accepted: OperationResult, timeout: float, retries: Retries) -> Plan[OperationResult]:
    """Wait for the end of an accepted operation. Return a completed result unchanged."""
    if accepted.pending_operation is None:
        return accepted
    request_ids = set() if accepted.request_id is None else {accepted.request_id}
    try:
        return (yield from _wait_for_end(accepted, request_ids, timeout, retries))
    except LongshoreError as error:
        error.idempotency_key = accepted.idempotency_key
        raise


def preference(*, respond_async: bool, api_wait: int | None) -> str | None:
    """Return the value of the header `Prefer`, or None.

    Args:
        respond_async: Whether the API responds as soon as the operation has been sent to ECS.
        api_wait: The maximum number of seconds that the API waits for the effect.
    """
    wanted = ["respond-async"] if respond_async else []
    if api_wait is not None:
        wanted.append(f"wait={api_wait:d}")
    return ", ".join(wanted) or None


def _request(container_id: str, call: Call, request_ids: set[str], retries: Retries) -> Plan[Success]:
    """Send the request, and retry it on transient errors.

    The Idempotency-Key makes a retry safe if no response arrived or the request was rejected. The API does not store
    server errors for the key, so a retry after a server error runs the operation again. This is correct if nothing has
    happened yet, or if the operation is pending: the retry continues it. But if the operation has ended and the
    container is `failed`, a retry would be a second operation. Therefore the container is read before the retry.

    Args:
        request_ids: The ids of the requests that were answered are added to this set.
    """
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
    """Wait until the operation is no longer pending, and read its outcome from the history.

    Each request waits in the API. If the API responds early although the operation is pending, it does not support
    waiting, and the client waits before the next request.
    """
    waiting = Wait(accepted, frozenset(request_ids))
    end = time.monotonic() + timeout
    pause = _FIRST_LOOK
    while True:
        asked_at = time.monotonic()
        seconds = min(_LONGEST_WAIT, int(end - asked_at))
        if seconds >= 1:
            container = yield from get(accepted.container_id, retries, "settled", seconds)
        else:
            container = yield from get(accepted.container_id, retries)
        if not waiting.is_pending(container):
            break
        now = time.monotonic()
        if now >= end:
            raise waiting.timed_out(container, timeout)
        if seconds < 1 or now - asked_at < seconds / 2:
            yield Pause(min(pause, end - now))
            pause = min(pause * 1.5, _SLOWEST_LOOK)
    walk = Walk("transition_time", "desc")
    rows: list[StatusLog] = []
    while not walk.done and not (rows and waiting.is_before(rows[-1])):
        page = yield from status_logs(accepted.container_id, walk.page, PAGE, retries)
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

    @classmethod
    def of(cls, filters: LogFilters) -> Self:
        """Return an iteration in the order of the filters."""
        return cls(filters.get("sort_by", "transition_time"), filters.get("sort_order", "desc"))

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
