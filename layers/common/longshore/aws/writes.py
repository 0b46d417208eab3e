"""The writes of a transaction: updates of a container's item with their conditions, history rows, records of keys."""

from typing import Any, NamedTuple

from longshore.aws.attributes import serialize, serialize_item
from longshore.aws.items import CHANGEABLE, Item, container_item, log_item
from longshore.domain.history import Entry
from longshore.domain.models import Container, IdempotencyRecord, PendingOperation


class Condition(NamedTuple):
    """The condition of a write.

    Attributes:
        expression: A condition expression. Attribute names have the form `#name`.
        values: The values that it uses, as DynamoDB takes them.
    """

    expression: str
    values: Item

    def also(self, clause: str, **values: Any) -> "Condition":
        """Return this condition with one more clause. Its values are given without their colons."""
        added = {f":{name}": serialize(value) for name, value in values.items()}
        return Condition(f"{self.expression} AND {clause}", self.values | added)


def unchanged(container: Container) -> Condition:
    """No row has been added since the container was read, and its pending operation has no new driver."""
    values = {":was_generation": serialize(container.generation), ":was_count": serialize(container.log_count)}
    return Condition("#generation = :was_generation AND #log_count = :was_count", values)


def as_read(container: Container, pending: PendingOperation | None) -> Condition:
    """The container is unchanged, and the given operation, or none, is pending."""
    expression, values = unchanged(container)
    if pending is None:
        return Condition(f"attribute_not_exists(#operation) AND {expression}", values)
    was_operation = {":was_operation": serialize(pending.id)}
    return Condition(f"#operation.id = :was_operation AND {expression}", values | was_operation)


class Writes:
    """Builds the writes of a transaction."""

    def __init__(self, *, containers: str, status_logs: str, idempotency: str) -> None:
        self._containers = containers
        self._status_logs = status_logs
        self._idempotency = idempotency

    def update(self, after: Container, condition: Condition, *, other_names: tuple[str, ...] = ()) -> Any:
        """Write the container's item under a condition.

        Args:
            after: The container as it is to be.
            condition: What must hold of the item.
            other_names: Attributes that the condition names, besides those that an update may change.
        """
        item = container_item(after)
        there = [name for name in CHANGEABLE if name in item]
        gone = [name for name in CHANGEABLE if name not in item]
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in there)
        expression += " REMOVE " + ", ".join(f"#{name}" for name in gone) if gone else ""
        update = {
            "TableName": self._containers,
            "Key": {"id": {"S": after.id}},
            "UpdateExpression": expression,
            "ConditionExpression": condition.expression,
            "ExpressionAttributeNames": {f"#{name}": name for name in (*CHANGEABLE, *other_names)},
            "ExpressionAttributeValues": {**{f":{name}": item[name] for name in there}, **condition.values},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return {"Update": update}

    def put_log(self, entry: Entry) -> Any:
        """Write a history row."""
        # Rows are immutable. The container's condition already prevents two rows with the same number.
        never_overwritten = "attribute_not_exists(container_id)"
        put = {"TableName": self._status_logs, "Item": log_item(entry), "ConditionExpression": never_overwritten}
        return {"Put": put}

    def put_record(self, record: IdempotencyRecord) -> Any:
        """Write the record of an Idempotency-Key, whatever is there."""
        item = record.model_dump(mode="json", exclude_none=True)
        return {"Put": {"TableName": self._idempotency, "Item": serialize_item(item)}}

    def put_new_record(self, record: IdempotencyRecord, now: int) -> Any:
        """Write the record of an Idempotency-Key that is not in use.

        Args:
            record: The record.
            now: The time in seconds since 1970. DynamoDB may delete an expired item days later.
        """
        put = self.put_record(record)
        put["Put"] |= {
            "ConditionExpression": "attribute_not_exists(id) OR expires_at <= :now",
            "ExpressionAttributeValues": {":now": serialize(now)},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return put

    def put_first_answer(self, record: IdempotencyRecord, now: int) -> Any:
        """Write the answer for an Idempotency-Key that has none. `now` as in `put_new_record`."""
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
