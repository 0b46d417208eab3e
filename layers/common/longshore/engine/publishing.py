"""Publishing of new history rows as events.

Lambda passes the records of a stream in order, and repeats them from the first one that the function reports as failed:

    records        a1  b1  a2  c1  b2        (a, b, c: containers; 1, 2: their rows)
    calls         [a1  b1][a2  c1  b2]       at most one row per container in a call of PutEvents
    c1 fails                   ^             reported; c1 and b2 are repeated, so b2 is published twice

A row is therefore published before all later rows of its container, and at least once: a crash, or a lost reply,
repeats rows, with the same ids.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple

from longshore.aws.bus import LARGEST_CALL, MOST_ENTRIES, Event, EventBus
from longshore.aws.listing import ContainerListing
from longshore.aws.stream import Record, UndeliveredQueue
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError, LongshoreError, UnreadableItemError
from longshore.domain.models import Container

RETRIED_FOR = timedelta(hours=12)
"""How long a row is retried before it goes to the queue. Records leave the stream after 24 hours."""

_TRIES = 3
_PAUSE = 0.2  # seconds; doubled after each try


class Effect(StrEnum):
    """What happened to a row."""

    PUBLISHED = "published"
    FAILED = "failed"  # it is retried, and so are all rows after it
    UNDELIVERED = "undelivered"  # it was sent to the queue after RETRIED_FOR
    UNPUBLISHABLE = "unpublishable"  # it was sent to the queue, because it cannot be read or EventBridge refuses it


class Publication(NamedTuple):
    """The result of a batch.

    Attributes:
        counts: The number of rows by effect.
        failed: The sequence number of the first record to retry; None if there is none.
    """

    counts: Mapping[str, int]
    failed: str | None


@dataclass
class _Row:
    """A record on its way to the bus.

    Attributes:
        record: The record.
        event: Its event; None if it could not be created.
        problem: Why the event was not accepted yet.
        permanent: Whether a repetition cannot succeed.
        published: Whether EventBridge has accepted the event.
    """

    record: Record
    event: Event | None = None
    problem: LongshoreError | None = None
    permanent: bool = False
    published: bool = False

    @property
    def size(self) -> int:
        return self.event.size if self.event is not None and not self.permanent else 0


class Publisher:
    """Publishes the records of a stream.

    Args:
        containers: Reads the names and labels of containers.
        bus: The bus.
        queue: Receives records that cannot be published.
        clock: The clock.
        enough_time: Returns whether there is time for another call.
        on_failure: Is called with the name of a row that was not published, and the reason.
    """

    def __init__(
        self,
        containers: ContainerListing,
        bus: EventBus,
        queue: UndeliveredQueue,
        clock: Clock,
        enough_time: Callable[[], bool],
        on_failure: Callable[[str, LongshoreError], None],
    ) -> None:
        self._containers = containers
        self._bus = bus
        self._queue = queue
        self._clock = clock
        self._enough_time = enough_time
        self._on_failure = on_failure

    def publish(self, records: Sequence[Record]) -> Publication:
        """Publish up to 100 records in order, and stop at the first one that has to be retried.

        Records older than RETRIED_FOR are tried once more before they go to the queue. Therefore records from the queue
        can be published again.
        """
        counts: Counter[str] = Counter()
        for call in _calls(self._rows(records)):
            failed = self._publish(call, counts) if self._enough_time() else call[0]
            if failed is not None:
                counts[Effect.FAILED] += 1
                return Publication(counts, failed.record.sequence_number)
        return Publication(counts, None)

    def _rows(self, records: Sequence[Record]) -> list[_Row]:
        """Create the events of the records. If DynamoDB fails, none of them has an event."""
        try:
            known = self._containers.containers({record.container_id for record in records if record.container_id})
        except ExternalServiceError as error:
            return [_Row(record, problem=error) for record in records]
        return [self._row(record, known.get(record.container_id)) for record in records]

    def _row(self, record: Record, container: Container | None) -> _Row:
        try:
            event = self._bus.event(record.change(container))
        except UnreadableItemError as error:
            return _Row(record, problem=error, permanent=True)
        if event.size > LARGEST_CALL:
            return _Row(
                record, event, ExternalServiceError("The event is larger than EventBridge accepts"), permanent=True
            )
        return _Row(record, event)

    def _publish(self, call: Sequence[_Row], counts: Counter[str]) -> _Row | None:
        """Publish the rows of a call, and repeat the call for those that are refused.

        Returns:
            The first row that has to be retried; None if there is none.
        """
        for attempt in range(_TRIES):
            left = [row for row in call if row.event is not None and not row.published and not row.permanent]
            if not left or (attempt and not self._enough_time()):
                break
            if attempt:
                self._clock.sleep(_PAUSE * 2 ** (attempt - 1))
            self._put(left)
        counts[Effect.PUBLISHED] += sum(row.published for row in call)
        for row in call:
            if not row.published and not self._give_up(row, counts):
                return row
        return None

    def _put(self, rows: Sequence[_Row]) -> None:
        try:
            results = self._bus.put([row.event for row in rows if row.event is not None])
        except ExternalServiceError as error:
            for row in rows:
                row.problem = error
            return
        for row, rejection in zip(rows, results, strict=True):
            row.published = rejection is None
            if rejection is not None:
                row.problem = ExternalServiceError(f"EventBridge refused the event: {rejection.code}")
                row.permanent = rejection.permanent

    def _give_up(self, row: _Row, counts: Counter[str]) -> bool:
        """Send a row that was not published to the queue. Returns False if it has to be retried."""
        if row.problem is not None:
            self._on_failure(row.record.name, row.problem)
        if not row.permanent and self._clock.now() - row.record.created_at < RETRIED_FOR:
            return False
        try:
            self._queue.send(row.record)
        except ExternalServiceError as error:
            self._on_failure(row.record.name, error)
            return False
        counts[Effect.UNPUBLISHABLE if row.permanent else Effect.UNDELIVERED] += 1
        return True


def _calls(rows: Sequence[_Row]) -> Iterator[list[_Row]]:
    """Yield the rows in order, those of one call of PutEvents at a time: at most one row of each container."""
    call: list[_Row] = []
    for row in rows:
        full = len(call) == MOST_ENTRIES or sum(each.size for each in call) + row.size > LARGEST_CALL
        if call and (full or row.record.container_id in {each.record.container_id for each in call}):
            yield call
            call = []
        call.append(row)
    if call:
        yield call
