"""Tests of the publisher: every row is published in order, at least once, or is kept in the queue."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from longshore.aws.stream import records_of

from engine.publishing import (
    PROJECT,
    STACK,
    START,
    CrashError,
    Scene,
    chance,
    damaged,
    lost,
    published_in_order,
    size_of,
    unavailable,
)

ROWS = 10_000
CONTAINERS = 150


@pytest.fixture
def scene() -> Scene:
    return Scene()


# --- Faults -----------------------------------------------------------------------------------------------------------


def history(scene: Scene) -> None:
    """Write ROWS rows, which takes two hours. Lambda invokes the function meanwhile."""
    choose = random.Random(4)
    ids = [scene.add(number) for number in range(CONTAINERS)]
    written = 0
    while written < ROWS or len(scene.batches):
        while written < ROWS and scene.clock.now() >= START + timedelta(hours=2) * written / ROWS:
            scene.row(choose.choice(ids[: 1 + written % CONTAINERS]))
            written += 1
        if not scene.batches.step():
            scene.clock.sleep(30)
        scene.clock.sleep(0.5)


def test_an_outage_of_an_hour_with_crashes_and_partial_failures(scene: Scene) -> None:
    """EventBridge fails from the tenth minute on, for an hour. Other calls fail in part, or lose their reply."""
    refuses, loses, crashes = chance(1, 0.03), chance(2, 0.02), chance(3, 0.02)
    injected = dict.fromkeys(("outage", "refused", "lost", "crashed"), 0)

    def fault(entries: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        if timedelta(minutes=10) <= scene.clock.now() - START < timedelta(minutes=70):
            injected["outage"] += 1
            raise unavailable("PutEvents")
        refused = {number: "ThrottlingException" for number in range(len(entries)) if refuses()}
        injected["refused"] += len(refused)
        return refused

    def after() -> None:
        if crashes():
            injected["crashed"] += 1
            raise CrashError
        if loses():
            injected["lost"] += 1
            lost()

    scene.bus.fault, scene.bus.after = fault, after
    history(scene)
    counts = published_in_order(scene.bus.received)
    assert counts.keys() == {
        (container.id, seq) for container in scene.containers.values() for seq in range(1, container.log_count + 1)
    }
    assert len(counts) == ROWS
    assert {detail["id"] for detail in scene.bus.received} == {row["id"]["S"] for row in scene.rows}
    assert scene.queue.bodies == []
    # Every kind of fault occurred, and crashes repeated rows.
    assert all(number >= 20 for number in injected.values()), injected
    assert max(counts.values()) > 1


@pytest.mark.parametrize("fault", ["crash", "lost"])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_crash_or_a_lost_reply_at_every_call(scene: Scene, fault: str, at: int) -> None:
    ids = [scene.add(number) for number in range(5)]
    for number in range(40):
        scene.row(ids[number * 3 % 5])
    calls = []

    def after() -> None:
        calls.append(1)
        if len(calls) == at:
            if fault == "crash":
                raise CrashError
            lost()

    scene.bus.after = after
    scene.drain()
    assert len(published_in_order(scene.bus.received)) == 40
    assert len(scene.bus.received) > 40


def test_a_refused_event_is_repeated_before_later_rows(scene: Scene) -> None:
    first, second = scene.add(1), scene.add(2)
    records = [scene.row(first), scene.row(second), scene.row(first), scene.row(second)]
    refused = iter([{0: "ThrottlingException"}])
    scene.bus.fault = lambda _: next(refused, {})
    assert scene.publish(*records) is None
    assert [[(each["container_id"], each["seq"]) for each in call] for call in scene.bus.calls] == [
        [(first, 1), (second, 1)],
        [(first, 1)],
        [(first, 2), (second, 2)],
    ]


def test_the_first_event_that_stays_refused_ends_the_batch(scene: Scene) -> None:
    ids = [scene.add(number) for number in range(3)]
    records = [scene.row(container) for container in ids] + [scene.row(ids[0])]

    def fault(entries: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        return {n: "InternalFailure" for n, entry in enumerate(entries) if ids[1] in entry["Detail"]}

    scene.bus.fault = fault
    assert scene.publish(*records) == records[1]["dynamodb"]["SequenceNumber"]
    assert [(each["container_id"], each["seq"]) for each in scene.bus.received] == [(ids[0], 1), (ids[2], 1)]
    assert [name for name, _ in scene.failures] == [f"{ids[1]} 2025-01-15T10:30:00.000Z"]


def test_without_time_the_rest_is_retried(scene: Scene) -> None:
    container = scene.add(1)
    records = [scene.row(container) for _ in range(3)]
    left = iter([True, True, False])
    scene.time_left = lambda: next(left)
    assert scene.publish(*records) == records[2]["dynamodb"]["SequenceNumber"]
    assert [each["seq"] for each in scene.bus.received] == [1, 2]


def test_without_the_names_everything_is_retried(scene: Scene) -> None:
    container = scene.add(1)
    record = scene.row(container)
    scene.tables.down = True
    assert scene.publish(record) == record["dynamodb"]["SequenceNumber"]
    assert scene.bus.calls == []


# --- The queue --------------------------------------------------------------------------------------------------------


def test_rows_are_retried_for_twelve_hours_and_then_kept(scene: Scene) -> None:
    """The outage lasts 13 hours. Rows of its first hour go to the queue, complete; later rows are published."""
    ids = [scene.add(number) for number in range(5)]
    kept = [scene.row(ids[number % 5]) for number in range(20)]
    scene.clock.sleep(3600 * 2)
    for number in range(20):
        scene.row(ids[number % 5])

    def fault(_: Any) -> dict[int, str]:
        if scene.clock.now() - START < timedelta(hours=13):
            raise unavailable("PutEvents")
        return {}

    scene.bus.fault = fault
    while len(scene.queue.bodies) < 20:
        assert len(scene.queue.bodies) == 0 or scene.clock.now() - START >= timedelta(hours=12)
        if not scene.batches.step():
            scene.clock.sleep(30)
    scene.drain()
    assert [json.loads(body) for body in scene.queue.bodies] == kept
    assert sorted((each["container_id"], each["seq"]) for each in scene.bus.received) == sorted(
        (container, seq) for container in ids for seq in range(5, 9)
    )
    # Old records are tried once more: so the messages of the queue can be published again.
    scene.bus.received.clear()
    assert scene.publish(*map(json.loads, scene.queue.bodies)) is None
    assert len(published_in_order(scene.bus.received)) == len(scene.queue.bodies) == 20


def test_old_rows_go_to_the_queue_without_the_names(scene: Scene) -> None:
    record = scene.row(scene.add(1))
    scene.tables.down = True
    scene.clock.sleep(12 * 3600)
    assert scene.publish(record) is None
    assert [json.loads(body) for body in scene.queue.bodies] == [record]


def test_a_row_is_retried_until_the_queue_has_it(scene: Scene) -> None:
    container = scene.add(1)
    record = scene.record(damaged(seq=None))
    later = scene.row(container)
    scene.queue.down = True
    assert scene.publish(record, later) == record["dynamodb"]["SequenceNumber"]
    scene.queue.down = False
    assert scene.publish(record, later) is None
    assert len(scene.queue.bodies) == 1
    assert scene.bus.received[-1]["container_id"] == container


@pytest.mark.parametrize(
    "image",
    [
        damaged(to_status="melted"),
        damaged(id=None),
        damaged(seq=None),
        damaged(project_id=None),
        damaged(transition_time="yesterday"),
        damaged() | {"duration_ms": {"N": "1.5"}},
        damaged() | {"metadata": {"B": "AAAA"}},
        damaged() | {"metadata": {}},
    ],
    ids=str,
)
def test_an_unreadable_row_does_not_stop_the_others(scene: Scene, image: dict[str, Any]) -> None:
    container = scene.add(1)
    records = [scene.row(container), scene.record(image), scene.row(container)]
    result = scene.publisher.publish(records_of({"Records": records}))
    assert (result.counts, result.failed) == ({"published": 2, "unpublishable": 1}, None)
    assert [each["seq"] for each in scene.bus.received] == [1, 2]
    assert [json.loads(body) for body in scene.queue.bodies] == [records[1]]
    assert [getattr(error, "reason", None) for _, error in scene.failures] == ["The item cannot be read"]


def test_a_record_without_an_image_is_unreadable(scene: Scene) -> None:
    assert scene.publish({"eventName": "INSERT", "dynamodb": {"SequenceNumber": "1"}}) is None
    assert len(scene.queue.bodies) == 1


@pytest.mark.parametrize("code", ["MalformedDetail", "InvalidArgument"])
def test_an_event_that_eventbridge_rejects_goes_to_the_queue(scene: Scene, code: str) -> None:
    first, second = scene.add(1), scene.add(2)
    records = [scene.row(first), scene.row(second)]
    scene.bus.fault = lambda entries: {n: code for n, entry in enumerate(entries) if first in entry["Detail"]}
    assert scene.publish(*records) is None
    assert [json.loads(body) for body in scene.queue.bodies] == records[:1]
    assert [each["container_id"] for each in scene.bus.received] == [second]
    assert len(scene.bus.calls) == 1


def test_an_event_that_is_too_large_goes_to_the_queue(scene: Scene) -> None:
    container = scene.add(1)
    records = [scene.row(container, reason="x" * 270_000), scene.row(container)]
    assert scene.publish(*records) is None
    assert [json.loads(body) for body in scene.queue.bodies] == records[:1]
    assert [each["seq"] for each in scene.bus.received] == [2]


@pytest.mark.parametrize(("size", "sent"), [(256 * 1024 - 1, 1), (256 * 1024, 0)])
def test_an_event_must_be_smaller_than_256_kb(scene: Scene, size: int, sent: int) -> None:
    first, second = scene.add(1), scene.add(2)
    assert scene.publish(scene.row(first, reason="")) is None
    reason = "x" * (size - size_of(scene.bus.entries[0]))
    assert scene.publish(scene.row(second, reason=reason)) is None
    assert len(scene.bus.received) == 1 + sent
    assert len(scene.queue.bodies) == 1 - sent


# --- Calls and events -------------------------------------------------------------------------------------------------


def test_large_events_share_calls_up_to_the_limit(scene: Scene) -> None:
    """The size is that of the text in UTF-8: two bytes for each letter here."""
    records = [scene.row(scene.add(number), reason="é" * 50_000) for number in range(5)]
    assert scene.publish(*records) is None
    assert [len(call) for call in scene.bus.calls] == [2, 2, 1]


def test_a_batch_reads_its_containers_at_once(scene: Scene) -> None:
    ids = [scene.add(number) for number in range(100)]
    assert scene.publish(*[scene.row(container) for container in ids]) is None
    assert [len(call) for call in scene.bus.calls] == [10] * 10
    assert scene.tables.reads == 1


def test_the_event_of_a_row(scene: Scene) -> None:
    container = scene.add(7)
    assert scene.publish(scene.row(container, actor="ann")) is None
    (entry,) = scene.bus.entries
    assert entry["EventBusName"] == "default"
    assert (entry["Source"], entry["DetailType"]) == ("longshore", "Container Status Change")
    assert (entry["Time"], entry["Resources"]) == (START, [STACK])
    assert json.loads(entry["Detail"]) == {
        "id": f"e{1:023x}",
        "container_id": container,
        "from_status": None,
        "to_status": "running",
        "transition_time": "2025-01-15T10:30:00.000Z",
        "created_at": "2025-01-15T10:30:00.000Z",
        "duration_ms": 1200,
        "triggered_by": "user",
        "metadata": {"command": "start", "actor": "ann"},
        "project_id": PROJECT,
        "container_name": "web-7",
        "labels": {"env": "dev"},
        "seq": 1,
    }


def test_a_container_that_left_the_project_has_no_name(scene: Scene) -> None:
    container = scene.add(1)
    moved, deleted = scene.row(container), scene.row(container)
    scene.tables.items[container]["project_id"] = {"S": "5b" * 12}
    assert scene.publish(moved) is None
    del scene.tables.items[container]
    assert scene.publish(deleted) is None
    assert [(each["container_name"], each["labels"]) for each in scene.bus.received] == [(None, {}), (None, {})]
    assert {each["project_id"] for each in scene.bus.received} == {PROJECT}


def test_a_damaged_container_has_no_name(scene: Scene) -> None:
    container = scene.add(1)
    record = scene.row(container)
    del scene.tables.items[container]["status"]
    assert scene.publish(record) is None
    assert scene.bus.received[0]["container_name"] is None


def test_only_new_rows_are_events(scene: Scene) -> None:
    """Administrators repair rows and apply a retention (MODIFY), and rows expire (REMOVE)."""
    container = scene.add(1)
    scene.row(container)
    scene.batches.add([scene.record(damaged(), "MODIFY"), scene.record(damaged(), "REMOVE")])
    scene.drain()
    assert [each["seq"] for each in scene.bus.received] == [1]
