"""Random histories, and pages of them in memory."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from longshore.aws.history_pages import shown
from longshore.aws.items import log_item
from longshore.domain.clock import to_text
from longshore.domain.history import Entry, append
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pages import Span
from longshore.domain.pending import Trigger
from longshore.domain.ranges import NO_ROWS, Counts, Edge
from longshore.domain.roles import Role

START = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)


def random_history(seed: int, rows: int) -> tuple[Container, list[Entry]]:
    """Return a container with this number of changes, and its rows. Clocks jump, and times are close together."""
    choose = random.Random(seed)
    container = Container(
        id="507f1f77bcf86cd799439011",
        project_id="507f1f77bcf86cd799439033",
        name="demo",
        status=choose.choice(list(Status)),
        status_since=START,
        runtime=Runtime(cluster="default", task_definition="web", launch_type=LaunchType.EC2),
        created_at=START,
        updated_at=START,
    )
    statuses = choose.sample(list(Status), choose.randint(1, len(Status)))
    entries: list[Entry] = []
    moment = START
    for number in range(rows):
        moment += timedelta(milliseconds=choose.choice([-2, 0, 1, 2, 3, 10]))
        status = choose.choice(statuses)
        change = Change(to_status=status, observed_at=moment, triggered_by=Trigger.USER)
        container, entry = append(container, change, f"{number:024x}", moment)
        entries.append(entry)
    return container, entries


class Read(NamedTuple):
    """The counters and the retention of a container, as its item holds them."""

    id: str
    project_id: str
    log_count: int
    to_counts: dict[str, int]
    from_counts: dict[str, int]
    retention: int | None = None
    hidden: Counts = NO_ROWS


class PagesInMemory:
    """The reads of `HistoryPages` on entries in memory.

    Args:
        container: The container when its counters are read.
        entries: Its rows. There may be newer rows than the counters say.
        deleted: The numbers of the rows that DynamoDB has deleted.
        hidden: The counters that are stored with the floor of the container.
    """

    def __init__(
        self,
        container: Container,
        entries: list[Entry],
        deleted: frozenset[int] = frozenset(),
        hidden: Counts = NO_ROWS,
    ) -> None:
        self._container = container
        self._entries = [entry for entry in entries if entry.seq not in deleted]
        self._hidden = hidden
        self.edges = 0
        self.queries = 0

    def counters(self, _: str) -> Read:
        whole = self._container
        counts = (whole.log_count, whole.to_counts, whole.from_counts)
        return Read(whole.id, whole.project_id, *counts, whole.history_retention, self._hidden)

    def first_row(self, _: str, since: str) -> Edge | None:
        self.edges += 1
        found = [entry for entry in self._entries if to_text(entry.log.transition_time) >= since]
        return edge(found[0]) if found else None

    def last_row(self, _: str, until: str) -> Edge | None:
        self.edges += 1
        found = [entry for entry in self._entries if to_text(entry.log.transition_time) <= until]
        return edge(found[-1]) if found else None

    def page(self, _: str, where: Span, newest: int) -> list[dict[str, Any]]:
        self.queries += 1
        found = [entry for entry in self._entries if where.low <= getattr(entry, where.attribute) <= where.high]
        found.sort(key=lambda entry: getattr(entry, where.attribute), reverse=not where.ascending)
        return [row(entry) for entry in found if entry.seq <= newest]


class Stopped:
    """A clock that stands still."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def sleep(self, _: float) -> None:
        raise AssertionError


class EverybodyReads:
    """An access table that admits every user."""

    def grants(self, _: str) -> None:
        return None

    def admit(self, _: None, container: Any, *, needs: Role) -> Any:
        assert needs is Role.VIEWER
        return container


def edge(entry: Entry) -> Edge:
    return Edge(entry.counts, entry.log.to_status, entry.log.from_status)


def row(entry: Entry) -> dict[str, Any]:
    """Return an entry as the API shows it."""
    return shown(log_item(entry._replace(counts=entry.counts or NOTHING)))


NOTHING: Any = type("Nothing", (), {"to_counts": {}, "from_counts": {}})
