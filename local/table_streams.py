"""Streams of tables, in moto and in DynamoDB Local."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local.stack import LocalStack

Record = Mapping[str, Any]


def open_stream(stack: LocalStack, table: str) -> MotoStream | DynamoDbStream:
    """Return the stream of a table of a local stack, from the current end on."""
    if stack.dynamodb_url == stack.emulator.url:
        return MotoStream(partial(stack.emulator.stream_records, table))
    arn = stack.client("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"]
    return DynamoDbStream(stack.client("dynamodbstreams"), arn)


class MotoStream:
    """The stream of a table in moto, from the current end on. Its own API loses records when a transaction fails.

    Args:
        read_from: Returns the records from a position on.
    """

    def __init__(self, read_from: Callable[[int], Sequence[Record]]) -> None:
        self._read_from = read_from
        self._position = len(read_from(0))

    def read(self) -> list[Record]:
        """Return the records since the last call, as Lambda passes them to a function."""
        found = list(self._read_from(self._position))
        self._position += len(found)
        return found


class DynamoDbStream:
    """The stream of a table with the API of DynamoDB Streams, from the current end on.

    Args:
        streams: A client of DynamoDB Streams.
        arn: The ARN of the stream.
    """

    # The development environment has no types for DynamoDB Streams.
    def __init__(self, streams: Any, arn: str) -> None:
        self._streams = streams
        self._arn = arn
        # By shard, in their order: the next iterator, or None at the end of the shard.
        self._iterators: dict[str, str | None] = {}
        self._find_shards("LATEST")

    def read(self) -> list[Record]:
        """Return the records since the last call, as Lambda passes them to a function."""
        found: list[Record] = []
        for shard, iterator in list(self._iterators.items()):
            if iterator is None:
                continue
            answer = self._streams.get_records(ShardIterator=iterator)
            self._iterators[shard] = answer.get("NextShardIterator")
            found += map(_record, answer["Records"])
        if not any(self._iterators.values()):
            self._find_shards("TRIM_HORIZON")
        return found

    def _find_shards(self, start: str) -> None:
        request = {"StreamArn": self._arn}
        while True:
            described = self._streams.describe_stream(**request)["StreamDescription"]
            for shard in described["Shards"]:
                identity = shard["ShardId"]
                if identity not in self._iterators:
                    answer = self._streams.get_shard_iterator(
                        StreamArn=self._arn, ShardId=identity, ShardIteratorType=start
                    )
                    self._iterators[identity] = answer.get("ShardIterator")
            if "LastEvaluatedShardId" not in described:
                return
            request["ExclusiveStartShardId"] = described["LastEvaluatedShardId"]


def _record(record: Record) -> Record:
    written = record["dynamodb"]
    time = written["ApproximateCreationDateTime"]
    seconds = time.timestamp() if isinstance(time, datetime) else time
    return {**record, "dynamodb": {**written, "ApproximateCreationDateTime": seconds}}
