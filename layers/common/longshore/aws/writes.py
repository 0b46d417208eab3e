"""The writes of a transaction: containers' items with their conditions, history rows and Idempotency-Key records."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from longshore.aws.attributes import serialize, serialize_item
from longshore.aws.items import CHANGEABLE, KEYS, LIFETIME, Item, container_item, log_item
from longshore.domain.clock import to_text
from longshore.domain.history import Entry
from longshore.domain.lifecycle import Kind
from longshore.domain.models import Container, IdempotencyRecord
from longshore.domain.pending import PendingOperation


class Condition(NamedTuple):
    """The condition of a write.

    Attributes:
        expression: A condition expression. Attribute names have the form `#name`.
        values: The attribute values that the expression uses, by their placeholder (`:name`).
    """

    expression: str
    values: Item

    def also(self, clause: str, **values: Any) -> "Condition":
        """Return this condition with another clause.

        Args:
            clause: A condition expression, joined with AND.
            values: The plain values that the clause uses, by their placeholder without the colon.
        """
        added = {f":{name}": serialize(value) for name, value in values.items()}
        return Condition(f"{self.expression} AND {clause}", self.values | added)

    def and_also(self, other: "Condition") -> "Condition":
        """Return the condition that requires this and the other condition."""
        return Condition(f"{self.expression} AND {other.expression}", self.values | other.values)


def unchanged(container: Container) -> Condition:
    """Require the row count and the generation as read: no row was added, and no other driver has taken over."""
    values = {":was_generation": serialize(container.generation), ":was_count": serialize(container.log_count)}
    return Condition("#generation = :was_generation AND #log_count = :was_count", values)


def as_read(container: Container, pending: PendingOperation | None) -> Condition:
    """Require that the container is unchanged and the given operation, or no operation if None, is pending."""
    expression, values = unchanged(container)
    if pending is None:
        return Condition(f"attribute_not_exists(#operation) AND {expression}", values)
    was_operation = {":was_operation": serialize(pending.id)}
    return Condition(f"#operation.id = :was_operation AND {expression}", values | was_operation)


def same(container: Container, names: Sequence[str]) -> Condition:
    """Require that the named attributes of the container are as read. Default values are not stored."""
    stored = container.model_dump(mode="json", include=set(names), exclude_none=True, exclude_defaults=True)
    clauses = [f"#{name} = :was_{name}" if name in stored else f"attribute_not_exists(#{name})" for name in names]
    return Condition(" AND ".join(clauses), {f":was_{name}": serialize(value) for name, value in stored.items()})


def same_key(container: Container) -> Condition:
    """Require that what the key of the index depends on is as read, besides what `as_read` requires.

    A noted lookup of a task raises the generation. The item may have an `absent_since` for version 0.2, or a
    `tasks_due_at` that version 0.2 has left there.
    """
    return same(container, LIFETIME if container.kind is Kind.TASK else (*LIFETIME, "absent_since"))


def as_stored(container: Container) -> Container:
    """Return a container that has just been written, with the key of the index that was written."""
    return container.model_copy(update={"pending_deadline": container.due_at})


class Writes:
    """Builds the writes of a transaction, in the form that TransactWriteItems takes."""

    def __init__(self, *, containers: str, status_logs: str, idempotency: str) -> None:
        self._containers = containers
        self._status_logs = status_logs
        self._idempotency = idempotency

    def update(self, after: Container, condition: Condition, names: Sequence[str] = CHANGEABLE) -> Any:
        """Update a container's item under a condition.

        Args:
            after: The container after the update.
            condition: The condition that the current item must satisfy.
            names: The attributes to write. All others stay as they are stored.
        """
        item = container_item(after)
        there = [name for name in names if name in item]
        gone = [name for name in names if name not in item]
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in there)
        expression += " REMOVE " + ", ".join(f"#{name}" for name in gone) if gone else ""
        used = set(re.findall(r"#(\w+)", f"{expression} {condition.expression}"))
        update = {
            "TableName": self._containers,
            "Key": {"id": {"S": after.id}},
            "UpdateExpression": expression,
            "ConditionExpression": condition.expression,
            "ExpressionAttributeNames": {f"#{name}": name for name in sorted(used)},
            "ExpressionAttributeValues": {**{f":{name}": item[name] for name in there}, **condition.values},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return {"Update": update}

    def move_key(self, container: Container, until: datetime, condition: Condition) -> Any:
        """Set the time at which the recovery sweep finds a container, regardless of its attributes."""
        update = self.update(container, condition, KEYS)
        update["Update"]["ExpressionAttributeValues"][":pending_deadline"] = serialize(to_text(until))
        return update

    def put_log(self, entry: Entry, retention: int) -> Any:
        """Write a history row, which DynamoDB deletes after a retention in days, unless it is 0."""
        # Rows are immutable. The condition of the container's update already prevents two rows with the same number.
        never_overwritten = "attribute_not_exists(container_id)"
        put = {
            "TableName": self._status_logs,
            "Item": log_item(entry, retention),
            "ConditionExpression": never_overwritten,
        }
        return {"Put": put}

    def put_record(self, record: IdempotencyRecord) -> Any:
        """Write the record of an Idempotency-Key, replacing any existing record."""
        item = record.model_dump(mode="json", exclude_none=True)
        return {"Put": {"TableName": self._idempotency, "Item": serialize_item(item)}}

    def put_new_record(self, record: IdempotencyRecord, now: int) -> Any:
        """Write the record of an Idempotency-Key that is not in use.

        Args:
            record: The record.
            now: The current time in seconds since 1970. An expired record, which DynamoDB may delete days later, does
                not count as in use.
        """
        put = self.put_record(record)
        put["Put"] |= {
            "ConditionExpression": "attribute_not_exists(id) OR expires_at <= :now",
            "ExpressionAttributeValues": {":now": serialize(now)},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return put

    def put_first_answer(self, record: IdempotencyRecord, now: int) -> Any:
        """Write the answer for an Idempotency-Key that has no answer.

        Args:
            record: The record with the answer.
            now: As in `put_new_record`.
        """
        put = self.put_record(record)
        put["Put"] |= {
            "ConditionExpression": "attribute_not_exists(id) OR expires_at <= :now OR "
            "(operation_id = :operation AND attribute_not_exists(answer))",
            "ExpressionAttributeValues": {":now": serialize(now), ":operation": serialize(record.operation_id)},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return put

    def delete_record(self, record_id: str) -> Any:
        """Delete the record of an Idempotency-Key."""
        return {"Delete": {"TableName": self._idempotency, "Key": {"id": {"S": record_id}}}}
