"""In-memory DynamoDB: the subset that the stores use. Anything else raises `Unsupported`.

Each request is atomic. Expressions are parsed by their grammar, not recognised by their text. `test_dynamodb.py`
compares the answers with moto's.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from heapq import nlargest, nsmallest
from operator import itemgetter
from typing import Any

from local.emulator.errors import AwsError
from simulation.expressions import (
    Condition,
    Item,
    Path,
    Unsupported,
    Used,
    invalid,
    parse_condition,
    projected,
    updated,
)
from simulation.items import Items

__all__ = ["DynamoDb", "Item", "Keys", "Table", "Unsupported"]


_TOKEN_LIFETIME = timedelta(minutes=10)
_TRANSACTION_LIMIT = 100
_COLLECTION_LIMIT = 10.0  # GB


@dataclass(frozen=True)
class Keys:
    """The key of a table or index.

    Attributes:
        included: The attributes of an index beside the keys; None: all.
    """

    hash: str
    range: str | None
    included: tuple[str, ...] | None = None
    is_global: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.hash,) if self.range is None else (self.hash, self.range)


@dataclass
class Table:
    """A table. `versions` holds its content after each write, for reads that are not consistent."""

    keys: Keys
    indexes: dict[str, Keys]
    items: Items = field(default_factory=Items)
    versions: list[dict[Path, Item]] = field(default_factory=list)

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> "Table":
        """Create a table from the properties that CloudFormation and CreateTable share."""
        indexes = {
            index["IndexName"]: _keys(index, is_global=kind == "Global")
            for kind in ("Global", "Local")
            for index in properties.get(f"{kind}SecondaryIndexes", [])
        }
        return cls(_keys(properties, is_global=False), indexes)

    def key_of(self, item: Item) -> Path:
        try:
            return tuple(_text(item[name]) for name in self.keys.names)
        except KeyError:
            raise invalid("The provided key element does not match the schema") from None


def _keys(described: Mapping[str, Any], *, is_global: bool) -> Keys:
    names = {key["KeyType"]: key["AttributeName"] for key in described["KeySchema"]}
    projection = described.get("Projection", {"ProjectionType": "ALL"})
    included = None if projection["ProjectionType"] == "ALL" else tuple(projection.get("NonKeyAttributes", ()))
    return Keys(names["HASH"], names.get("RANGE"), included, is_global)


def _only(items: Iterable[Item], names: Iterable[str]) -> list[Item]:
    names = dict.fromkeys(names)
    return [{name: item[name] for name in names if name in item} for item in items]


def _partition(request: Mapping[str, Any], index: Keys) -> str | None:
    """Return the partition that a Query reads; None for other conditions and for a Scan."""
    names = request.get("ExpressionAttributeNames", {})
    name, sign, value = [*request.get("KeyConditionExpression", "").split(" ")[:3], "", "", ""][:3]
    if names.get(name, name) != index.hash or sign != "=":
        return None
    values = request.get("ExpressionAttributeValues", {})
    return _text(values[value]) if value in values else None


def _text(value: Any) -> str:
    ((kind, text),) = value.items()
    if kind not in ("S", "N"):
        raise invalid(f"a key of type {kind}")
    return str(text)


class DynamoDb:
    """The tables.

    `lag` returns how many recent writes an inconsistent read does not show yet. `written` is called after every write
    with the table and the item before and after. `sizes` holds the sizes of large item collections in GB by partition
    key; each new item adds `row_size`.
    """

    def __init__(
        self,
        tables: Mapping[str, Mapping[str, Any]],
        now: Callable[[], datetime],
        lag: Callable[[], int] = lambda: 0,
        written: Callable[[str, Item | None, Item | None], None] = lambda *_: None,
    ) -> None:
        self.tables = {name: Table.of(properties) for name, properties in tables.items()}
        self._now = now
        self._lag = lag
        self._written = written
        self.sizes: dict[str, float] = {}
        self.row_size = 0.05
        self.refused: Callable[[str], None] = lambda _: None  # called with the id of a full collection
        self._tokens: dict[str, tuple[datetime, Any]] = {}

    def handle(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request; parameters and result are those of the API. Raises AwsError."""
        match operation:
            case "GetItem":
                return self._get_item(request)
            case "BatchGetItem":
                return self._batch_get_item(request)
            case "Query":
                return self._query(request)
            case "Scan":
                return self._scan(request)
            case "PutItem" | "UpdateItem" | "DeleteItem":
                return self._write_one(operation.removesuffix("Item"), request)
            case "TransactWriteItems":
                return self._transact(request)
        raise Unsupported(f"dynamodb:{operation}")

    # --- reads ------------------------------------------------------------------------------------------------------

    def _get_item(self, request: dict[str, Any]) -> dict[str, Any]:
        _known(request, "TableName", "Key", "ConsistentRead", "ProjectionExpression")
        table = self._table(request)
        item = (table.items if request.get("ConsistentRead") else self._late(table)).get(table.key_of(request["Key"]))
        if item is not None and "ProjectionExpression" in request:
            (item,) = _only([item], projected(request["ProjectionExpression"], Used(request)))
        return {} if item is None else {"Item": item}

    def _batch_get_item(self, request: dict[str, Any]) -> dict[str, Any]:
        _known(request, "RequestItems")
        responses: dict[str, list[Item]] = {}
        for name, wanted in request["RequestItems"].items():
            found = [
                self._get_item({"TableName": name, "Key": key, "ConsistentRead": wanted.get("ConsistentRead")})
                for key in wanted["Keys"]
            ]
            responses[name] = [answer["Item"] for answer in found if "Item" in answer]
        return {"Responses": responses, "UnprocessedKeys": {}}

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        used = Used(request)
        condition = parse_condition(request["KeyConditionExpression"])
        return self._read(request, condition, used, "KeyConditionExpression", "ScanIndexForward")

    def _scan(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._read(request, None, Used(request))

    def _read(self, request: dict[str, Any], condition: "Condition | None", used: "Used", *more: str) -> dict[str, Any]:
        paged = ("TableName", "IndexName", "Limit", "ConsistentRead", "ExclusiveStartKey")
        expressions = ("FilterExpression", "ProjectionExpression")
        _known(request, *paged, *expressions, "ExpressionAttributeNames", "ExpressionAttributeValues", *more)
        table = self._table(request)
        index = self._index(table, request)
        items = self._view(table, index, request)
        filtered = parse_condition(request["FilterExpression"]) if "FilterExpression" in request else None
        projection = projected(request["ProjectionExpression"], used) if "ProjectionExpression" in request else None
        if condition is not None:
            items = [item for item in items if condition(item, used)]
        ahead = request.get("ScanIndexForward", True)
        ordered = [(_order(item, index, table), item) for item in items]
        if "ExclusiveStartKey" in request:
            start = _order(request["ExclusiveStartKey"], index, table)
            ordered = [each for each in ordered if (each[0] > start if ahead else each[0] < start)]
        limit = request.get("Limit")
        first = nsmallest if ahead else nlargest
        page = [item for _, item in first(len(ordered) if limit is None else limit, ordered, key=itemgetter(0))]
        answer: dict[str, Any] = {}
        if limit is not None and len(page) == limit:
            names = dict.fromkeys((*index.names, *table.keys.names))
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in names}
        shown = [item for item in page if filtered is None or filtered(item, used)]
        used.check()
        if index.included is not None:
            shown = _only(shown, (*index.names, *table.keys.names, *index.included))
        if projection is not None:
            shown = _only(shown, projection)
        return answer | {"Items": shown, "Count": len(shown), "ScannedCount": len(page)}

    def _view(self, table: Table, index: Keys, request: dict[str, Any]) -> list[Item]:
        items: Iterable[Item] = table.items.values()
        if index.is_global:
            if request.get("ConsistentRead"):
                raise invalid("Consistent reads are not supported on global secondary indexes")
            items = self._late(table).values()
        elif "IndexName" in request and not request.get("ConsistentRead"):
            raise Unsupported("a read of a local index that is not consistent")
        elif (partition := _partition(request, index)) is not None:
            items = table.items.of(partition)
        return [item for item in items if all(name in item for name in index.names)]

    def _late(self, table: Table) -> dict[Path, Item]:
        """Return the items as an inconsistent read shows them."""
        lag = self._lag()
        return (table.versions[-1 - lag] if lag < len(table.versions) else {}) if lag else table.items

    def _table(self, request: dict[str, Any]) -> Table:
        table = self.tables.get(request["TableName"])
        if table is None:
            raise AwsError("ResourceNotFoundException", "Requested resource not found")
        return table

    @staticmethod
    def _index(table: Table, request: dict[str, Any]) -> Keys:
        name = request.get("IndexName")
        if name is None:
            return table.keys
        if name not in table.indexes:
            raise invalid("The table does not have the specified index")
        return table.indexes[name]

    # --- writes -----------------------------------------------------------------------------------------------------

    def _write_one(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        returns = request.get("ReturnValues", "NONE")
        assert returns in ("NONE", "ALL_NEW")
        write = self._prepare(kind, {name: value for name, value in request.items() if name != "ReturnValues"})
        if not write.allowed:
            old: dict[str, Any] = {"Item": write.before} if write.shows_old and write.before is not None else {}
            raise AwsError("ConditionalCheckFailedException", "The conditional request failed", **old)
        if self._is_full(write):
            raise AwsError("ItemCollectionSizeLimitExceededException", "Collection size exceeded.")
        self._apply([write])
        return {"Attributes": write.after} if returns == "ALL_NEW" else {}

    def _transact(self, request: dict[str, Any]) -> dict[str, Any]:
        _known(request, "TransactItems", "ClientRequestToken", "ReturnItemCollectionMetrics")
        now, token = self._now(), request.get("ClientRequestToken")
        if token is not None and (known := self._tokens.get(token)) is not None and now - known[0] < _TOKEN_LIFETIME:
            if known[1] != request["TransactItems"]:
                raise AwsError("IdempotentParameterMismatchException", "The token was used with other parameters")
            return {}
        if len(request["TransactItems"]) > _TRANSACTION_LIMIT:
            raise invalid("Too many actions in one transaction")
        writes = []
        for item in request["TransactItems"]:
            ((kind, parameters),) = item.items()
            writes.append(self._prepare(kind, parameters))
        if len({(write.table, write.key) for write in writes}) < len(writes):
            raise invalid("Transaction request cannot include multiple operations on one item")
        if not all(write.allowed and not self._is_full(write) for write in writes):
            reasons = [
                {"Code": "ItemCollectionSizeLimitExceeded", "Message": "Collection size exceeded."}
                if write.allowed and self._is_full(write)
                else _reason(write)
                for write in writes
            ]
            codes = ", ".join(reason["Code"] for reason in reasons)
            raise AwsError(
                "TransactionCanceledException",
                f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
                CancellationReasons=reasons,
            )
        self._apply(writes)
        if token is not None:
            self._tokens[token] = (now, request["TransactItems"])
        return _metrics(self, writes) if request.get("ReturnItemCollectionMetrics") == "SIZE" else {}

    # --- sizes of item collections ---------------------------------------------------------------------------------

    def _is_full(self, write: "_Write") -> bool:
        """Return whether the write would exceed 10 GB, the limit of a collection in tables with local indexes."""
        if not self._grows(write):
            return False
        full = self.sizes[write.key[0]] + self.row_size > _COLLECTION_LIMIT
        if full:
            self.refused(write.key[0])
        return full

    def _grows(self, write: "_Write") -> bool:
        local = any(not index.is_global for index in self.tables[write.table].indexes.values())
        return local and write.before is None and write.after is not None and write.key[0] in self.sizes

    def _prepare(self, kind: str, request: dict[str, Any]) -> "_Write":
        _known(
            request,
            "TableName",
            "ConditionExpression",
            "ExpressionAttributeNames",
            "ExpressionAttributeValues",
            "ReturnValuesOnConditionCheckFailure",
            {"Put": "Item", "Update": "UpdateExpression", "Delete": "Key", "ConditionCheck": "Key"}[kind],
            "Key",
        )
        table, used = self._table(request), Used(request)
        key = table.key_of(request["Item"] if kind == "Put" else request["Key"])
        before = table.items.get(key)
        condition = request.get("ConditionExpression")
        allowed = condition is None or parse_condition(condition)(before or {}, used)
        after: Item | None
        match kind:
            case "Put":
                after = dict(request["Item"])
            case "Update":
                after = updated(before or dict(request["Key"]), request["UpdateExpression"], used)
                if table.key_of(after) != key:
                    raise invalid("Cannot update attribute. This attribute is part of the key")
            case "Delete":
                after = None
            case _:
                after = before
        used.check()
        shows_old = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return _Write(request["TableName"], key, before, after, allowed, shows_old)

    def _apply(self, writes: "Iterable[_Write]") -> None:
        for write in writes:
            table = self.tables[write.table]
            if self._grows(write):
                self.sizes[write.key[0]] += self.row_size
            if write.after is None:
                table.items.pop(write.key, None)
            else:
                for index in table.indexes.values():
                    for name in index.names:
                        if name in write.after:
                            _text(write.after[name])
                table.items[write.key] = write.after
            if any(index.is_global for index in table.indexes.values()):
                table.versions.append(dict(table.items))
            self._written(write.table, write.before, write.after)


@dataclass(frozen=True)
class _Write:
    table: str
    key: Path
    before: Item | None
    after: Item | None
    allowed: bool
    shows_old: bool


def _metrics(dynamodb: DynamoDb, writes: list[_Write]) -> dict[str, Any]:
    """Return the estimated collection sizes that ReturnItemCollectionMetrics requests."""
    metrics: dict[str, list[dict[str, Any]]] = {}
    for write in writes:
        table = dynamodb.tables[write.table]
        if any(not index.is_global for index in table.indexes.values()):
            size = dynamodb.sizes.get(write.key[0], 0.0)
            estimate = [round(max(size - 0.1, 0.0), 2), round(size + 0.1, 2)]
            key = {table.keys.hash: {"S": write.key[0]}}
            metrics.setdefault(write.table, []).append({"ItemCollectionKey": key, "SizeEstimateRangeGB": estimate})
    return {"ItemCollectionMetrics": metrics}


def _reason(write: _Write) -> dict[str, Any]:
    if write.allowed:
        return {"Code": "None"}
    reason = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
    return reason | ({"Item": write.before} if write.shows_old and write.before is not None else {})


def _known(request: dict[str, Any], *names: str) -> None:
    if unknown := request.keys() - set(names):
        raise Unsupported(f"the parameters {sorted(unknown)}")


def _order(item: Item, index: Keys, table: Table) -> tuple[Any, ...]:
    names = (*index.names, *table.keys.names)
    return tuple(Decimal(value["N"]) if "N" in (value := item[name]) else value["S"] for name in names)
