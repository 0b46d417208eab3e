"""Conversion between plain values and DynamoDB attribute values.

Supports strings, integers, booleans, null, lists and maps, which are all the types that the library stores. boto3
supports every type, but importing it takes a tenth of a function's start.
"""

from collections.abc import Mapping
from typing import Any


def serialize(value: Any) -> Any:
    """Convert a plain value to an attribute value, such as `{"S": "running"}`.

    Raises:
        TypeError: The type is not supported.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int():
            return {"N": str(value)}
        case list():
            return {"L": [serialize(item) for item in value]}
        case dict():
            return {"M": serialize_item(value)}
        case _:
            raise TypeError(f"a {type(value).__name__} is not kept")


def serialize_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Convert all attributes of an item, or all members of a map.

    Raises:
        TypeError: The type of a value is not supported.
    """
    return {name: serialize(value) for name, value in item.items()}


def deserialize(value: Mapping[str, Any]) -> Any:
    """Convert an attribute value to a plain value.

    Raises:
        TypeError: The type is not supported.
        ValueError: A number is not an integer.
    """
    for kind, content in value.items():
        if kind == "S":
            return content
        if kind == "N":
            return int(content)
        if kind == "M":
            return deserialize_item(content)
        if kind == "L":
            return [deserialize(item) for item in content]
        if kind == "BOOL":
            return content
        if kind == "NULL":
            return None
    raise TypeError(f"{list(value)} is not kept")


def deserialize_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Convert all attributes of an item, or all members of a map.

    Raises:
        TypeError: The type of a value is not supported.
        ValueError: A number is not an integer.
    """
    try:
        # Most maps contain only strings. Converting them this way takes a third of the time.
        return {name: value["S"] for name, value in item.items()}
    except KeyError:
        return {name: deserialize(value) for name, value in item.items()}
