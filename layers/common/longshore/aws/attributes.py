"""DynamoDB's typed values and plain ones: text, whole numbers, booleans, null, lists and maps. Nothing else is kept.

boto3 has the same for every type there is. Importing it costs a function a tenth of its start, and this is all of it
that the library needs.
"""

from collections.abc import Mapping
from typing import Any


def serialize(value: Any) -> Any:
    """The plain value as DynamoDB takes it, such as `{"S": "running"}`. TypeError for what is not kept."""
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
    """All attributes of an item, or all members of a map."""
    return {name: serialize(value) for name, value in item.items()}


def deserialize(value: Mapping[str, Any]) -> Any:
    """The plain value of what DynamoDB gives. TypeError for a type that is not kept, ValueError for a fraction."""
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
    """All attributes of an item, or all members of a map."""
    try:
        # Of text alone, as most maps are, it takes a third of the time.
        return {name: value["S"] for name, value in item.items()}
    except KeyError:
        return {name: deserialize(value) for name, value in item.items()}
