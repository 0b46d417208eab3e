"""The rows of a history as they come."""

import time
from collections.abc import Callable, Iterator

from longshore_client.client import Longshore
from longshore_client.errors import LongshoreError
from longshore_client.models import StatusLog
from longshore_client.retries import is_transient

_POLL = 1.0  # seconds
_SLOWEST = 15.0


def follow(client: Longshore, container_id: str, last: int, note: Callable[[str], None]) -> Iterator[list[StatusLog]]:
    """The last so many rows, oldest first, and then each new one, for ever. Yields what has come, once it has.

    Rows are only ever added, so in ascending order a row's place never changes: the row after the n-th is page n+1 of
    one row each. While there is none, the API answers without reading any. What may pass is waited out, with a note.
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
                note(f"{error}; still trying")
            pause = min(pause * 2, _SLOWEST)
            time.sleep(pause)
            continue
        pause = _POLL
        seen += len(page.logs)
        if page.logs:
            yield list(page.logs)
        if seen >= page.total:
            time.sleep(_POLL)
