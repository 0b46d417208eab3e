"""Conversion of DynamoDB items to plain Python values."""

from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer


class _Deserializer(TypeDeserializer):
    def _deserialize_n(self, value: str) -> int | Decimal:
        number = Decimal(value)
        return int(number) if number == number.to_integral_value() else number


_deserialize = _Deserializer().deserialize


def plain(item: Any) -> dict[str, Any]:
    """Return the item's values without DynamoDB types. Whole numbers become integers."""
    return {name: _deserialize(value) for name, value in item.items()}
