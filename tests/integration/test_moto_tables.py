"""Tests that the emulator's faster DynamoDB tables return the same results as moto's own tables."""

import random
from collections.abc import Iterator
from typing import Any

import emulated
import pytest
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.dynamo_type import DynamoType, Item
from moto.dynamodb.models.table import Table

from local.emulator import Emulator, moto_tables
from local.emulator.ecs import ACCOUNT, REGION

INDEXES = {None: ("id", "at"), "local": ("id", "rank"), "global": ("kind", "rank"), "small": ("kind", "rank")}
COMPARISONS = {"=": 1, "<": 1, "<=": 1, ">": 1, ">=": 1, "BETWEEN": 2}


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    """A client, a table with 60 rows in three partitions and two indexes, and an empty table."""
    with Emulator() as emulator:
        client = emulated.client(emulator, "dynamodb")
        definitions = [
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in {"id": "S", "at": "S", "kind": "S", "rank": "N"}.items()
        ]
        client.create_table(
            TableName="rows",
            AttributeDefinitions=definitions,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=schema(*INDEXES[None]),
            LocalSecondaryIndexes=[index("local")],
            GlobalSecondaryIndexes=[
                index("global"),
                index("small", ProjectionType="INCLUDE", NonKeyAttributes=["note"]),
            ],
        )
        client.create_table(
            TableName="items",
            AttributeDefinitions=definitions[:1],
            BillingMode="PAY_PER_REQUEST",
            KeySchema=schema("id"),
        )
        chance = random.Random(1)
        for _ in range(60):
            row = {"id": text(chance.choice("abc")), "at": text(chance.randrange(1000))}
            # Some rows are not in the indexes.
            row |= {"rank": number(chance.randrange(20))} if chance.random() < 0.8 else {}
            row |= {"kind": text(chance.choice("xy"))} if chance.random() < 0.8 else {}
            row |= {"note": text("in the index"), "more": text("not in the small index")}
            client.put_item(TableName="rows", Item=row)
        yield client


def schema(*names: str) -> list[dict[str, str]]:
    return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]


def index(name: str, **projection: Any) -> dict[str, Any]:
    projection = projection or {"ProjectionType": "ALL"}
    return {"IndexName": name, "KeySchema": schema(*INDEXES[name]), "Projection": projection}


def text(value: object) -> dict[str, str]:
    return {"S": f"{value:03d}" if isinstance(value, int) else str(value)}


def number(value: int) -> dict[str, str]:
    return {"N": str(value)}


def table(name: str) -> Table:
    return dynamodb_backends[ACCOUNT][REGION].tables[name]


@pytest.mark.parametrize("index", INDEXES)
def test_a_query_returns_the_items_of_motos_own_query(dynamodb: Any, index: str | None) -> None:
    chance = random.Random(index)
    key, sort = INDEXES[index]
    found = set()
    for _ in range(200):
        value = DynamoType(text(chance.choice("abcd" if key == "id" else "xyz")))
        comparison, count = chance.choice([(None, 0), *COMPARISONS.items()])
        bounds = sorted(chance.randrange(20 if sort == "rank" else 1000) for _ in range(count))
        values = [DynamoType(number(bound) if sort == "rank" else text(bound)) for bound in bounds]
        conditions = {
            "hash_key_conditions": [(key, value)],
            "range_key_conditions": [(sort, comparison, values)] if comparison else [],
        }
        limit, forward = chance.choice([None, 1, 3, 100]), chance.random() < 0.5
        arguments = (value, comparison, values, limit, None, forward, None, index)
        patched, scanned, _ = table("rows").query(*arguments, **conditions)
        assert (patched, scanned) == moto_tables._query(table("rows"), *arguments, **conditions)[:2]
        found.add(len(patched))
    assert len(found) > 5


