"""Iteration over the pages of a growing history, in every order. No I/O."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from longshore_client._containers import Walk
from longshore_client.models import SortBy, SortOrder, StatusLogsPage

LIMIT = 10
STATUSES = ["stopped", "running", "paused", "failed"]
ORDERS = [(by, order) for by in get_args(SortBy) for order in get_args(SortOrder)]


class History:
    """A history with pages, as the API returns them."""

    def __init__(self, chance: random.Random) -> None:
        self.rows: list[dict[str, Any]] = []
        self._chance = chance

    def grow(self, rows: int) -> None:
        for _ in range(rows):
            number = len(self.rows)
            # As in the API, transition times strictly increase, and creation times may be equal.
            at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
            self.rows.append(
                {
                    "id": f"{number:024x}",
                    "container_id": "c" * 24,
                    "from_status": self.rows[-1]["to_status"] if self.rows else None,
                    "to_status": self._chance.choice(STATUSES),
                    "transition_time": text(at),
                    "created_at": text(at.replace(second=at.second // 3 * 3)),
                    "duration_ms": None,
                    "triggered_by": "user",
                    "metadata": None,
                }
            )

    def sorted(self, by: SortBy, order: SortOrder) -> list[dict[str, Any]]:
        place = [(row[by] or "", number) for number, row in enumerate(self.rows)]
        return [self.rows[number] for _, number in sorted(place, reverse=order == "desc")]

    def page(self, by: SortBy, order: SortOrder, page: int) -> StatusLogsPage:
        rows = self.sorted(by, order)
        pagination = {"total": len(rows), "page": page, "limit": LIMIT, "totalPages": -(-len(rows) // LIMIT)}
        return StatusLogsPage.of({"logs": rows[(page - 1) * LIMIT :][:LIMIT], "pagination": pagination})


def text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(("by", "order"), ORDERS)
@pytest.mark.parametrize("seed", range(20))
def test_a_history_that_grows(by: SortBy, order: SortOrder, seed: int) -> None:
    chance = random.Random(seed)
    history = History(chance)
    history.grow(chance.choice([0, 1, LIMIT, 5 * LIMIT - 1, 5 * LIMIT, 5 * LIMIT + 1]))
    old = {row["id"] for row in history.rows}
    walk = Walk(by, order)
    seen = []
    while not walk.done:
        seen += [row.id for row in walk.take(history.page(by, order, walk.page))]
        # Sometimes more than a page is added, but the history stops growing so that the iteration ends.
        history.grow(chance.choice([0, 0, 1, 3, LIMIT + 2]) if len(history.rows) < 200 else 0)
    assert len(set(seen)) == len(seen)
    assert old <= set(seen)
    now = [row["id"] for row in history.sorted(by, order)]
    assert seen == [identity for identity in now if identity in set(seen)]
    if by in ("transition_time", "created_at") and order == "desc":
        assert set(seen) == old


@pytest.mark.parametrize(("by", "order"), ORDERS)
@pytest.mark.parametrize("rows", [0, 1, LIMIT, 2 * LIMIT, 2 * LIMIT + 1])
def test_no_unnecessary_page_is_read(by: SortBy, order: SortOrder, rows: int) -> None:
    history = History(random.Random(0))
    history.grow(rows)
    walk = Walk(by, order)
    pages = 0
    while not walk.done:
        pages += 1
        list(walk.take(history.page(by, order, walk.page)))
    assert pages == max(1, -(-rows // LIMIT))
