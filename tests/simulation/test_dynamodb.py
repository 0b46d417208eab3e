"""Tests that the in-memory tables answer each request like moto."""

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local.emulator.errors import AwsError
from simulation.dynamodb import DynamoDb, Unsupported
from simulation.world import table_properties

NOW = datetime(2025, 1, 15, tzinfo=UTC)
REQUESTS = 120

_CONDITIONS = (
    "attribute_not_exists(#operation)",
    "attribute_exists(#operation)",
    "#generation = :low",
    "#generation <= :high",
    "#operation.id = :id",
    "#operation.id = :id AND #operation.step = :step AND #generation = :low",
    "attribute_not_exists(id) OR #generation <= :high OR (#operation.id = :id AND attribute_not_exists(answer))",
    "NOT #generation BETWEEN :low AND :high",
    "begins_with(#operation.step, :step)",
    "#generation IN (:low, :high)",
)


@pytest.fixture(scope="module")
def moto() -> Iterator[Any]:
    assert os.environ["AWS_ACCESS_KEY_ID"] == "test"
    with mock_aws():
        client = boto3.client("dynamodb", region_name="us-east-1")
        for name, properties in table_properties().items():
            wanted = ("AttributeDefinitions", "KeySchema", "BillingMode")
            more = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
            client.create_table(
                TableName=name, **{key: properties[key] for key in (*wanted, *more) if key in properties}
            )
        yield client


@pytest.mark.parametrize("seed", range(4))
def test_answers_as_moto_does(moto: Any, seed: int) -> None:
    rng = random.Random(seed)
    ours = DynamoDb(table_properties(), lambda: NOW)
    for table in ("containers", "status-logs", "idempotency"):
        for item in moto.scan(TableName=table)["Items"]:
            keys = {key["AttributeName"] for key in table_properties()[table]["KeySchema"]}
            moto.delete_item(TableName=table, Key={name: item[name] for name in keys})
    for number in range(REQUESTS):
        operation, request = _request(rng)
        expected, actual = _moto(moto, operation, request), _ours(ours, operation, request)
        assert actual == expected, f"request {number}: {operation} {request}"


def test_unused_values_are_refused() -> None:
    ours = DynamoDb(table_properties(), lambda: NOW)
    request = {
        "TableName": "containers",
        "Item": {"id": {"S": "1"}},
        "ConditionExpression": "attribute_not_exists(id)",
        "ExpressionAttributeValues": {":unused": {"S": "1"}},
    }
    with pytest.raises(AwsError, match="unused"):
        ours.handle("PutItem", request)


def test_a_repeated_transaction_is_applied_once() -> None:
    ours = DynamoDb(table_properties(), lambda: NOW)
    put = {"TableName": "containers", "Item": {"id": {"S": "1"}}, "ConditionExpression": "attribute_not_exists(id)"}
    request = {"TransactItems": [{"Put": put}], "ClientRequestToken": "token"}
    assert ours.handle("TransactWriteItems", request) == ours.handle("TransactWriteItems", request) == {}
    with pytest.raises(AwsError, match="TransactionCanceled"):
        ours.handle("TransactWriteItems", {**request, "ClientRequestToken": "another"})


@pytest.mark.parametrize("expression", ["a <> :v", "size(a) = :v", "contains(a, :v)", "a[0] = :v"])
def test_unsupported_features_raise_an_error(expression: str) -> None:
    ours = DynamoDb(table_properties(), lambda: NOW)
    request = {
        "TableName": "containers",
        "Item": {"id": {"S": "1"}},
        "ConditionExpression": expression,
        "ExpressionAttributeValues": {":v": {"S": "1"}},
    }
    with pytest.raises((Unsupported, AwsError)):
        ours.handle("PutItem", request)


def test_a_global_index_may_lag() -> None:
    lag = [0]
    ours = DynamoDb(table_properties(), lambda: NOW, lag=lambda: lag[0])
    item = {"id": {"S": "1"}, "live_project_id": {"S": "p"}, "status": {"S": "running"}}
    ours.handle("PutItem", {"TableName": "containers", "Item": item})
    request = {"TableName": "containers", "IndexName": "live-by-project"}
    assert ours.handle("Scan", request)["Items"] == [item]
    lag[0] = 1
    assert ours.handle("Scan", request)["Items"] == []


