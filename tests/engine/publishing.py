"""A stream of history rows, and fakes of the services that publish them, on a virtual clock."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError
from longshore.aws.attributes import serialize_item
from longshore.aws.bus import MOST_ENTRIES, EventBus
from longshore.aws.items import container_item, log_item
from longshore.aws.listing import ContainerListing
from longshore.aws.stream import UndeliveredQueue, records_of
from longshore.domain.errors import LongshoreError
from longshore.domain.facts import facts_of
from longshore.domain.history import append
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger
from longshore.engine.publishing import Publisher

from local.event_source import Batches, Mapped
from local.runtime import FunctionError

START = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
PROJECT = "507f1f77bcf86cd799439033"
STACK = "arn:aws:cloudformation:us-east-1:123456789012:stack/longshore/local"
QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/undelivered"
INSERTS = ({"eventName": ["INSERT"]},)

_CALL_SECONDS = 0.02
_LAMBDA_SECONDS = 30.0  # before Lambda repeats a batch


class CrashError(Exception):
    """The function was killed. Only the fake of Lambda catches it."""


class Clock:
    """A virtual clock."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class Bus:
    """A fake of the EventBridge client. It checks the limits of PutEvents.

    Attributes:
        received: The details of the accepted events, in order.
        calls: For each call, the details that it contained.
        fault: Is called before the effect of each call. Raises an error, or returns the error code of each entry.
        after: Is called after the effect of each call. Raises an error if the reply is lost.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.received: list[dict[str, Any]] = []
        self.calls: list[list[dict[str, Any]]] = []
        self.entries: list[Mapping[str, Any]] = []
        self.fault: Callable[[Sequence[Mapping[str, Any]]], Mapping[int, str]] = lambda _: {}
        self.after: Callable[[], None] = lambda: None

    def put_events(self, *, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803  (botocore's name)
        self._clock.sleep(_CALL_SECONDS)
        details = [json.loads(entry["Detail"]) for entry in Entries]
        self.calls.append(details)
        assert 1 <= len(Entries) <= MOST_ENTRIES
        assert sum(map(size_of, Entries)) < 256 * 1024
        assert len({detail["container_id"] for detail in details}) == len(details)
        codes = self.fault(Entries)
        self.entries += [entry for number, entry in enumerate(Entries) if number not in codes]
        self.received += [detail for number, detail in enumerate(details) if number not in codes]
        self.after()
        results = [{"ErrorCode": codes[n]} if n in codes else {"EventId": str(n)} for n in range(len(Entries))]
        return {"FailedEntryCount": len(codes), "Entries": results}


def size_of(entry: Mapping[str, Any]) -> int:
    """Return the size of an event as PutEvents counts it: 14 bytes for the time, and the texts in UTF-8."""
    texts = [entry["Source"], entry["DetailType"], entry["Detail"], *entry["Resources"]]
    return 14 + sum(len(text.encode()) for text in texts)


class Queue:
    """A fake of the SQS client."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.down = False

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803
        assert QueueUrl == QUEUE
        if self.down:
            raise unavailable("SendMessage")
        self.bodies.append(MessageBody)


class Tables:
    """A fake of the DynamoDB client, with the items of the containers table."""

    def __init__(self) -> None:
        self.items: dict[str, Any] = {}
        self.down = False
        self.reads = 0

    def batch_get_item(self, *, RequestItems: Any) -> dict[str, Any]:  # noqa: N803
        if self.down:
            raise unavailable("BatchGetItem")
        self.reads += 1
        ((table, request),) = RequestItems.items()
        ids = [key["id"]["S"] for key in request["Keys"]]
        assert 1 <= len(ids) <= 100
        return {"Responses": {table: [self.items[each] for each in ids if each in self.items]}}


def unavailable(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "InternalFailure", "Message": ""}}, operation)


def lost() -> None:
    raise ConnectionClosedError(endpoint_url="https://events.us-east-1.amazonaws.com")


