"""Faster versions of methods of moto's DynamoDB tables, for histories of thousands of rows.

A query in moto sorts and measures every row of the table, and a transaction copies all rows. Here a query reads only
the rows that its key condition selects, with the attributes that the index contains. A copy of a table shares the
rows and the records of the stream, which are replaced but never changed. To convert an attribute, moto tries each of
DynamoDB's ten types; here only the actual type is converted.
"""

import base64
import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from botocore.model import StructureShape
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.comparisons import get_comparison_func
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import GlobalSecondaryIndex, Table

T = TypeVar("T")
_INDEX_NAME = 7
_HashConditions = list[tuple[str, DynamoType]]
_RangeConditions = list[tuple[str, str, list[DynamoType]]]

_query = Table.query
_update_item = DynamoDBBackend.update_item
_structure = BaseJSONSerializer._serialize_type_structure  # noqa: SLF001


@contextmanager
def patched() -> Iterator[None]:
    """Replace the methods while the context is open. Only one request may run at a time."""
    Table.query = _query_of_selected
    Table.__deepcopy__ = _copy_that_shares_rows
    DynamoDBBackend.update_item = _update_of_a_copy
    BaseJSONSerializer._serialize_type_structure = _structure_or_attribute  # noqa: SLF001
    try:
        yield
    finally:
        Table.query = _query
        del Table.__deepcopy__
        DynamoDBBackend.update_item = _update_item
        BaseJSONSerializer._serialize_type_structure = _structure  # noqa: SLF001


def _query_of_selected(
    self: Table,
    *args: Any,
    hash_key_conditions: _HashConditions | None = None,
    range_key_conditions: _RangeConditions | None = None,
    **options: Any,
) -> Any:
    table = self
    if hash_key_conditions:
        table = _shallow(self)
        rows = _selected(self, hash_key_conditions, range_key_conditions or [])
        # moto passes the name of the index by position.
        index_name = args[_INDEX_NAME] if len(args) > _INDEX_NAME else options.get("index_name")
        index = next((index for index in self.global_indexes if index.name == index_name), None)
        if index is not None and index.projection.get("ProjectionType") in ("KEYS_ONLY", "INCLUDE"):
            rows = _entries(self, index, rows)
            # moto would convert each row once per attribute of the index.
            table.global_indexes = [_without_projection(each) for each in self.global_indexes]
        table.items = _arranged(self, rows)
    return _query(
        table,
        *args,
        hash_key_conditions=hash_key_conditions,
        range_key_conditions=range_key_conditions,
        **options,
    )


def _selected(table: Table, equal: _HashConditions, ranges: _RangeConditions) -> Iterator[Item]:
    """Return the rows that satisfy the key condition, in any order."""
    keys = dict(equal)
    partition = keys.pop(table.hash_key_attr, None)
    tests = [
        (name, get_comparison_func(comparison), [value.cast_value for value in values])
        for name, comparison, values in [*((name, "=", [value]) for name, value in keys.items()), *ranges]
    ]
    for item in _rows(table, partition):
        if all(
            (attribute := item.attrs.get(name)) is not None and compare(attribute.cast_value, *values)
            for name, compare, values in tests
        ):
            yield item


def _entries(table: Table, index: GlobalSecondaryIndex, rows: Iterable[Item]) -> Iterator[Item]:
    """Return the rows with only the attributes that an index contains."""
    kept = {*table.table_key_attrs, *index.schema_key_attrs, *index.projection.get("NonKeyAttributes", [])}
    for row in rows:
        entry = _shallow(row)
        entry.attrs = {name: value for name, value in row.attrs.items() if name in kept}
        yield entry


def _without_projection(index: GlobalSecondaryIndex) -> GlobalSecondaryIndex:
    other = _shallow(index)
    other.projection = {}
    return other


def _rows(table: Table, partition: DynamoType | None) -> Iterator[Item]:
    """Return the rows of one partition, or of all partitions."""
    found = table.items.values() if partition is None else [table.items[partition]] if partition in table.items else []
    for entry in found:
        if table.has_range_key:
            yield from entry.values()
        else:
            yield entry


def _arranged(table: Table, rows: Iterator[Item]) -> dict[DynamoType, Any]:
    """Return rows in the structure of a table."""
    if not table.has_range_key:
        return {row.hash_key: row for row in rows}
    items: dict[DynamoType, Any] = defaultdict(dict)
    for row in rows:
        items[row.hash_key][row.range_key] = row
    return items


def _copy_that_shares_rows(self: Table, memo: dict[int, Any]) -> Table:
    other = _shallow(self)
    memo[id(self)] = other
    for name, value in vars(self).items():
        if name not in ("items", "stream_shard"):
            setattr(other, name, copy.deepcopy(value, memo))
    if self.stream_shard is not None:
        other.stream_shard = _shallow(self.stream_shard)
        other.stream_shard.table = other
        other.stream_shard.items = list(self.stream_shard.items)
    other.items = defaultdict(dict)
    for key, entry in self.items.items():
        other.items[key] = dict(entry) if self.has_range_key else entry
    return other


def _update_of_a_copy(self: DynamoDBBackend, table_name: str, key: dict[str, Any], *args: Any, **options: Any) -> Item:
    table = self.get_table(table_name)
    if set(table.table_key_attrs) <= key.keys():
        hash_key, range_key = self.get_keys_value(table, key)
        item = copy.deepcopy(table.get_item(hash_key, range_key))
        if item is not None:
            (table.items[hash_key] if table.has_range_key else table.items)[range_key or hash_key] = item
    return _update_item(self, table_name, key, *args, **options)


def _structure_or_attribute(
    self: BaseJSONSerializer, serialized: dict[str, Any], value: Any, shape: StructureShape, key: str
) -> None:
    if shape.name == "AttributeValue" and isinstance(value, dict):
        serialized[key] = _on_the_wire(value)
    else:
        _structure(self, serialized, value, shape, key)


def _on_the_wire(value: dict[str, Any]) -> dict[str, Any]:
    """Return an attribute value as DynamoDB JSON. moto stores binary values as bytes."""
    ((kind, content),) = value.items()
    match kind:
        case "M":
            return {kind: {name: _on_the_wire(member) for name, member in content.items()}}
        case "L":
            return {kind: [_on_the_wire(member) for member in content]}
        case "B":
            return {kind: base64.b64encode(content).decode()}
        case "BS":
            return {kind: [base64.b64encode(member).decode() for member in content]}
        case _:
            return value


def _shallow(model: T) -> T:
    """Return a shallow copy of an object. `copy.copy` would register each copy in moto."""
    other: T = object.__new__(type(model))
    vars(other).update(vars(model))
    return other
