"""Mends what follows from something else, and hands on to the sweeps what is theirs to mend.

    ranks of rows, counters, index keys   computed from the rows and the item, and written under a condition that
                                          nothing has happened since
    overdue operations, tasks             the recovery function's sweeps, which run by the clock anyway
    all else                              is left as it is: what happened cannot be computed

Nothing here starts or stops a task. The drift sweep stops tasks that no container has, as it does every quarter of an
hour; a task that a stopped container says is its own is for the operator to judge.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from longshore.aws.attributes import serialize
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
}


class Repair:
    """Writes to the tables, and calls the recovery function. Raises AWS's errors."""

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
        return cls(
            target.dynamodb(),
            target.functions(),
            containers=target.containers,
            status_logs=target.status_logs,
            recover=target.output("RecoverFunctionArn"),
        )

    def mend(self, container_id: str, seen: Look) -> None:
        """Write what follows from the rows and the item, as far as nothing has happened to them since."""
        item, codes = seen.item, {fault.code for fault in seen.faults}
        if item is None:
            return
        if seen.history.is_chain and Code.RANK_WRONG in codes:
            self._mend_ranks(container_id, seen.history)
        certain = seen.history.is_chain and not codes & {Code.STATUS_DIFFERS, Code.ITEM_MALFORMED}
        if certain and Code.COUNTER_WRONG in codes and "operation" not in item:
            self._mend_counters(container_id, item, seen.history)
        if Code.INDEX_WRONG in codes:
            container = container_of(item)
            if isinstance(container, Container):
                self._mend_index(container)

    def sweep(self, kind: str) -> None:
        """Have the recovery function sweep now, and wait for it. UnavailableError when it fails."""
        answer = self._functions.invoke(
            FunctionName=self._recover, InvocationType="RequestResponse", Payload=json.dumps({"sweep": kind})
        )
        if "FunctionError" in answer:
            raise UnavailableError("The recovery function failed: its log says why. Nothing more was repaired.")

    def _mend_ranks(self, container_id: str, history: History) -> None:
        for place in history.misplaced:
            self._write(
                self._status_logs,
                {"container_id": container_id, "transition_time": place.transition_time},
                {"to_rank": place.to_rank, "from_rank": place.from_rank},
                "attribute_exists(container_id)",
                {},
            )

    def _mend_counters(self, container_id: str, item: Item, history: History) -> None:
        # The next generation: whoever has read the wrong counters may not write what follows from them.
        after = history.summary(item) | {"generation": int(item.get("generation", 0)) + 1}
        self._write(
            self._containers,
            {"id": container_id},
            after,
            "attribute_not_exists(#operation) AND #generation = :was_generation AND #log_count = :was_count",
            {":was_generation": item.get("generation"), ":was_count": item.get("log_count")},
            also={"#operation": "operation"},
        )

    def _mend_index(self, container: Container) -> None:
        keys = index_keys(container)
        same = "#generation = :was_generation AND #status = :was_status"
        values: dict[str, Any] = {":was_generation": container.generation, ":was_status": container.status.value}
        pending = container.operation
        also = {"#operation": "operation", "#generation": "generation", "#status": "status"}
        if pending is None:
            same += " AND attribute_not_exists(#operation)"
        else:
            same += " AND #operation.id = :was_operation AND #operation.deadline = :was_deadline"
            values |= {":was_operation": pending.id, ":was_deadline": keys["pending_deadline"]}
        gone = [name for name in INDEX_KEYS if name not in keys]
        self._write(self._containers, {"id": container.id}, keys, same, values, also=also, gone=gone)

    def _write(
        self,
        table: str,
        key: dict[str, str],
        after: dict[str, Any],
        condition: str,
        values: dict[str, Any],
        *,
        also: dict[str, str] | None = None,
        gone: list[str] | None = None,
    ) -> None:
        """One conditional update. When something has happened since, it does nothing."""
        parts = ["SET " + ", ".join(f"#{name} = :{name}" for name in after)] if after else []
        parts += ["REMOVE " + ", ".join(f"#{name}" for name in gone)] if gone else []
        given = {f":{name}": value for name, value in after.items()} | values
        names = {f"#{name}": name for name in [*after, *(gone or [])]} | (also or {})
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