class Scene:
    """Containers, the stream of their rows, Lambda, and the function."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.bus = Bus(self.clock)
        self.queue = Queue()
        self.tables = Tables()
        self.failures: list[tuple[str, LongshoreError]] = []
        self.time_left: Callable[[], bool] = lambda: True
        self.containers: dict[str, Container] = {}
        self.rows: list[dict[str, Any]] = []
        self.batches = Batches(Mapped("publish", "status-logs", 100, True, INSERTS), self._invoke)
        self.publisher = Publisher(
            ContainerListing(self.tables, "containers", self.clock, self._fail),  # type: ignore[arg-type]
            EventBus(self.bus, "default", STACK),  # type: ignore[arg-type]
            UndeliveredQueue(self.queue, QUEUE),
            self.clock,
            lambda: self.time_left(),
            self._fail,
        )

    def add(self, number: int) -> str:
        """Add a container. Returns its id."""
        container = Container(
            id=f"{number:024x}",
            project_id=PROJECT,
            name=f"web-{number}",
            labels={"env": "dev"},
            status=Status.STOPPED,
            status_since=START,
            runtime=Runtime(cluster="default", task_definition="web", launch_type=LaunchType.EC2),
            created_at=START,
            updated_at=START,
        )
        self.containers[container.id] = container
        self.tables.items[container.id] = container_item(container)
        return container.id

    def row(self, container_id: str, **metadata: Any) -> dict[str, Any]:
        """Append a row to the history of a container and to the stream. Returns its record."""
        before = self.containers[container_id]
        goal = Status.RUNNING if before.status is Status.STOPPED else Status.STOPPED
        change = Change(goal, self.clock.now(), Trigger.USER, 1200, *facts_of({"command": "start", **metadata}))
        log_id = f"e{len(self.rows) + 1:023x}"
        after, entry = append(before, change, log_id, self.clock.now())
        self.containers[container_id] = after
        self.tables.items[container_id] = container_item(after)
        record = self.record(log_item(entry))
        self.batches.add([record])
        return record

    def record(self, image: dict[str, Any], event_name: str = "INSERT") -> dict[str, Any]:
        """Return the record of an item in the stream."""
        self.rows.append(image)
        return {
            "eventID": f"{len(self.rows):032x}",
            "eventName": event_name,
            "eventSource": "aws:dynamodb",
            "dynamodb": {
                "ApproximateCreationDateTime": int(self.clock.now().timestamp()),
                "Keys": {name: image[name] for name in ("container_id", "transition_time") if name in image},
                "NewImage": image,
                "SequenceNumber": f"{len(self.rows):021d}",
                "StreamViewType": "NEW_IMAGE",
            },
        }

    def drain(self) -> None:
        """Let Lambda invoke the function until the stream is empty."""
        while len(self.batches):
            if not self.batches.step():
                self.clock.sleep(_LAMBDA_SECONDS)

    def publish(self, *records: Mapping[str, Any]) -> str | None:
        """Invoke the function with records. Returns the sequence number of the first one to retry."""
        return self.publisher.publish(records_of({"Records": records})).failed

    def _invoke(self, function: str, event: Any, *, request_id: str | None = None) -> Any:
        assert request_id is None
        try:
            failed = self.publish(*json.loads(json.dumps(event))["Records"])
        except CrashError:
            raise FunctionError(function, "Runtime.ExitError", "killed") from None
        return {"batchItemFailures": [] if failed is None else [{"itemIdentifier": failed}]}

    def _fail(self, name: str, error: LongshoreError) -> None:
        self.failures.append((name, error))


def damaged(**changes: Any) -> dict[str, Any]:
    """Return the image of a row, with changed attributes; None removes one."""
    row = {
        "id": "5a" * 12,
        "container_id": "dd" * 12,
        "project_id": PROJECT,
        "to_status": "running",
        "transition_time": "2025-01-15T10:30:00.000Z",
        "created_at": "2025-01-15T10:30:00.000Z",
        "triggered_by": "user",
        "seq": 1,
    }
    return serialize_item({name: value for name, value in (row | changes).items() if value is not None})


def published_in_order(received: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], int]:
    """Check that the rows of each container arrived in order, and that repeated ones are equal.

    Returns:
        How often each row arrived, by container and number.
    """
    newest: dict[str, int] = {}
    known: dict[tuple[str, int], str] = {}
    counts: dict[tuple[str, int], int] = {}
    for detail in received:
        container, seq = detail["container_id"], detail["seq"]
        # A row may be repeated, but no row may arrive before the row before it.
        assert seq <= newest.get(container, 0) + 1, f"row {seq} of {container} after row {newest.get(container, 0)}"
        newest[container] = max(newest.get(container, 0), seq)
        assert known.setdefault((container, seq), detail["id"]) == detail["id"]
        counts[container, seq] = counts.get((container, seq), 0) + 1
    return counts


def chance(seed: int, probability: float) -> Callable[[], bool]:
    """Return a function that returns true with this probability, in the same sequence for the same seed."""
    choose = random.Random(seed)
    return lambda: choose.random() < probability
