"""Checks of a container's history and of the pages read from it."""

from collections import Counter
from itertools import groupby, pairwise
from typing import Any

from longshore.domain.pages import StatusLogsQuery
from longshore.domain.views import StatusLogsPage

from simulation.records import LIVE, Violation


def check_page(query: StatusLogsQuery, page: StatusLogsPage) -> None:
    """Raise Violation unless a page is in order and has the number of rows that its total implies."""
    total, logs = page.pagination.total, page.logs
    expected = max(0, min(query.limit, total - (query.page - 1) * query.limit))
    if len(logs) != expected:
        raise Violation(f"page {query.page} of {query} has {len(logs)} rows of {expected}, total {total}")
    orders = [(getattr(log, query.sort_by) or "", log.transition_time) for log in logs]
    if orders != sorted(orders, reverse=query.sort_order == "desc"):
        raise Violation(f"page {query.page} of {query} is not in order")


def check_history(container: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Assert that the rows form a chain and that the container's item agrees with them."""
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1)), "the numbers of the rows are not dense"
    assert rows[0].get("from_status") is None, "the first row has a previous status"
    for before, row in pairwise(rows):
        assert row["from_status"] == before["to_status"], f"row {row['seq']} does not follow the row before"
        assert row["transition_time"] > before["transition_time"], f"row {row['seq']} is not later than the row before"
        assert row["created_at"] >= before["created_at"], f"row {row['seq']} was created before the row before"
    assert container["status"] == rows[-1]["to_status"], "the status is not the last row's"
    assert container["status_since"] == rows[-1]["transition_time"], "status_since is not the last row's time"
    assert container["log_count"] == len(rows), "log_count is not the number of rows"
    assert container["to_counts"] == Counter(row["to_status"] for row in rows), "to_counts are wrong"
    assert container["from_counts"] == Counter(row.get("from_status", "none") for row in rows), "from_counts are wrong"
    for kind in ("to", "from"):
        seen: Counter[str] = Counter()
        for row in rows:
            status = row.get(f"{kind}_status", "")
            seen[status] += 1
            assert row[f"{kind}_rank"] == f"{status}#{seen[status]:010d}", f"row {row['seq']} has a wrong {kind}_rank"
    for row in rows:
        seen_rows = rows[: row["seq"]]
        # Version 0.1 writes rows without counters.
        if "to_n" in row:
            assert row["to_n"] == Counter(each["to_status"][0] for each in seen_rows), "to_n of a row is wrong"
            assert row["from_n"] == Counter(each.get("from_status", "none")[0] for each in seen_rows), "from_n is wrong"
    # A container that has left a project does not return to it.
    projects = [project for project, _ in groupby(row["project_id"] for row in rows if "project_id" in row)]
    assert len(projects) == len(set(projects)), "a row has the project that its container had left"
    assert container["project_id"] not in projects[:-1], "a row has the project that its container had left"
    live = container["project_id"] if container["status"] in LIVE else None
    assert container.get("live_project_id") == live, "the index of live containers is wrong"
    assert "operation" not in container or "pending_deadline" in container, "the index of pending operations is wrong"
