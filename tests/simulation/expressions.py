"""A parser of DynamoDB's condition, update and projection expressions, by the grammar in its developer guide."""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from local.emulator.errors import AwsError

Item = dict[str, Any]  # in DynamoDB's JSON: {"id": {"S": "…"}}
Path = tuple[str, ...]

_TOKEN = re.compile(r"\s*(?:(?P<word>[#:]?[A-Za-z_][\w-]*)|(?P<sign><>|<=|>=|[=<>(),.\[\]+-]))")
_COMPARISONS = {"=", "<", "<=", ">", ">="}
_FUNCTIONS = {"attribute_exists", "attribute_not_exists", "begins_with"}
_CLAUSES = {"SET", "REMOVE"}


class Unsupported(BaseException):
    """The code under test uses a feature of AWS that is not emulated."""


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


class Used:
    """The placeholders of a request, and which of them its expressions use. DynamoDB refuses unused placeholders."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.names: dict[str, str] = request.get("ExpressionAttributeNames", {})
        self.values: dict[str, Any] = request.get("ExpressionAttributeValues", {})
        text = " ".join(str(value) for name, value in request.items() if name.endswith("Expression"))
        self._words = {match["word"] for match in _TOKEN.finditer(text) if match["word"]}

    def check(self) -> None:
        """Raise AwsError if a placeholder is unused or undefined."""
        given = self.names.keys() | self.values.keys()
        if unused := given - self._words:
            raise invalid(f"Value provided in ExpressionAttribute unused in expressions: {sorted(unused)}")
        if missing := {word for word in self._words if word[0] in "#:"} - given:
            raise invalid(f"An expression uses what is not defined: {sorted(missing)}")

    def path(self, path: Path) -> Path:
        try:
            return tuple(self.names[part] if part[0] == "#" else part for part in path)
        except KeyError:
            raise invalid(f"An expression attribute name used in the document path is not defined: {path}") from None

    def value(self, name: str) -> Any:
        if name not in self.values:
            raise invalid(f"An expression attribute value used in expression is not defined: {name}")
        return self.values[name]


Condition = Callable[[Item, Used], bool]
_Operand = Callable[[Item, Used], Any]


class _Parser:
    """Parses condition, update and projection expressions."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise invalid(f"Syntax error: {text}")
            self._tokens.append(match["word"] or match["sign"])
            position = match.end()
        self._at = 0

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise invalid(f"Syntax error at {self._tokens[self._at]}: {self._text}")

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if not token or (wanted is not None and token.upper() != wanted):
            raise invalid(f"Syntax error at {token!r}: {self._text}")
        self._at += 1
        return token

    def condition(self) -> Condition:
        parts = [self._all_of()]
        while self.peek().upper() == "OR":
            self.take()
            parts.append(self._all_of())
        return parts[0] if len(parts) == 1 else lambda item, used: any(part(item, used) for part in parts)

    def _all_of(self) -> Condition:
        parts = [self._one()]
        while self.peek().upper() == "AND":
            self.take()
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda item, used: all(part(item, used) for part in parts)

    def _one(self) -> Condition:
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

    def _function(self, name: str) -> Condition:
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
            raise invalid(f"Syntax error at {token!r}: {self._text}")
        return token

    def update(self) -> tuple[list[tuple[Path, _Operand]], list[Path]]:
        """Parse an update expression. Returns the assignments and the removed paths."""
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
def parse_condition(text: str) -> Condition:
    parser = _Parser(text)
    condition = parser.condition()
    parser.end()
    return condition


@cache
def _update(text: str) -> tuple[list[tuple[Path, _Operand]], list[Path]]:
    return _Parser(text).update()


def projected(text: str, used: Used) -> list[str]:
    names = []
    for part in text.split(","):
        parser = _Parser(part)
        path = used.path(parser.path())
        parser.end()
        if len(path) > 1:
            raise Unsupported(f"a nested path in {text}")
        names.append(path[0])
    return names


def updated(item: Item, expression: str, used: Used) -> Item:
    sets, removals = _update(expression)
    after = dict(item)
    for path, operand in sets:
        value = operand(item, used)
        if value is None:
            raise invalid("The provided expression refers to an attribute that does not exist in the item")
        _put(after, used.path(path), value)
    for path in removals:
        _put(after, used.path(path), None)
    return after


def _put(item: Item, path: Path, value: Any) -> None:
    """Set or remove the value at a path, copying the maps on the way."""
    holder = item
    for part in path[:-1]:
        inside = holder.get(part, {}).get("M")
        if inside is None:
            raise invalid("The document path provided in the update expression is invalid for update")
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
    """Compare two values. Returns False for missing values and for different types, like DynamoDB."""
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
    # Strings sort by their UTF-8 bytes, which is the order of Python's strings.
    a, b = (Decimal(one), Decimal(two)) if kind == "N" else (one, two)
    return bool({"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[sign])


def _begins(value: Any, prefix: Any) -> bool:
    return bool(value is not None and "S" in value and value["S"].startswith(prefix["S"]))
