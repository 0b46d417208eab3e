"""Tests of a history that has reached DynamoDB's limit of 10 GB and takes no more rows."""

import pytest
from longshore.domain.errors import OperationFailedError

from engine.aws import HOST, Call
from engine.stage import Stage

FULL = "The container's history is full: only stop and force-stop are possible"


@pytest.fixture
def full(stage: Stage) -> Stage:
    stage.history_is_full = True
    return stage


def without_row(stage: Stage, container: str) -> None:
    """Check that the status has changed but that no row and no counter was written."""
    after = stage.container(container)
    assert after.history_full
    assert len(stage.rows(container)) == after.log_count == 1
    assert sum(after.to_counts.values()) == sum(after.from_counts.values()) == 1
    times = (stage.rows(container)[0]["transition_time"], stage.rows(container)[0]["created_at"])
    assert after.last_transition_time is not None
    assert after.last_created_at is not None
    assert after.model_dump(mode="json", include={"last_transition_time", "last_created_at"}) == {
        "last_transition_time": times[0],
        "last_created_at": times[1],
    }


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize(("operation", "status"), [("stop", "stopped"), ("force-stop", "stopped"), ("pause", "paused")])
def test_an_operation_ends_without_a_row(full: Stage, operation: str, status: str, key: str | None) -> None:
    container = full.add("running")
    before = full.container(container)
    outcome = full.ask(container, operation, key=key)
    assert (outcome.kind, outcome.status) == ("completed", status)
    after = full.container(container)
    assert (after.status, after.operation, after.generation) == (status, None, before.generation + 1)
    assert after.status_since > before.status_since
    without_row(full, container)
    if key:
        record = full.record()
        assert record is not None
        assert record["answer"]["kind"] == "completed"
        assert full.ask(container, operation, key=key) == outcome
    item = full.dynamodb.tables["containers"].items[(container,)]
    assert ("live_project_id" in item) is (status == "paused")
    assert full.refused(container, "restart") == FULL


def test_a_failure_ends_without_a_row(full: Stage) -> None:
    container = full.add("stopped", labels={"simulate.start": "fail"})
    with pytest.raises(OperationFailedError):
        full.ask(container, "start", key="k")
    assert (full.status(container), full.record()) == ("failed", None)
    without_row(full, container)


def test_a_restart_continues_without_rows(full: Stage) -> None:
    full.with_events()
    container = full.add("running")
    assert full.ask(container, "restart").kind == "completed"
    assert full.container(container).generation == 3  # two changes without a row, and the stored task
    without_row(full, container)
    assert len(full.live(container)) == 1


def test_an_exit_is_recorded_without_a_row(full: Stage) -> None:
    container = full.add("running")
    full.ecs.exit(full.live(container)[0].arn, 0)
    full.advance(1)
    full.deliver_all()
    assert full.status(container) == "stopped"
    without_row(full, container)


def test_a_server_is_terminated_without_rows(full: Stage) -> None:
    container = full.add("stopped", server=HOST)
    assert full.terminate(HOST) == 1
    assert full.status(container) == "expired"
    without_row(full, container)


@pytest.mark.parametrize("change", [{"generation": 5}, {"log_count": 4}])
def test_the_condition_is_the_same_without_a_row(full: Stage, change: dict[str, int]) -> None:
    full.with_events()
    container = full.add("running")
    writes: list[bool] = []

    def other(_: Call) -> None:
        writes.append(True)
        full.edit(container, **change)

    full.before("UpdateItem", other, skip=1)
    # Another driver has the same operation, and this driver continues with the current container.
    assert full.ask(container, "stop").kind == "completed"
    assert writes == [True]
    assert full.container(container).log_count == change.get("log_count", 1)
    assert full.container(container).generation == change.get("generation", 0) + 1


def test_two_drivers_do_not_both_end_a_step(full: Stage) -> None:
    """Without a row, only the generation shows that the step is complete."""
    container = full.add("stopped")

    def sweep(_: Call) -> None:
        full.edit_pending(container, deadline=full.clock.now())
        full.take_over(container)

    full.before("TransactWriteItems", sweep)
    assert full.ask(container, "start").kind == "completed"
    assert (full.status(container), full.container(container).operation) == ("running", None)
    assert len(full.live(container)) == 1


def test_rows_are_written_again_when_there_is_room(full: Stage) -> None:
    container = full.add("running")
    full.ask(container, "stop")
    full.history_is_full = False
    full.edit(container, history_full=False)
    assert full.ask(container, "start").kind == "completed"
    rows = full.rows(container)
    assert [(row.get("from_status"), row["to_status"], row["seq"]) for row in rows] == [
        (None, "running", 1),
        ("stopped", "running", 2),
    ]
