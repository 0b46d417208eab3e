"""Repairs of derived values, and sweeps on demand.

    ranks of rows, counters, index keys   computed from the rows and the item, and written on the condition that nothing
                                          has changed since
    overdue operations, tasks, services   repaired by the recovery function's sweeps, which also run on a schedule
    other faults                          not repaired, because what happened cannot be computed

This module does not start or stop tasks. The drift sweep stops tasks that belong to no container, as it does every 15
minutes. If a stopped container's own task is running, the operator decides what to do.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from longshore.aws.attributes import serialize
from longshore.aws.items import LIFETIME
from longshore.domain.models import Container

from admin.checks import INDEX_KEYS, Code, History, Item, container_of, index_keys
from admin.doctor import Look
from admin.errors import UnavailableError
from admin.target import Target

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_lambda import LambdaClient

SWEEPS = {
    Code.OVERDUE: "operations",
    Code.TASK_MISSING: "drift",
    Code.TASK_UNEXPECTED: "drift",
    Code.SERVICE_MISSING: "drift",
    Code.SERVICE_DIFFERS: "drift",
    Code.SCALING_HELD: "drift",
}


class Repair:
    """Writes to the tables and invokes the recovery function. Methods raise botocore's errors if AWS fails."""

    def __init__(
        self, dynamodb: DynamoDBClient, functions: LambdaClient, *, containers: str, status_logs: str, recover: str
    ) -> None:
        self._dynamodb = dynamodb
        self._functions = functions
        self._containers = containers
        self._status_logs = status_logs
        self._recover = recover

    @classmethod
    def of(cls, target: Target) -> Repair:
        """Create the repair for a stack."""
        return cls(
            target.dynamodb(),
            target.functions(),
            containers=target.containers,
            status_logs=target.status_logs,
            recover=target.output("RecoverFunctionArn"),
        )

    def repair(self, container_id: str, seen: Look) -> None:
        """Rewrite wrong ranks, counters and index keys unless the container has changed since the look."""
        item, codes = seen.item, {fault.code for fault in seen.faults}
        if item is None:
            return
        if seen.history.is_chain and Code.RANK_WRONG in codes:
            self._repair_ranks(container_id, seen.history)
        certain = seen.history.is_chain and not codes & {Code.STATUS_DIFFERS, Code.ITEM_MALFORMED}
        if certain and Code.COUNTER_WRONG in codes and "operation" not in item:
            self._repair_counters(container_id, item, seen.history)
        if Code.INDEX_WRONG in codes:
            container = container_of(item)
            if isinstance(container, Container):
                self._repair_index(container)

    def sweep(self, kind: str) -> None:
        """Run a sweep of the recovery function and wait for its end.

        Args:
            kind: "operations" or "drift".

        Raises:
            UnavailableError: The function failed.
        """
        answer = self._functions.invoke(
            FunctionName=self._recover, InvocationType="RequestResponse", Payload=json.dumps({"sweep": kind})
        )
        if "FunctionError" in answer:
            raise UnavailableError("The recovery function failed: see its log. No further repairs were made.")

    def _repair_ranks(self, container_id: str, history: History) -> None:
        for place in history.misplaced:
            self._write(
                self._status_logs,
                {"container_id": container_id, "transition_time": place.transition_time},
                dict(place.attributes),
                "attribute_exists(container_id)",
                {},
            )

    def _repair_counters(self, container_id: str, item: Item, history: History) -> None:
        # With a new generation, writers that have read the wrong counters fail their condition.
        after = history.summary(item) | {"generation": int(item.get("generation", 0)) + 1}
        self._write(
            self._containers,
            {"id": container_id},
            after,
            "attribute_not_exists(#operation) AND #generation = :was_generation AND #log_count = :was_count",
            {":was_generation": item.get("generation"), ":was_count": item.get("log_count")},
            also={"#operation": "operation"},
        )

    def _repair_index(self, container: Container) -> None:
        keys = index_keys(container)
        same = "#generation = :was_generation AND #status = :was_status"
        values: dict[str, Any] = {":was_generation": container.generation, ":was_status": container.status.value}
        pending = container.operation
        also = {"#operation": "operation", "#generation": "generation", "#status": "status"}
        if pending is None:
            same += " AND attribute_not_exists(#operation)"
            lifetime = container.model_dump(mode="json", include=set(LIFETIME), exclude_none=True)
            for name in LIFETIME:
                same += f" AND #{name} = :was_{name}" if name in lifetime else f" AND attribute_not_exists(#{name})"
            values |= {f":was_{name}": value for name, value in lifetime.items()}
            also |= {f"#{name}": name for name in LIFETIME}
        else:
            same += " AND #operation.id = :was_operation AND #operation.deadline = :was_deadline"
            values |= {":was_operation": pending.id, ":was_deadline": keys["pending_deadline"]}
        removed = [name for name in INDEX_KEYS if name not in keys]
        self._write(self._containers, {"id": container.id}, keys, same, values, also=also, removed=removed)

    def _write(
        self,
        table: str,
        key: dict[str, str],
        after: dict[str, Any],
        condition: str,
        values: dict[str, Any],
        *,
        also: dict[str, str] | None = None,
        removed: list[str] | None = None,
    ) -> None:
        """Update an item under a condition. If the condition fails, do nothing."""
        parts = ["SET " + ", ".join(f"#{name} = :{name}" for name in after)] if after else []
        parts += ["REMOVE " + ", ".join(f"#{name}" for name in removed)] if removed else []
        given = {f":{name}": value for name, value in after.items()} | values
        names = {f"#{name}": name for name in [*after, *(removed or [])]} | (also or {})
        request: dict[str, Any] = (
            {"ExpressionAttributeValues": {k: serialize(v) for k, v in given.items()}} if given else {}
        )
        try:
            self._dynamodb.update_item(
                TableName=table,
                Key={name: {"S": value} for name, value in key.items()},
                UpdateExpression=" ".join(parts),
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                **request,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
