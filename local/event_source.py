"""An emulation of Lambda's event source mapping of a DynamoDB stream.

A batch is repeated until it succeeds, from the first record that the function reports as failed, or as a whole if the
function fails. Later records wait. Unlike on AWS, there is one batch at a time for all shards, and no record becomes
too old.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from local.concurrency import ThrottledError
from local.invocations import Invoke
from local.rules import matcher
from local.runtime import FunctionError, FunctionTimeoutError
from local.template import Stack, TemplateError

LOG = logging.getLogger("local.event_source")

Record = Mapping[str, Any]

_POLL_SECONDS = 0.1
_RETRY_SECONDS = 1.0
_SUPPORTED = {
    "FunctionName",
    "EventSourceArn",
    "StartingPosition",
    "BatchSize",
    "ParallelizationFactor",
    "FunctionResponseTypes",
    "BisectBatchOnFunctionError",
    "FilterCriteria",
    "MaximumRecordAgeInSeconds",
    "DestinationConfig",
}


class Source(Protocol):
    """A stream."""

    def read(self) -> list[Record]:
        """Return the records since the last call, as Lambda passes them to a function."""


@dataclass(frozen=True)
class Mapped:
    """The settings of an AWS::Lambda::EventSourceMapping: the function by logical id, and the table by name."""

    function: str
    table: str
    batch_size: int
    bisects: bool
    patterns: tuple[Mapping[str, Any], ...]

    def selects(self, record: Record) -> bool:
        """Return whether the function receives the record."""
        return not self.patterns or any(matcher(pattern).matches_event(record) for pattern in self.patterns)


def mappings(stack: Stack) -> list[Mapped]:
    """Return the event source mappings of a template.

    Raises:
        TemplateError: A mapping uses a feature that is not supported locally.
    """
    return [_mapped(stack, properties) for properties in stack.of_type("AWS::Lambda::EventSourceMapping").values()]


def _mapped(stack: Stack, properties: Mapping[str, Any]) -> Mapped:
    if unknown := properties.keys() - _SUPPORTED:
        raise TemplateError(f"{', '.join(sorted(unknown))} of an event source mapping is not supported locally")
    if properties.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
        raise TemplateError("an event source mapping without ReportBatchItemFailures is not supported locally")
    functions = {function.name: function.logical_id for function in stack.functions.values()}
    filters = properties.get("FilterCriteria", {}).get("Filters", [])
    return Mapped(
        function=functions[properties["FunctionName"]],
        table=properties["EventSourceArn"].split("/")[1],
        batch_size=int(properties.get("BatchSize", 100)),
        bisects=bool(properties.get("BisectBatchOnFunctionError")),
        patterns=tuple(json.loads(each["Pattern"]) for each in filters),
    )


class Batches:
    """The batches of one shard, in order."""

    def __init__(self, mapped: Mapped, invoke: Invoke) -> None:
        self._mapped = mapped
        self._invoke = invoke
        self._size = mapped.batch_size
        self._waiting: list[Record] = []

    def add(self, records: Iterable[Record]) -> None:
        """Add records to the end of the shard. Those that the filters do not select are left out."""
        self._waiting += [record for record in records if self._mapped.selects(record)]

    def __len__(self) -> int:
        return len(self._waiting)

    def step(self) -> bool:
        """Invoke the function with the first batch. Returns whether it has processed all records of the batch."""
        batch = self._waiting[: self._size]
        done = self._process(batch)
        del self._waiting[:done]
        return done == len(batch)

    def _process(self, batch: Sequence[Record]) -> int:
        """Return how many records do not have to be repeated."""
        try:
            answer = self._invoke(self._mapped.function, {"Records": list(batch)})
        except ThrottledError:
            return 0
        except (FunctionError, FunctionTimeoutError) as error:
            LOG.warning("%s failed and is retried: %s", self._mapped.function, error)
            if self._mapped.bisects:
                self._size = max(1, len(batch) // 2)
            return 0
        self._size = self._mapped.batch_size
        failures = (answer or {}).get("batchItemFailures") or []
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        try:
            return min((numbers.index(failure["itemIdentifier"]) for failure in failures), default=len(batch))
        except (KeyError, ValueError):
            # As on AWS, an identifier that is not in the batch fails the whole batch.
            return 0


class EventSource:
    """A thread that passes the records of a stream to a function. A context manager."""

    def __init__(self, mapped: Mapped, source: Source, invoke: Invoke) -> None:
        self._source = source
        self._batches = Batches(mapped, invoke)
        self._name = mapped.function
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"local-stream-{self._name}", daemon=True)

    def __enter__(self) -> Self:
        """Start to read the stream."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to read the stream, and wait for the function if it runs."""
        self._stopping.set()
        self._thread.join()

    def _work(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = _POLL_SECONDS
            try:
                self._batches.add(self._source.read())
                while len(self._batches) and not self._stopping.is_set():
                    if not self._batches.step():
                        pause = _RETRY_SECONDS
                        break
            except Exception:  # any error: later records have to be processed
                LOG.exception("The stream of %s cannot be processed", self._name)
                pause = _RETRY_SECONDS
