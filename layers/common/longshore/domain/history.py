"""Appending a change of status to a container's history. Pure."""

from datetime import datetime
from typing import NamedTuple

from longshore.domain.clock import MILLISECOND, to_text
from longshore.domain.facts import metadata_of
from longshore.domain.ledger import LastTask
from longshore.domain.lifecycle import Kind
from longshore.domain.models import Change, Container, StatusLog
from longshore.domain.pages import rank_key
from longshore.domain.ranges import NO_STATUS, Counts


class Entry(NamedTuple):
    """A row with its position in each order: its number, and its rank keys for the orders by status.

    Attributes:
        project_id: The project that the container is in when the row is written.
        counts: The counters of the history after the row.
    """

    log: StatusLog
    seq: int
    to_rank: str
    from_rank: str
    project_id: str
    counts: Counts


def _ended_for_certain(task: LastTask | None) -> LastTask | None:
    return None if task is None or task.gone else task


def append(container: Container, change: Change, log_id: str, now: datetime) -> tuple[Container, Entry]:
    """Return the container after a change of status, and the row of the change.

    Times of a container strictly increase. Because clocks differ, a change may be observed before the time of the last
    row; its row then has a time one millisecond after the last row, and `observed_at` in its metadata.

    Args:
        container: The container as read. Its pending operation is left as it is.
        change: The change.
        log_id: The id of the row.
        now: The current time.
    """
    at = change.observed_at
    container_after = container.model_copy(update=dict(change.attributes))
    metadata = metadata_of(change.requested, change.observed)
    if container.kind is Kind.SERVICE:
        metadata |= {"desired_count": container_after.desired_count, "running_count": container_after.running_count}
    if container.last_transition_time is not None and at <= container.last_transition_time:
        metadata["observed_at"] = to_text(at)
        at = container.last_transition_time + MILLISECOND
    created_at = max(now, at, *([container.last_created_at] if container.last_created_at else []))
    # The first row has no previous status.
    from_status = container.status if container.log_count else None
    from_name = from_status or NO_STATUS
    to_counts = {**container.to_counts, change.to_status: container.to_counts.get(change.to_status, 0) + 1}
    from_counts = {**container.from_counts, from_name: container.from_counts.get(from_name, 0) + 1}
    log = StatusLog(
        id=log_id,
        container_id=container.id,
        from_status=from_status,
        to_status=change.to_status,
        transition_time=at,
        created_at=created_at,
        duration_ms=change.duration_ms,
        triggered_by=change.triggered_by,
        metadata=metadata or None,
    )
    # Without an idle_timeout, nothing depends on it: a later one is counted from when it is set.
    recounts = change.observed.count_before is not None and change.to_status is container.status
    recounts = recounts and container.idle_timeout is not None
    after = container_after.model_copy(
        update={
            "status": change.to_status,
            "status_since": at,
            "recounted_at": at if recounts else None,
            "running_since": container.last_started_at if recounts else None,
            "absent_since": None,
            "apply_count_at": None,
            "tasks": dict(container.tasks if change.tasks is None else change.tasks),
            "tasks_due_at": None,
            "last_task": change.last_task or _ended_for_certain(container.last_task),
            "log_count": container.log_count + 1,
            "to_counts": to_counts,
            "from_counts": from_counts,
            "last_transition_time": at,
            "last_created_at": created_at,
            "updated_at": created_at,
        }
    )
    entry = Entry(
        log,
        after.log_count,
        rank_key(change.to_status, to_counts[change.to_status]),
        rank_key(from_status, from_counts[from_name]),
        container.project_id,
        Counts(after.log_count, to_counts, from_counts),
    )
    return after, entry
