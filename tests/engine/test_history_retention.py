"""Tests of the time to live of rows, and of the retention that commits store in the container's item."""

from datetime import datetime
from typing import Any

import pytest
from longshore.aws.attributes import serialize
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import to_text
from longshore.domain.history import append
from longshore.domain.lifecycle import Status
from longshore.domain.models import Change, Container
from longshore.domain.pending import Trigger
from longshore.domain.retention import expiry
from simulation.aws import clients

from engine.stage import Stage


def store(stage: Stage, retention: int) -> Store:
    tables: Any = {"containers": "containers", "status_logs": "status-logs", "idempotency": "idempotency"}
    return Store(clients().dynamodb, **tables, clock=stage.clock, retention=retention)


def exit_of(stage: Stage, container: str, retention: int) -> Container | ConditionFailed:
    """Commit a change with a retention."""
    stage.advance(1)
    with stage.open():
        before = stage.container(container)
        status = Status.STOPPED if before.status is Status.RUNNING else Status.RUNNING
        change = Change(status, stage.clock.now(), Trigger.SYSTEM, tasks={})
        return store(stage, retention).commit_observed(
            before, *append(before, change, f"{before.log_count:024x}", stage.clock.now())
        )


def expiries(stage: Stage, container: str) -> list[int | None]:
    """Return the days after which each row's time to live ends; None: it is kept."""
    return [
        (row["expires_at"] - int(datetime.fromisoformat(row["transition_time"]).timestamp())) // 86400 - 1
        if "expires_at" in row
        else None
        for row in stage.rows(container)
    ]


def test_rows_are_kept_without_a_retention(stage: Stage) -> None:
    container = stage.add("running")
    exit_of(stage, container, 0)
    assert expiries(stage, container) == [None, None]
    item = stage.dynamodb.tables["containers"].items[(container,)]
    assert not {"history_retention", "history_floor"} & item.keys()


def test_a_row_expires_a_day_after_its_retention(stage: Stage) -> None:
    container = stage.add("running")
    exit_of(stage, container, 7)
    _, row = stage.rows(container)
    assert row["expires_at"] == expiry(datetime.fromisoformat(row["transition_time"]), 7)
    assert stage.container(container).history_retention == 7


@pytest.mark.parametrize(
    ("retentions", "rows", "stored"),
    [
        ([7, 30], [None, 7, 30], 7),
        ([30, 7], [None, 30, 7], 7),
        ([7, 0], [None, 7, None], 7),
        ([0, 7], [None, None, 7], 7),
        ([30, 30], [None, 30, 30], 30),
    ],
)
def test_the_item_keeps_the_shortest_retention(
    stage: Stage, retentions: list[int], rows: list[int | None], stored: int
) -> None:
    """Until an administrator has applied a longer retention, rows of the shorter one may be deleted."""
    container = stage.add("running")
    for retention in retentions:
        exit_of(stage, container, retention)
    assert expiries(stage, container) == rows
    assert stage.container(container).history_retention == stored


def test_other_writes_keep_the_retention(stage: Stage) -> None:
    container = stage.add("running")
    exit_of(stage, container, 7)
    floor = serialize({"at": to_text(stage.clock.now()), "log_count": 0, "to_counts": {}, "from_counts": {}})
    stage.dynamodb.tables["containers"].items[(container,)] |= {"history_floor": floor}
    assert stage.ask(container, "start").kind == "completed"
    item = stage.dynamodb.tables["containers"].items[(container,)]
    assert item["history_retention"] == {"N": "7"}
    assert item["history_floor"] == floor


def test_a_snapshot_from_before_the_retention_cannot_commit(stage: Stage) -> None:
    """An administrator's change of the retention raises the generation: a stale writer must not undo it."""
    container = stage.add("running")
    before = stage.container(container)
    change = Change(Status.STOPPED, stage.clock.now(), Trigger.SYSTEM)
    stage.edit(container, history_retention=7, generation=before.generation + 1)
    with stage.open():
        refused = store(stage, 0).commit_observed(before, *append(before, change, "0" * 24, stage.clock.now()))
    assert isinstance(refused, ConditionFailed)
    assert stage.container(container).history_retention == 7


def test_a_change_of_the_retention_during_an_operation(stage: Stage) -> None:
    """The driver reads the container again, and commits with the new retention."""
    container = stage.add("stopped")

    def applied(_: object) -> None:
        stage.edit(container, history_retention=7, generation=stage.container(container).generation + 1)

    stage.before("TransactWriteItems", applied)
    assert stage.ask(container, "start").kind == "completed"
    assert (stage.status(container), stage.container(container).history_retention) == ("running", 7)
    assert len(stage.rows(container)) == 2
    assert len(stage.live(container)) == 1


def test_without_a_row_the_shorter_retention_is_kept(stage: Stage) -> None:
    container = stage.add("running")
    exit_of(stage, container, 7)
    stage.history_is_full = True
    exit_of(stage, container, 30)
    after = stage.container(container)
    assert (after.history_full, after.history_retention) == (True, 7)
