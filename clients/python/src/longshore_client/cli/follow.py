"""Following a history: new rows as they are added."""

import time
from collections.abc import Callable, Iterator

from longshore_client.client import Longshore
from longshore_client.errors import LongshoreError
from longshore_client.models import StatusLog
from longshore_client.retries import is_transient

_POLL = 1.0  # seconds
_SLOWEST = 15.0


def follow(client: Longshore, container_id: str, last: int, note: Callable[[str], None]) -> Iterator[list[StatusLog]]:
    """Yield the latest rows, oldest first, and then each new row, without end.

    Rows are only added, so the position of a row in ascending order never changes: with a page size of 1, the row after
    the n-th row is on page n+1. While it does not exist, the API reads no rows. Transient errors are retried without
    end.

    Args:
        client: The client.
        container_id: The id of the container.
        last: The number of rows to start with.
        note: Called with a message when a transient error occurs.

    Raises:
        LongshoreError: An error that is not transient.
    """
    logs = client.api.containers
    first = logs.get_status_logs(container_id, limit=last)
    seen = first.total
    yield list(reversed(first.logs))
    pause = _POLL
    while True:
        try:
            page = logs.get_status_logs(container_id, sort_order="asc", page=seen + 1, limit=1)
        except LongshoreError as error:
            if not is_transient(error):
                raise
            if pause == _POLL:
                note(f"{error}; retrying")
            pause = min(pause * 2, _SLOWEST)
            time.sleep(pause)
            continue
        pause = _POLL
        seen += len(page.logs)
        if page.logs:
            yield list(page.logs)
        if seen >= page.total:
            time.sleep(_POLL)
