"""DynamoDB in memory: what the stores use of it, and an `Unsupported` for anything else.

Each request is atomic. Expressions are parsed by their grammar and not recognised by their text. What it answers is
held against moto by `test_dynamodb.py`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from local.emulator.errors import AwsError

Item = dict[str, Any]  # in DynamoDB's JSON: {"id": {"S": "…"}}
Path = tuple[str, ...]

_TOKEN_LIFETIME = timedelta(minutes=10)
_TRANSACTION_LIMIT = 100

_TOKEN = re.compile(r"\s*(?:(?P<word>[#:]?[A-Za-z_][\w-]*)|(?P<sign><>|<=|>=|[=<>(),.\[\]+-]))")
_COMPARISONS = {"=", "<", "<=", ">", ">="}
_FUNCTIONS = {"attribute_exists", "attribute_not_exists", "begins_with"}
_CLAUSES = {"SET", "REMOVE"}


class Unsupported(BaseException):
    """The code under test uses something of AWS that is not emulated."""


@dataclass(frozen=True)
class Keys:
    """A table's or an index's key, and whether the index holds nothing else."""

    hash: str
    range: str | None
    keys_only: bool = False
    is_global: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.hash,) if self.range is None else (self.hash, self.range)


@dataclass
class Table:
    """A table. `versions` holds it as it was after each write, for reads of a global index that lags behind."""

    keys: Keys
    indexes: dict[str, Keys]
    items: dict[Path, Item] = field(default_factory=dict)
    versions: list[dict[Path, Item]] = field(default_factory=list)

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> "Table":
        """From the properties that CloudFormation and CreateTable share."""
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
            raise _invalid("The provided key element does not match the schema") from None


def _keys(described: Mapping[str, Any], *, is_global: bool) -> Keys:
    names = {key["KeyType"]: key["AttributeName"] for key in described["KeySchema"]}
    projection = described.get("Projection", {}).get("ProjectionType")
    if projection not in (None, "ALL", "KEYS_ONLY"):
        raise Unsupported(f"the projection {projection}")
    return Keys(names["HASH"], names.get("RANGE"), projection == "KEYS_ONLY", is_global)


def _text(value: Any) -> str:
    ((kind, text),) = value.items()
    if kind not in ("S", "N"):
        raise _invalid(f"a key of type {kind}")
    return str(text)


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


class DynamoDb:
    """The tables.

    `lag` says, when a global index is read, how many of the last writes it does not show yet.
    `written` is told of every write: the table, the item before and after.
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
        self._tokens: dict[str, tuple[datetime, Any]] = {}

    def handle(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request: parameters and result as in the API. Raises AwsError."""
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

    # --- reading ---------------------------------------------------------------------------------------------------

    def _get_item(self, request: dict[str, Any]) -> dict[str, Any]:
        _known(request, "TableName", "Key", "ConsistentRead", "ProjectionExpression")
        if not request.get("ConsistentRead"):
            raise Unsupported("a GetItem that is not consistent")
        table = self._table(request)
        item = table.items.get(table.key_of(request["Key"]))
        if item is not None and "ProjectionExpression" in request:
            item = {
                name: item[name] for name in _paths(request["ProjectionExpression"], _Used(request)) if name in item
            }
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
        used = _Used(request)
        condition = _condition(request["KeyConditionExpression"])
        return self._read(request, condition, used, "KeyConditionExpression", "ScanIndexForward")

    def _scan(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._read(request, None, _Used(request))

    def _read(
        self, request: dict[str, Any], condition: "_Condition | None", used: "_Used", *more: str
    ) -> dict[str, Any]:
        _known(
            request,
            "TableName",
            "IndexName",
            "Limit",
            "ConsistentRead",
            "ExclusiveStartKey",
            "FilterExpression",
            "ProjectionExpression",
            "ExpressionAttributeNames",
            "ExpressionAttributeValues",
            *more,
        )
        table = self._table(request)
        index = self._index(table, request)
        items = self._view(table, index, request)
        filtered = _condition(request["FilterExpression"]) if "FilterExpression" in request else None
        projection = _paths(request["ProjectionExpression"], used) if "ProjectionExpression" in request else None
        if condition is not None:
            items = [item for item in items if condition(item, used)]
        items.sort(key=lambda item: _order(item, index, table), reverse=not request.get("ScanIndexForward", True))
        if "ExclusiveStartKey" in request:
            start = _order(request["ExclusiveStartKey"], index, table)
            ahead = request.get("ScanIndexForward", True)
            ordered = [(_order(item, index, table), item) for item in items]
            items = [item for order, item in ordered if (order > start if ahead else order < start)]
        limit = request.get("Limit")
        page = items[:limit] if limit is not None else items
        answer: dict[str, Any] = {}
        if limit is not None and len(page) == limit:
            names = dict.fromkeys((*index.names, *table.keys.names))
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in names}
        shown = [item for item in page if filtered is None or filtered(item, used)]
        used.check()
        if index.keys_only:
            shown = [{name: item[name] for name in (*index.names, *table.keys.names)} for item in shown]
        if projection is not None:
            shown = [{name: item[name] for name in projection if name in item} for item in shown]
        return answer | {"Items": shown, "Count": len(shown), "ScannedCount": len(page)}

    def _view(self, table: Table, index: Keys, request: dict[str, Any]) -> list[Item]:
        items = table.items
        if index.is_global:
            if request.get("ConsistentRead"):
                raise _invalid("Consistent reads are not supported on global secondary indexes")
            lag = self._lag()
            if lag:
                items = table.versions[-1 - lag] if lag < len(table.versions) else {}
        elif "IndexName" in request and not request.get("ConsistentRead"):
            raise Unsupported("a read of a local index that is not consistent")
        return [item for item in items.values() if all(name in item for name in index.names)]

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
            raise _invalid("The table does not have the specified index")
        return table.indexes[name]

    # --- writing ---------------------------------------------------------------------------------------------------

    def _write_one(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        write = self._prepare(kind, request)
        if not write.allowed:
            old: dict[str, Any] = {"Item": write.before} if write.shows_old and write.before is not None else {}
            raise AwsError("ConditionalCheckFailedException", "The conditional request failed", **old)
        self._apply([write])
        return {}

    def _transact(self, request: dict[str, Any]) -> dict[str, Any]:
        _known(request, "TransactItems", "ClientRequestToken")
        now, token = self._now(), request.get("ClientRequestToken")
        if token is not None and (known := self._tokens.get(token)) is not None and now - known[0] < _TOKEN_LIFETIME:
            if known[1] != request["TransactItems"]:
                raise AwsError("IdempotentParameterMismatchException", "The token was used with other parameters")
            return {}
        if len(request["TransactItems"]) > _TRANSACTION_LIMIT:
            raise _invalid("Too many actions in one transaction")
        writes = []
        for item in request["TransactItems"]:
            ((kind, parameters),) = item.items()
            writes.append(self._prepare(kind, parameters))
        if len({(write.table, write.key) for write in writes}) < len(writes):
            raise _invalid("Transaction request cannot include multiple operations on one item")
        if not all(write.allowed for write in writes):
            reasons = [_reason(write) for write in writes]
            codes = ", ".join(reason["Code"] for reason in reasons)
            raise AwsError(
                "TransactionCanceledException",
                f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
                CancellationReasons=reasons,
            )
        self._apply(writes)
        if token is not None:
            self._tokens[token] = (now, request["TransactItems"])
        return {}

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
        table, used = self._table(request), _Used(request)
        key = table.key_of(request["Item"] if kind == "Put" else request["Key"])
        before = table.items.get(key)
        condition = request.get("ConditionExpression")
        allowed = condition is None or _condition(condition)(before or {}, used)
        after: Item | None
        match kind:
            case "Put":
                after = dict(request["Item"])
            case "Update":
                after = _updated(before or dict(request["Key"]), request["UpdateExpression"], used)
                if table.key_of(after) != key:
                    raise _invalid("Cannot update attribute. This attribute is part of the key")
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


# --- expressions -----------------------------------------------------------------------------------------------------


class _Used:
    """A request's placeholders, and which of them its expressions have used: DynamoDB refuses those that are not."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.names: dict[str, str] = request.get("ExpressionAttributeNames", {})
        self.values: dict[str, Any] = request.get("ExpressionAttributeValues", {})
        text = " ".join(str(value) for name, value in request.items() if name.endswith("Expression"))
        self._words = {match["word"] for match in _TOKEN.finditer(text) if match["word"]}

    def check(self) -> None:
        """Raise AwsError when a placeholder is not used, or not given."""
        given = self.names.keys() | self.values.keys()
        if unused := given - self._words:
            raise _invalid(f"Value provided in ExpressionAttribute unused in expressions: {sorted(unused)}")
        if missing := {word for word in self._words if word[0] in "#:"} - given:
            raise _invalid(f"An expression uses what is not defined: {sorted(missing)}")

    def path(self, path: Path) -> Path:
        try:
            return tuple(self.names[part] if part[0] == "#" else part for part in path)
        except KeyError:
            raise _invalid(f"An expression attribute name used in the document path is not defined: {path}") from None

    def value(self, name: str) -> Any:
        if name not in self.values:
            raise _invalid(f"An expression attribute value used in expression is not defined: {name}")
        return self.values[name]


_Condition = Callable[[Item, _Used], bool]
_Operand = Callable[[Item, _Used], Any]


class _Parser:
    """Reads conditions, updates and projections, by the grammar in DynamoDB's guide."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise _invalid(f"Syntax error: {text}")
            self._tokens.append(match["word"] or match["sign"])
            position = match.end()
        self._at = 0

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise _invalid(f"Syntax error at {self._tokens[self._at]}: {self._text}")

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if not token or (wanted is not None and token.upper() != wanted):
            raise _invalid(f"Syntax error at {token!r}: {self._text}")
        self._at += 1
        return token

    def condition(self) -> _Condition:
        parts = [self._all_of()]
        while self.peek().upper() == "OR":
            self.take()
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else lambda item, used: any(part(item, used) for part in parts)

    def _all_of(self) -> _Condition:
        parts = [self._one()]
        while self.peek().upper() == "AND":
            self.take()
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda item, used: all(part(item, used) for part in parts)

    def _one(self) -> _Condition:
        token = self.peek()
        if token.upper() == "NOT":
            self.take()
            negated = self._one()
            return lambda item, used: not negated(item, used)
        if token == "(":
            self.take()
            inside = self.condition()
            self.take(")")
            return inside
        if token in _FUNCTIONS:
            return self._function(self.take())
        left = self._operand()
        sign = self.take()
        if sign.upper() == "BETWEEN":
            low = self._operand()
            self.take("AND")
            high = self._operand()
            return lambda item, used: (
                _compare(low(item, used), "<=", left(item, used)) and _compare(left(item, used), "<=", high(item, used))
            )
        if sign.upper() == "IN":
            self.take("(")
            options = [self._operand()]
            while self.peek() == ",":
                self.take()
                options.append(self._operand())
            self.take(")")
            return lambda item, used: any(_compare(left(item, used), "=", option(item, used)) for option in options)
        if sign not in _COMPARISONS:
            raise Unsupported(f"{sign!r} in {self._text}")
        right = self._operand()
        return lambda item, used: _compare(left(item, used), sign, right(item, used))

    def _function(self, name: str) -> _Condition:
        self.take("(")
        path = self.path()
        if name == "begins_with":
            self.take(",")
            prefix = self._operand()
            self.take(")")
            return lambda item, used: _begins(_at(item, used.path(path)), prefix(item, used))
        self.take(")")
        if name == "attribute_exists":
            return lambda item, used: _at(item, used.path(path)) is not None
        return lambda item, used: _at(item, used.path(path)) is None

    def _operand(self) -> _Operand:
        if self.peek().startswith(":"):
            name = self.take()
            return lambda _, used: used.value(name)
        path = self.path()
        return lambda item, used: _at(item, used.path(path))

    def path(self) -> Path:
        parts = [self._name()]
        while self.peek() == ".":
            self.take()
            parts.append(self._name())
        if self.peek() in ("[", "("):
            raise Unsupported(f"{self.peek()!r} in {self._text}")
        return tuple(parts)

    def _name(self) -> str:
        token = self.take()
        if not re.match(r"[#A-Za-z_]", token):
            raise _invalid(f"Syntax error at {token!r}: {self._text}")
        return token

    def update(self) -> tuple[list[tuple[Path, _Operand]], list[Path]]:
        """What is set, and what is removed."""
        sets: list[tuple[Path, _Operand]] = []
        removals: list[Path] = []
        while self.peek():
            clause = self.take().upper()
            if clause not in _CLAUSES:
                raise Unsupported(f"{clause!r} in {self._text}")
            while True:
                path = self.path()
                if clause == "SET":
                    self.take("=")
                    sets.append((path, self._operand()))
                    if self.peek() in ("+", "-"):
                        raise Unsupported(f"arithmetic in {self._text}")
                else:
                    removals.append(path)
                if self.peek() != ",":
                    break
                self.take()
        return sets, removals


@cache
def _condition(text: str) -> _Condition:
    parser = _Parser(text)
    condition = parser.condition()
    parser.end()
    return condition


@cache
def _update(text: str) -> tuple[list[tuple[Path, _Operand]], list[Path]]:
    return _Parser(text).update()


def _paths(text: str, used: _Used) -> list[str]:
    names = []
    for part in text.split(","):
        parser = _Parser(part)
        path = used.path(parser.path())
        parser.end()
        if len(path) > 1:
            raise Unsupported(f"a nested path in {text}")
        names.append(path[0])
    return names


def _updated(item: Item, expression: str, used: _Used) -> Item:
    sets, removals = _update(expression)
    after = dict(item)
    for path, operand in sets:
        value = operand(item, used)
        if value is None:
            raise _invalid("The provided expression refers to an attribute that does not exist in the item")
        _put(after, used.path(path), value)
    for path in removals:
        _put(after, used.path(path), None)
    return after


def _put(item: Item, path: Path, value: Any) -> None:
    """Set or remove what lies at the path, in copies of the maps on the way."""
    holder = item
    for part in path[:-1]:
        inside = holder.get(part, {}).get("M")
        if inside is None:
            raise _invalid("The document path provided in the update expression is invalid for update")
        copied = dict(inside)
        holder[part] = {"M": copied}
        holder = copied
    if value is None:
        holder.pop(path[-1], None)
    else:
        holder[path[-1]] = value


def _at(item: Item, path: Path) -> Any:
    value: Any = item.get(path[0])
    for part in path[1:]:
        if value is None or "M" not in value:
            return None
        value = value["M"].get(part)
    return value


def _compare(left: Any, sign: str, right: Any) -> bool:
    """False for what is missing or of another type, as DynamoDB has it."""
    if left is None or right is None:
        return False
    ((kind, one),) = left.items()
    ((other_kind, two),) = right.items()
    if kind != other_kind:
        return False
    if sign == "=":
        return bool(Decimal(one) == Decimal(two)) if kind == "N" else bool(one == two)
    if kind not in ("S", "N"):
        raise Unsupported(f"{sign} of type {kind}")
    # Strings sort as their UTF-8 does, and so do Python's.
    a, b = (Decimal(one), Decimal(two)) if kind == "N" else (one, two)
    return bool({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[sign])


def _begins(value: Any, prefix: Any) -> bool:
    return bool(value is not None and "S" in value and value["S"].startswith(prefix["S"]))
