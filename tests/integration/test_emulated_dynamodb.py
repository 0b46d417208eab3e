"""The emulated DynamoDB behaves like AWS where moto does not."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from emulated import World


@pytest.fixture
def table(world: World) -> Any:
    database = world.client("dynamodb")
    database.create_table(
        TableName="rows",
        KeySchema=[
            {"AttributeName": "id", "KeyType": "HASH"},
            {"AttributeName": "at", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            {"AttributeName": "at", "AttributeType": "S"},
            {"AttributeName": "seq", "AttributeType": "N"},
        ],
        LocalSecondaryIndexes=[
            {
                "IndexName": "by_seq",
                "KeySchema": [
                    {"AttributeName": "id", "KeyType": "HASH"},
                    {"AttributeName": "seq", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    return database


KEY = {"id": {"S": "a"}, "at": {"S": "0"}}


def increment(seen: str, **more: Any) -> dict[str, Any]:
    return {
        "Update": {
            "TableName": "rows",
            "Key": KEY,
            "UpdateExpression": "ADD n :one",
            "ConditionExpression": "n = :seen",
            "ExpressionAttributeValues": {":one": {"N": "1"}, ":seen": {"N": seen}},
            **more,
        }
    }


def test_concurrent_transactions_lose_nothing(table: Any) -> None:
    threads, rounds = 16, 12
    table.put_item(TableName="rows", Item={**KEY, "n": {"N": "0"}})
    # The first access creates the client's classes of exceptions. Two threads might create different ones.
    cancelled = table.exceptions.TransactionCanceledException

    def count(thread: int) -> int:
        won = 0
        for turn in range(rounds):
            seen = table.get_item(TableName="rows", Key=KEY, ConsistentRead=True)["Item"]["n"]["N"]
            row = {"id": {"S": "row"}, "at": {"S": f"{thread:02d}-{turn:02d}"}}
            with suppress(cancelled):
                table.transact_write_items(TransactItems=[increment(seen), {"Put": {"TableName": "rows", "Item": row}}])
                won += 1
        return won

    # Threads that change often find what a longer interval only finds in bigger tables.
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(threads) as pool:
            won = sum(pool.map(count, range(threads)))
    finally:
        sys.setswitchinterval(interval)
    rows = table.query(
        TableName="rows",
        KeyConditionExpression="id = :id",
        ExpressionAttributeValues={":id": {"S": "row"}},
        ConsistentRead=True,
    )
    assert int(table.get_item(TableName="rows", Key=KEY)["Item"]["n"]["N"]) == rows["Count"] == won > 0


def test_a_transaction_with_a_token_happens_once(world: World, table: Any) -> None:
    table.put_item(TableName="rows", Item={**KEY, "n": {"N": "0"}})
    world.emulator.faults.add("dynamodb", "TransactWriteItems", "InternalServerError", after_effect=True)
    with pytest.raises(table.exceptions.InternalServerError):
        table.transact_write_items(TransactItems=[increment("0")], ClientRequestToken="t")
    table.transact_write_items(TransactItems=[increment("0")], ClientRequestToken="t")
    assert table.get_item(TableName="rows", Key=KEY)["Item"]["n"] == {"N": "1"}
    with pytest.raises(table.exceptions.IdempotentParameterMismatchException):
        table.transact_write_items(TransactItems=[increment("1")], ClientRequestToken="t")


def test_a_failed_condition_returns_the_item(table: Any) -> None:
    item = {**KEY, "n": {"N": "5"}}
    table.put_item(TableName="rows", Item=item)
    update = increment("9", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    with pytest.raises(table.exceptions.ConditionalCheckFailedException) as failed:
        table.update_item(**update["Update"])
    assert failed.value.response["Item"] == item
    other = {"Put": {"TableName": "rows", "Item": {"id": {"S": "b"}, "at": {"S": "0"}}}}
    with pytest.raises(table.exceptions.TransactionCanceledException) as cancelled:
        table.transact_write_items(TransactItems=[update, other])
    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["ConditionalCheckFailed", "None"]
    assert reasons[0]["Item"] == item


def test_an_index_is_read_between_bounds_in_both_directions(table: Any) -> None:
    for number in range(20):
        item = {"id": {"S": "a"}, "at": {"S": f"{(number * 7) % 20:02d}"}, "seq": {"N": str(number)}}
        table.put_item(TableName="rows", Item=item)
    for forward, expected in [(True, ["8", "9", "10", "11"]), (False, ["11", "10", "9", "8"])]:
        page = table.query(
            TableName="rows",
            IndexName="by_seq",
            KeyConditionExpression="id = :id AND seq BETWEEN :low AND :high",
            ExpressionAttributeValues={":id": {"S": "a"}, ":low": {"N": "8"}, ":high": {"N": "11"}},
            ScanIndexForward=forward,
            ConsistentRead=True,
        )
        assert [item["seq"]["N"] for item in page["Items"]] == expected
