"""The plans of /containers: each method of the clients is one of these."""

import time
from collections.abc import Iterator
from functools import partial
from uuid import uuid4

from longshore_client._calls import Call, Pause, Plan, Success, fetch, segment, send_once
from longshore_client._waiting import Wait
from longshore_client.errors import ExternalServiceError, InternalServerError, InvalidIdFormatError, LongshoreError
from longshore_client.models import Container, Operation, OperationResult, SortBy, SortOrder, StatusLog, StatusLogsPage
from longshore_client.retries import Retries

PAGE = 100
"""The most rows that the API puts on a page."""

_FIRST_LOOK = 0.5  # seconds
_SLOWEST_LOOK = 5.0


def get(container_id: str, retries: Retries) -> Plan[Container]:
    """The container as it is now."""
    answer = yield from fetch(Call("GET", _path(container_id)), retries)
    return answer.parsed(Container.of)


def status_logs(
    container_id: str, sort_by: SortBy, sort_order: SortOrder, page: int, limit: int, retries: Retries
) -> Plan[StatusLogsPage]:
    """One page of the history."""
    query = {"sort_by": sort_by, "sort_order": sort_order, "page": str(page), "limit": str(limit)}
    answer = yield from fetch(Call("GET", f"{_path(container_id)}/status-logs", query), retries)
    return answer.parsed(StatusLogsPage.of)


def manage(
    container_id: str,
    operation: Operation,
    *,
    wait: bool,
    timeout: float,
    idempotency_key: str | None,
    retries: Retries,
) -> Plan[OperationResult]:
    """Ask for an operation, once in effect however often it has to be asked; with `wait`, see it to its end."""
    key = str(uuid4()) if idempotency_key is None else idempotency_key
    try:
        request_ids: set[str] = set()
        answer = yield from _ask(container_id, operation, key, request_ids, retries)
        result = answer.parsed(partial(OperationResult.of, request_id=answer.request_id, idempotency_key=key))
        if not wait or result.pending_operation is None:
            return result
        return (yield from _see_to_its_end(result, request_ids, timeout, retries))
    except LongshoreError as error:
        error.idempotency_key = key
        raise


def _ask(container_id: str, operation: Operation, key: str, request_ids: set[str], retries: Retries) -> Plan[Success]:
    """Send the request until an answer comes that no repeat would change. Collects the ids of the answered ones.

    The key makes a repeat safe whenever no answer came, and whenever the request was turned away. But an error of the
    API's own is not kept for the key: a repeat tries again. That is what is wanted while nothing has been done, or
    while the operation is pending, which the repeat drives on. It may also have ended, with the container `failed`,
    and then a repeat would be a second one. So the container is looked at first.
    """
    call = Call("POST", f"{_path(container_id)}/{segment(operation)}", idempotency_key=key)
    tries = 0
    while True:
        tries += 1
        outcome = yield from send_once(call)
        request_id = getattr(outcome, "request_id", None)
        if request_id is not None:
            request_ids.add(request_id)
        if isinstance(outcome, Success):
            return outcome
        pause = retries.delay(tries, outcome)
        if pause is None:
            raise outcome
        yield Pause(pause)
        if isinstance(outcome, ExternalServiceError | InternalServerError):
            yield from _raise_if_it_has_failed(container_id, outcome, retries)


def _raise_if_it_has_failed(container_id: str, outcome: LongshoreError, retries: Retries) -> Plan[None]:
    try:
        container = yield from get(container_id, retries)
    except LongshoreError:
        # What became of the operation is not known, and its own error says more than this one.
        raise outcome from None
    if container.pending_operation is None and container.status == "failed":
        raise outcome


def _see_to_its_end(
    accepted: OperationResult, request_ids: set[str], timeout: float, retries: Retries
) -> Plan[OperationResult]:
    """Look at the container until the operation is no longer pending, then in the history for what became of it."""
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
    """Page after page of a history that grows meanwhile, each row once.

    Rows are never changed or removed, so a new row can only push others towards later pages: the next page may begin
    with rows that were on the last, and none is skipped. No two rows of a container have the same transition time, so
    the place of the last row in the order tells which ones were seen, without remembering them.
    """

    def __init__(self, sort_by: SortBy, sort_order: SortOrder) -> None:
        self.page = 1
        self.done = False
        self._sort_by = sort_by
        self._descending = sort_order == "desc"
        self._last: tuple[str, str] | None = None

    def take(self, page: StatusLogsPage) -> Iterator[StatusLog]:
        """The rows of the page that were not there before."""
        self.page += 1
        self.done = self.page > page.total_pages
        rows = [row for row in page.logs if self._is_new(row)]
        if rows:
            self._last = self._place(rows[-1])
        return iter(rows)

    def _is_new(self, row: StatusLog) -> bool:
        if self._last is None:
            return True
        place = self._place(row)
        return place < self._last if self._descending else place > self._last

    def _place(self, row: StatusLog) -> tuple[str, str]:
        # The API's texts of times and statuses sort as it sorts the rows; a null status comes first.
        return row.raw[self._sort_by] or "", row.raw["transition_time"]


def _path(container_id: str) -> str:
    if not container_id:
        # It would make another path, whose error says nothing of ids.
        raise InvalidIdFormatError("INVALID_ID_FORMAT", 400, "Invalid ID format")
    return f"/containers/{segment(container_id)}"
