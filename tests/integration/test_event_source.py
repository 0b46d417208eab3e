"""Tests of the local emulation of Lambda's event source mapping, and of the streams of tables in moto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from buses import stack_of
from settling import eventually

from local.emulator import Emulator
from local.event_source import Batches, Mapped, mappings
from local.runtime import FunctionError, FunctionTimeoutError
from local.template import TemplateError

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Reader:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: reader, Runtime: python3.13, Handler: app.handler}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
      StreamSpecification: {StreamViewType: NEW_IMAGE}
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      FunctionName: !Ref Reader
      EventSourceArn: !GetAtt Table.StreamArn
      StartingPosition: TRIM_HORIZON
      BatchSize: 2
      FunctionResponseTypes: [ReportBatchItemFailures]
      FilterCriteria: {Filters: [{Pattern: '{"eventName": ["INSERT"]}'}]}
      # MORE
"""
MAPPED = Mapped("Reader", "longshore-Table", 4, False, ())


def records(*numbers: int) -> list[dict[str, Any]]:
    return [{"eventName": "INSERT", "dynamodb": {"SequenceNumber": str(number)}} for number in numbers]


class Reader:
    """A fake of a function: it returns the given answers, then none. An exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.batches: list[list[int]] = []
        self._answers = list(answers)

    def __call__(self, function: str, event: Any, *, request_id: str | None = None) -> Any:
        assert function == "Reader"
        assert request_id is None
        self.batches.append([int(record["dynamodb"]["SequenceNumber"]) for record in event["Records"]])
        answer = self._answers.pop(0) if self._answers else {"batchItemFailures": []}
        if isinstance(answer, Exception):
            raise answer
        return answer


def failed(*numbers: Any) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": str(number)} for number in numbers]}


def run(mapped: Mapped, *answers: Any) -> list[list[int]]:
    """Process the records 1 to 6, and return the batches."""
    reader = Reader(*answers)
    batches = Batches(mapped, reader)
    batches.add(records(*range(1, 7)))
    for _ in range(20):
        if len(batches):
            batches.step()
    assert not len(batches)
    return reader.batches


@pytest.mark.parametrize(
    ("answers", "batches"),
    [
        ([], [[1, 2, 3, 4], [5, 6]]),
        ([None], [[1, 2, 3, 4], [5, 6]]),
        ([failed(3)], [[1, 2, 3, 4], [3, 4, 5, 6]]),
        ([failed(4, 2)], [[1, 2, 3, 4], [2, 3, 4, 5], [6]]),
        ([failed(1)], [[1, 2, 3, 4], [1, 2, 3, 4], [5, 6]]),
        # The whole batch is repeated.
        ([failed(9)], [[1, 2, 3, 4], [1, 2, 3, 4], [5, 6]]),
        ([{"batchItemFailures": [{}]}], [[1, 2, 3, 4], [1, 2, 3, 4], [5, 6]]),
        ([FunctionError("Reader", "Error", "")], [[1, 2, 3, 4], [1, 2, 3, 4], [5, 6]]),
        ([FunctionTimeoutError()], [[1, 2, 3, 4], [1, 2, 3, 4], [5, 6]]),
    ],
)
def test_batches(answers: list[Any], batches: list[list[int]]) -> None:
    assert run(MAPPED, *answers) == batches


def test_a_batch_is_halved_after_an_error() -> None:
    error = FunctionError("Reader", "Error", "")
    assert run(replace(MAPPED, bisects=True), error, error) == [[1, 2, 3, 4], [1, 2], [1], [2, 3, 4, 5], [6]]


def test_a_filter_leaves_records_out() -> None:
    reader = Reader()
    batches = Batches(replace(MAPPED, patterns=({"eventName": ["INSERT"]},)), reader)
    batches.add([records(1)[0] | {"eventName": "REMOVE"}, *records(2), records(3)[0] | {"eventName": "MODIFY"}])
    batches.step()
    assert reader.batches == [[2]]


def test_the_settings_of_a_template(tmp_path: Path) -> None:
    assert mappings(stack_of(tmp_path, TEMPLATE)) == [
        Mapped("Reader", "longshore-Table", 2, False, ({"eventName": ["INSERT"]},))
    ]


def test_an_unsupported_setting_is_an_error(tmp_path: Path) -> None:
    text = TEMPLATE.replace("# MORE", "TumblingWindowInSeconds: 5")
    with pytest.raises(TemplateError, match="TumblingWindowInSeconds"):
        mappings(stack_of(tmp_path, text))
    text = TEMPLATE.replace("FunctionResponseTypes: [ReportBatchItemFailures]", "")
    with pytest.raises(TemplateError, match="ReportBatchItemFailures"):
        mappings(stack_of(tmp_path, text))


# --- Streams in moto --------------------------------------------------------------------------------------------------


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


def client(emulator: Emulator, service: str) -> Any:
    make: Callable[..., Any] = boto3.client
    return make(
        service,
        endpoint_url=emulator.url,
        region_name="us-east-1",
        aws_access_key_id=emulator.credentials.access_key_id,
        aws_secret_access_key=emulator.credentials.secret_access_key,
    )


def test_the_stream_of_a_table_in_moto(emulator: Emulator) -> None:
    """A transaction that fails leaves no records, and loses none of others."""
    dynamodb = client(emulator, "dynamodb")
    dynamodb.create_table(
        TableName="t",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )

    def put(identity: str, **more: Any) -> dict[str, Any]:
        return {"Put": {"TableName": "t", "Item": {"id": {"S": identity}}, **more}}

    dynamodb.transact_write_items(TransactItems=[put("a"), put("b")])
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException):
        dynamodb.transact_write_items(
            TransactItems=[put("c"), put("a", ConditionExpression="attribute_not_exists(id)")]
        )
    dynamodb.put_item(TableName="t", Item={"id": {"S": "d"}})
    dynamodb.delete_item(TableName="t", Key={"id": {"S": "d"}})
    found = emulator.stream_records("t", 0)
    assert [(each["eventName"], each["dynamodb"]["Keys"]["id"]["S"]) for each in found] == [
        ("INSERT", "a"),
        ("INSERT", "b"),
        ("INSERT", "d"),
        ("REMOVE", "d"),
    ]
    assert emulator.stream_records("t", 3) == found[3:]
    numbers = [int(each["dynamodb"]["SequenceNumber"]) for each in found]
    assert numbers == sorted(set(numbers))
    assert found[0]["dynamodb"]["NewImage"] == {"id": {"S": "a"}}


def test_put_events_delivers_accepted_events() -> None:
    received: list[tuple[dict[str, Any], str]] = []
    with Emulator(on_published=lambda event, bus: received.append((event, bus))) as emulator:
        events = client(emulator, "events")
        events.create_event_bus(Name="other")
        entry = {"Source": "s", "DetailType": "d", "Detail": '{"a": 1}', "Resources": ["r"]}
        answer = events.put_events(
            Entries=[entry, entry | {"Detail": "{"}, entry | {"EventBusName": "other", "Time": 1736937005}]
        )
        assert answer["FailedEntryCount"] == 1
        eventually(lambda: len(received) == 2)
    (first, default), (second, other) = received
    assert (default, other) == ("default", "other")
    assert (first["source"], first["detail-type"], first["detail"], first["resources"]) == ("s", "d", {"a": 1}, ["r"])
    assert second["time"] == "2025-01-15T10:30:05Z"