def _request(rng: random.Random) -> tuple[str, dict[str, Any]]:
    kind = rng.choice(("get", "put", "update", "update", "transact", "transact", "query", "index", "rows", "delete"))
    key = {"id": {"S": f"c{rng.randrange(3)}"}}
    match kind:
        case "get":
            some = {"ProjectionExpression": "generation, live_project_id"} if rng.random() < 0.3 else {}
            return "GetItem", {"TableName": "containers", "Key": key, "ConsistentRead": True, **some}
        case "put":
            return "PutItem", _conditional(rng, {"TableName": "containers", "Item": _item(rng, key)})
        case "update":
            return "UpdateItem", _update(rng, key)
        case "delete":
            return "TransactWriteItems", {"TransactItems": [{"Delete": {"TableName": "containers", "Key": key}}]}
        case "transact":
            items: list[dict[str, Any]] = [{"Update": _update(rng, key)}]
            items.append({"Put": _row(rng, key)})
            if rng.random() < 0.5:
                items.append({"Put": _conditional(rng, {"TableName": "idempotency", "Item": _item(rng, key)})})
            return "TransactWriteItems", {"TransactItems": items}
        case "query":
            return "Query", {
                "TableName": "status-logs",
                "IndexName": "by-seq",
                "KeyConditionExpression": "container_id = :container AND seq > :seq",
                "ExpressionAttributeValues": {":container": key["id"], ":seq": {"N": str(rng.randrange(5))}},
                "ConsistentRead": True,
            }
        case "rows":
            return "Query", {
                "TableName": "status-logs",
                "IndexName": "by-to-status",
                "KeyConditionExpression": "container_id = :container AND #attribute BETWEEN :low AND :high",
                "ExpressionAttributeNames": {"#attribute": "to_rank"},
                "ExpressionAttributeValues": {":container": key["id"], ":low": {"S": "r"}, ":high": {"S": "s#2"}},
                "ScanIndexForward": rng.random() < 0.5,
                "ConsistentRead": True,
            }
        case _:
            return "Query", {
                "TableName": "containers",
                "IndexName": "live-by-project",
                "KeyConditionExpression": "live_project_id = :project",
                "ExpressionAttributeValues": {":project": {"S": "p"}},
            }


def _item(rng: random.Random, key: dict[str, Any]) -> dict[str, Any]:
    item: dict[str, Any] = {**key, "generation": {"N": str(rng.randrange(3))}, "status": {"S": "running"}}
    if rng.random() < 0.6:
        item["operation"] = _operation(rng)
    if rng.random() < 0.5:
        item["live_project_id"] = {"S": "p"}
    return item


def _operation(rng: random.Random) -> dict[str, Any]:
    return {"M": {"id": {"S": rng.choice("ab")}, "step": {"S": rng.choice(("stop", "start"))}}}


def _row(rng: random.Random, key: dict[str, Any]) -> dict[str, Any]:
    seq = rng.randrange(5)
    return {
        "TableName": "status-logs",
        "Item": {
            "container_id": key["id"],
            "transition_time": {"S": f"2025-01-0{seq + 1}"},
            "seq": {"N": str(seq)},
            "to_rank": {"S": f"{rng.choice(('running', 'stopped'))}#{seq}"},
            "from_rank": {"S": f"#{seq}"},
        },
        "ConditionExpression": "attribute_not_exists(container_id)",
    }


def _conditional(rng: random.Random, request: dict[str, Any]) -> dict[str, Any]:
    condition = rng.choice(_CONDITIONS)
    names = {"#operation": "operation", "#generation": "generation"}
    values = {
        ":low": {"N": str(rng.randrange(3))},
        ":high": {"N": str(rng.randrange(3))},
        ":id": {"S": rng.choice("ab")},
        ":step": {"S": "st"},
    }
    used = request.get("UpdateExpression", "") + " " + condition
    more: dict[str, Any] = {"ConditionExpression": condition}
    if rng.random() < 0.7:
        more["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    if kept := {name: value for name, value in names.items() if name in used}:
        more["ExpressionAttributeNames"] = kept
    given = request.get("ExpressionAttributeValues", {})
    if kept_values := given | {name: value for name, value in values.items() if name in condition}:
        more["ExpressionAttributeValues"] = kept_values
    return {**request, **more}


def _update(rng: random.Random, key: dict[str, Any]) -> dict[str, Any]:
    if rng.random() < 0.5:
        request: dict[str, Any] = {
            "UpdateExpression": "SET #generation = :generation, #operation = :operation",
            "ExpressionAttributeValues": {
                ":generation": {"N": str(rng.randrange(3))},
                ":operation": _operation(rng),
            },
        }
    else:
        request = {
            "UpdateExpression": "SET #generation = :generation REMOVE #operation",
            "ExpressionAttributeValues": {":generation": {"N": str(rng.randrange(3))}},
        }
    return _conditional(rng, {"TableName": "containers", "Key": key, **request})


def _ours(ours: DynamoDb, operation: str, request: dict[str, Any]) -> Any:
    try:
        return _essence(ours.handle(operation, request))
    except AwsError as error:
        return error.code, error.extra.get("Item"), error.extra.get("CancellationReasons")


def _moto(moto: Any, operation: str, request: dict[str, Any]) -> Any:
    names = {"GetItem": "get_item", "PutItem": "put_item", "UpdateItem": "update_item", "Query": "query"}
    method = getattr(moto, names.get(operation, "transact_write_items"))
    try:
        return _essence(method(**request))
    except ClientError as error:
        response: dict[str, Any] = dict(error.response)
        with suppress(KeyError):
            # moto omits the message that AWS returns.
            for reason in response["CancellationReasons"]:
                if reason["Code"] != "None":
                    reason.setdefault("Message", "The conditional request failed")
        return response["Error"]["Code"], response.get("Item"), response.get("CancellationReasons")


def _essence(answer: dict[str, Any]) -> dict[str, Any]:
    items = answer.get("Items")
    found = {"Item": answer["Item"]} if "Item" in answer else {}
    if items is not None:
        found["Items"] = items
    return found