@pytest.mark.parametrize("index", INDEXES)
def test_pages_of_a_query_are_complete(dynamodb: Any, index: str | None) -> None:
    key, sort = INDEXES[index]
    options: dict[str, Any] = {
        "TableName": "rows",
        "KeyConditionExpression": f"{key} = :key AND #sort > :low",
        "ExpressionAttributeNames": {"#sort": sort},
        "ExpressionAttributeValues": {
            ":key": text("a" if key == "id" else "x"),
            ":low": number(3) if sort == "rank" else text(100),
        },
        **({"IndexName": index} if index else {}),
    }
    whole = dynamodb.query(**options)["Items"]
    pages = [page["Items"] for page in dynamodb.get_paginator("query").paginate(**options, Limit=2)]
    assert len(whole) > 5
    assert max(map(len, pages)) == 2
    assert [item for page in pages for item in page] == whole


def test_every_type_round_trips(dynamodb: Any) -> None:
    scalars: dict[str, Any] = {
        "string": {"S": "å"},
        "number": {"N": "-1.50"},
        "binary": {"B": b"\x00\xff"},
        "true": {"BOOL": True},
        "null": {"NULL": True},
    }
    sets: dict[str, Any] = {"strings": {"SS": ["a", "b"]}, "numbers": {"NS": ["1", "2"]}, "binaries": {"BS": [b"\x00"]}}
    nested: dict[str, Any] = {"map": {"M": {**scalars, "list": {"L": list(scalars.values())}}}, "empty": {"M": {}}}
    item = {"id": text("types"), **scalars, **sets, **nested}
    dynamodb.put_item(TableName="items", Item=item)
    assert dynamodb.get_item(TableName="items", Key={"id": text("types")})["Item"] == item


def test_a_failed_transaction_changes_nothing(dynamodb: Any) -> None:
    for name in ("changed", "gone"):
        dynamodb.put_item(TableName="items", Item={"id": text(name), "map": {"M": {"count": number(1)}}})
    before = dynamodb.scan(TableName="items")["Items"] + dynamodb.scan(TableName="rows")["Items"]

    def update(name: str, **condition: str) -> dict[str, Any]:
        return {
            "TableName": "items",
            "Key": {"id": text(name)},
            "UpdateExpression": "SET #map.#count = :two, more = :two",
            "ExpressionAttributeNames": {"#map": "map", "#count": "count"},
            "ExpressionAttributeValues": {":two": number(2)},
            **condition,
        }

    writes = [
        {"Update": update("changed")},
        {"Delete": {"TableName": "items", "Key": {"id": text("gone")}}},
        {"Put": {"TableName": "rows", "Item": {"id": text("new"), "at": text(1)}}},
        {"Update": update("new", ConditionExpression="attribute_exists(id)")},
    ]
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(TransactItems=writes)
    assert dynamodb.scan(TableName="items")["Items"] + dynamodb.scan(TableName="rows")["Items"] == before

    dynamodb.transact_write_items(TransactItems=writes[:3])
    (changed,) = [item for item in dynamodb.scan(TableName="items")["Items"] if item["id"] == text("changed")]
    assert (changed["map"], changed["more"]) == ({"M": {"count": number(2)}}, number(2))
    assert "Item" not in dynamodb.get_item(TableName="items", Key={"id": text("gone")})
    assert "Item" in dynamodb.get_item(TableName="rows", Key={"id": text("new"), "at": text(1)})


def test_an_update_creates_and_changes_a_row(dynamodb: Any) -> None:
    for name in ("rows", "items"):
        key = {"id": text("updated")} | ({"at": text(1)} if name == "rows" else {})
        for times in ("1", "2"):
            dynamodb.update_item(
                TableName=name,
                Key=key,
                UpdateExpression="ADD times :one",
                ExpressionAttributeValues={":one": number(1)},
            )
            assert dynamodb.get_item(TableName=name, Key=key)["Item"] == key | {"times": {"N": times}}


def test_rows_that_were_read_are_not_retained(dynamodb: Any) -> None:
    dynamodb.scan(TableName="rows")
    assert Item.instances_tracked == []
