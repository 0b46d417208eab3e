"""How containers, history rows and Idempotency-Key records are stored as items in DynamoDB."""

from typing import Any

from pydantic import ValidationError

from longshore.aws.attributes import serialize_item
from longshore.aws.older_form import OLDER_ATTRIBUTES, with_older_form, without_older_form
from longshore.domain.clock import to_text
from longshore.domain.errors import UnreadableItemError
from longshore.domain.history import Entry
from longshore.domain.models import Container, IdempotencyRecord, Outcome, StatusLog
from longshore.domain.ranges import Counts, shortened
from longshore.domain.retention import expiry

Item = dict[str, Any]

PENDING_SHARDS = 8
"""Number of partition keys over which the index `pending-by-deadline` is spread."""

SCHEMA = 3
"""Version of the format of containers' items. Version 0.2 wrote 2: see `older_form.py`."""

ROW_SCHEMA = 2
"""Version of the format of history rows."""

CHANGEABLE = (
    "status",
    "status_since",
    "recounted_at",
    "running_since",
    "tasks",
    "tasks_due_at",
    "last_task",
    *OLDER_ATTRIBUTES,
    "generation",
    "operation",
    "command_number",
    "requested_at",
    "absent_since",
    "desired_count",
    "running_count",
    "scaling",
    "count_stored_at",
    "calls_end_at",
    "apply_count_at",
    "history_full",
    "reached_without_row",
    "history_retention",
    "schema",
    "log_count",
    "to_counts",
    "from_counts",
    "last_transition_time",
    "last_created_at",
    "updated_at",
    # Keys of the sparse indexes, derived from the other attributes.
    "live_project_id",
    "pending_shard",
    "pending_deadline",
)
"""Attributes of a container's item that every write of an operation writes. Registration and users write the others."""

COUNTED = ("generation", "log_count")
"""Numbers that conditions compare with those that were read, also if they are 0."""

STOP_AT = ("stop_at", "stop_at_by")
"""Attributes that users change. Three writes of operations change them too: a claim, which can set `stop_at` or discard
a past one; the end of an operation without a row, which restores it; and the last row of a run, which removes it."""

LIFETIME = (*STOP_AT, "idle_timeout", "idle_timeout_at", "kept_alive_at")
"""Attributes that `Container.ends_at` depends on, in addition to the status. A write that derives the key of the index
`pending-by-deadline` from them requires that they are as read."""

KEYS = ("pending_shard", "pending_deadline")
"""The key of the index `pending-by-deadline`."""


def container_item(container: Container) -> Item:
    """Convert a container to a DynamoDB item, with the keys of the sparse indexes.

    Attributes with their default value are not stored, except those in `COUNTED`, so that an item usually has less than
    1 KB: each further KB of it costs a write unit per write, and two per transaction.
    """
    item = container.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    item = with_older_form(item, container) | {"schema": SCHEMA} | {name: getattr(container, name) for name in COUNTED}
    if container.is_live:
        item["live_project_id"] = container.project_id
    due = container.due_at
    if due is not None:
        item["pending_shard"] = str(int(container.id[-4:], 16) % PENDING_SHARDS)
        item["pending_deadline"] = to_text(due)
    return serialize_item(item)


def log_item(entry: Entry, retention: int = 0) -> Item:
    """Convert a history row to a DynamoDB item, with its project, its position in each order, and the counters.

    Args:
        entry: The row.
        retention: The retention in days, after which DynamoDB deletes the row; 0: never.
    """
    row = entry.log.model_dump(mode="json", exclude_none=True)
    row |= {"seq": entry.seq, "to_rank": entry.to_rank, "from_rank": entry.from_rank, "schema": ROW_SCHEMA}
    if retention:
        row["expires_at"] = expiry(entry.log.transition_time, retention)
    return serialize_item(row | {"project_id": entry.project_id} | row_counters(entry.counts))


def row_counters(counts: Counts) -> Item:
    """Return the counters after a row as plain attributes of the row."""
    return {"to_n": shortened(counts.to_counts), "from_n": shortened(counts.from_counts)}


def record_of(container: Container, answer: Outcome | None) -> IdempotencyRecord:
    """Return the record of the pending operation's Idempotency-Key.

    Args:
        container: The container, with a pending operation that has an Idempotency-Key.
        answer: The answer to store. None while there is no answer.
    """
    pending = container.operation
    assert pending is not None
    assert pending.idempotency is not None
    return IdempotencyRecord(
        id=pending.idempotency.id,
        container_id=container.id,
        operation=pending.operation,
        operation_id=pending.id,
        expires_at=pending.idempotency.expires_at,
        answer=answer,
    )


def container_of(item: Item) -> Container:
    """Convert an item with plain values to a container.

    Raises:
        UnreadableItemError: The item is damaged, or was written by a later version.
    """
    try:
        return Container.model_validate(without_older_form(item))
    except (ValidationError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableItemError(str(item.get("id"))) from error


def log_of(row: Item) -> StatusLog:
    """Convert an item with plain values to a history row."""
    row.setdefault("from_status", None)
    return StatusLog.model_validate(row)
