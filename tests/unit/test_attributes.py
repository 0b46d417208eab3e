"""Tests that values are converted to and from DynamoDB's format exactly as boto3 converts them."""

from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from longshore.aws.attributes import deserialize, deserialize_item, serialize, serialize_item


class Kind(StrEnum):
    ONE = "one"


VALUES: list[Any] = [
    "",
    "text",
    "é\n\x00",
    0,
    -1,
    2**53,
    10**30,
    True,
    False,
    None,
    [],
    {},
    ["a", 1, None, [True], {"b": []}],
    {"a": "text", "b": "more"},
    {"a": "text", "b": 1, "c": {"d": {"e": ["f", False]}}},
    Kind.ONE,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_round_trip(value: Any) -> None:
    typed = serialize(value)
    assert typed == TypeSerializer().serialize(value)
    back = deserialize(typed)
    assert back == value
    assert type(back) is type(value) or isinstance(value, Kind)
    assert back == TypeDeserializer().deserialize(typed)


def test_an_item_round_trip() -> None:
    item = {f"attribute {number}": value for number, value in enumerate(VALUES)}
    assert deserialize_item(serialize_item(item)) == item
    assert deserialize_item({}) == serialize_item({}) == {}


@pytest.mark.parametrize(
    "value",
    [1.5, Decimal(1), b"bytes", {"a"}, object(), (1,), [1.5], {"a": b"b"}],
    ids=lambda value: type(value).__name__,
)
def test_an_unsupported_value_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError, match="is not kept"):
        serialize(value)


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ({"B": b"x"}, TypeError),
        ({"SS": ["a"]}, TypeError),
        ({"NS": ["1"]}, TypeError),
        ({"BS": [b"x"]}, TypeError),
        ({}, TypeError),
        ({"M": {"a": {"S": "text"}, "b": {"B": b"x"}}}, TypeError),
        ({"N": "1.5"}, ValueError),
        ({"L": [{"N": "1e3"}]}, ValueError),
    ],
)
def test_an_unsupported_value_is_not_read(typed: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        deserialize(typed)
