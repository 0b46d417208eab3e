"""Changes of services outside of Longshore: the drift sweep and events."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.ledger import BETWEEN_LOOKS, LOOKS_LAST

from engine.aws import DENIED, NO_ANSWER, THROTTLED
from engine.services import ServiceStage

OUTSIDE = "The count was changed outside of Longshore"


@pytest.fixture
def stage() -> ServiceStage:
    stage = ServiceStage()
    stage._put("access", {"user_id": "ann", "scope": "project#507f1f77bcf86cd799439033", "role": "owner"})
    return stage


def facts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row["metadata"].items() if name != "observed_at"}


def changed(before: int, after: int, *, desired: int, running: int) -> dict[str, Any]:
    counts = {"count_before": before, "count_after": after, "desired_count": desired, "running_count": running}
    return {"reason": OUTSIDE, **counts}


@pytest.mark.parametrize(
    ("status", "count", "to_status", "metadata"),
    [
        ("running", 5, "running", changed(3, 5, desired=5, running=5)),
        ("running", 1, "running", changed(3, 1, desired=1, running=1)),
        ("running", 0, "stopped", changed(3, 0, desired=3, running=0)),
        ("stopped", 2, "running", changed(0, 2, desired=2, running=2)),
        ("failed", 2, "running", changed(0, 2, desired=2, running=2) | {"reason": "ECS shows the service running"}),
    ],
)
def test_a_count_that_somebody_has_changed(
    stage: ServiceStage, status: str, count: int, to_status: str, metadata: dict[str, Any]
) -> None:
    container_id = stage.add_service(status)
    stage.services.set_desired(stage.service(), count)
    stage.while_time_passes(10)
    assert stage.drift_sweep() == {"repaired": 1}
    row = stage.rows(container_id)[-1]
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == (status, to_status, "system")
    assert facts(row) == metadata
    stage.advance(130)
    assert stage.drift_sweep() == {"true": 1}
    assert len(stage.rows(container_id)) == 2


def test_a_stop_stores_the_count_of_a_service_that_was_started_outside(stage: ServiceStage) -> None:
    """What an earlier stop has stored is out of date."""
    container_id = stage.add_service("stopped")
    assert stage.container(container_id).count_stored_at is not None
    stage.services.set_desired(stage.service(), 2)
    stage.while_time_passes(10)
    stage.drift_sweep()
    assert stage.container(container_id).count_stored_at is None
    stage.ask(container_id, "stop")
    assert stage.container(container_id).count_stored_at is not None
    stage.ask(container_id, "start")
    assert stage.counts() == (2, 2)


@pytest.mark.parametrize("status", ["running", "stopped", "failed"])
def test_nothing_has_changed(stage: ServiceStage, status: str) -> None:
    container_id = stage.add_service(status, scales=True)
    before = stage.container(container_id)
    assert stage.drift_sweep() == {"true": 1}
    assert stage.container(container_id) == before


def test_the_count_of_an_autoscaler_is_stored_without_a_row(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    assert stage.services.scale(stage.service(), 9)
    stage.while_time_passes(10)
    assert stage.drift_sweep() == {"counted": 1}
    container = stage.container(container_id)
    assert (container.desired_count, container.running_count, container.log_count) == (9, 9, 1)


def test_a_count_below_the_minimum_is_not_of_an_autoscaler(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.services.set_desired(stage.service(), 1)
    stage.while_time_passes(10)
    assert stage.drift_sweep() == {"repaired": 1}
    assert stage.container(container_id).log_count == 2


def test_the_drift_sweep_restores_a_missing_key(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stop_at = stage.clock.now() + timedelta(hours=1)
    stage.patch(container_id, stop_at=stop_at)
    item = stage.dynamodb.tables["containers"].items[(container_id,)]
    del item["pending_shard"], item["pending_deadline"]
    assert stage.drift_sweep() == {"listed again": 1}
    assert stage.container(container_id).pending_deadline == stop_at
    assert stage.drift_sweep() == {"true": 1}


def test_tasks_that_have_failed_change_only_the_running_count(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.service().blocked = True
    stage.ecs.exit(stage.services.tasks(stage.service())[0].arn, 1)
    stage.advance(1)
    assert stage.drift_sweep() == {"counted": 1}
    container = stage.container(container_id)
    assert (container.status, container.desired_count, container.running_count) == ("running", 3, 2)


def test_a_deleted_service_fails_after_two_looks(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.services.delete(stage.service())
    assert stage.drift_sweep() == {"absent": 1}
    stage.advance(10)
    assert stage.sweep() == {}
    stage.advance(25)
    assert stage.sweep() == {"repaired": 1}
    row = stage.rows(container_id)[-1]
    assert (row["to_status"], row["metadata"]["reason"]) == ("failed", "The service does not exist any more")
    assert stage.refused(container_id, "start") == "Container has failed"


def test_looks_that_are_too_close_or_too_far_apart_prove_nothing(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.services.delete(stage.service())
    assert stage.drift_sweep() == {"absent": 1}
    first = stage.container(container_id).absent_since
    stage.advance(10)
    assert stage.drift_sweep() == {"absent": 1}
    assert stage.container(container_id).absent_since == first
    stage.advance(LOOKS_LAST.total_seconds())
    assert stage.drift_sweep() == {"absent": 1}
    second = stage.container(container_id).absent_since
    assert first is not None
    assert second is not None
    assert second - first > LOOKS_LAST
    stage.advance(BETWEEN_LOOKS.total_seconds())
    assert stage.drift_sweep() == {"repaired": 1}
    assert stage.status(container_id) == "failed"


def test_a_service_that_ecs_shows_again_is_not_gone(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.change("DescribeServices", lambda *_: {"services": [], "failures": []}, times=1)
    assert stage.drift_sweep() == {"absent": 1}
    stage.advance(35)
    assert stage.sweep() == {"counted": 1}
    assert stage.container(container_id).absent_since is None


def test_services_are_described_ten_at_a_time(stage: ServiceStage) -> None:
    for number in range(25):
        stage.add_service("running" if number % 2 else "stopped", count=1, name=f"web-{number}")
    assert stage.drift_sweep() == {"true": 25}
    assert sorted(len(each["services"]) for each in stage.parameters("DescribeServices")) == [2, 3, 10, 10]


def test_one_service_whose_item_cannot_be_read(stage: ServiceStage) -> None:
    broken, intact = stage.add_service("stopped"), stage.add_service("stopped", name="api")
    stage.damage(broken)
    stage.services.set_desired(stage.service("api"), 1)
    stage.while_time_passes(5)
    assert stage.drift_sweep() == {"unreadable": 1, "repaired": 1}
    assert stage.status(intact) == "running"


def test_one_service_whose_change_cannot_be_recorded(stage: ServiceStage) -> None:
    containers = [stage.add_service("running", name=name) for name in ("a", "b", "c")]
    for name in ("a", "b", "c"):
        stage.services.set_desired(stage.service(name), 0)
    stage.while_time_passes(10)
    stage.fail("TransactWriteItems", NO_ANSWER)
    assert stage.drift_sweep() == {"failed": 1, "repaired": 2}
    (failed,) = stage.failures
    assert [each for each in containers if stage.status(each) == "running"] == [failed]


def test_a_failed_listing_is_reported(stage: ServiceStage) -> None:
    stage.fail("ListServices", DENIED)
    stage.drift_sweep()
    assert stage.wired.drift.unlisted == ["the services of default"]


def test_a_drift_sweep_continues_with_the_services(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    stage.services.set_desired(stage.service(), 1)
    stage.while_time_passes(5)
    stage.time_left = lambda: stage.count("ListTasks") == 0
    stage.drift_sweep()
    rest = stage.wired.drift.rest
    assert rest is not None
    assert rest.part == "services"
    with stage.open():
        assert stage.wired.drift.sweep("default", rest) == {"repaired": 1}
    assert stage.status(container_id) == "running"


# --- events ----------------------------------------------------------------------------------------------------------


def event(stage: ServiceStage, name: str = "SERVICE_STEADY_STATE") -> dict[str, Any]:
    return {"source": "aws.ecs", "detail": {"eventName": name}, "resources": [stage.service().arn]}


def test_an_event_of_a_service_is_a_hint_to_look(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    assert stage.deliver(event(stage)) == "stale"
    stage.services.set_desired(stage.service(), 0)
    stage.while_time_passes(5)
    assert stage.deliver(event(stage)) == "recorded"
    assert stage.status(container_id) == "stopped"


def test_an_event_just_after_a_change_of_the_status_needs_no_look(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.ask(container_id, "stop")
    looks = stage.count("DescribeServices")
    assert stage.deliver(event(stage)) == "stale"
    assert stage.count("DescribeServices") == looks


def test_events_of_other_services_and_their_tasks_are_foreign(stage: ServiceStage) -> None:
    stage.add_service("running", name="api")
    stage.services.add("default", "web", "api", 1)
    (task,) = stage.services.tasks(stage.service())
    assert stage.deliver(event(stage)) == "foreign"
    assert stage.deliver({"source": "aws.ecs", "detail": task.to_api()}) == "foreign"


def test_an_event_of_a_task_of_a_running_service_needs_no_look(stage: ServiceStage) -> None:
    stage.add_service("running")
    task = stage.services.tasks(stage.service())[0]
    assert stage.deliver({"source": "aws.ecs", "detail": task.to_api()}) == "stale"
    assert stage.count("DescribeServices") == 0


def test_a_task_of_a_stopped_service_that_runs_is_a_hint_to_look(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    stage.services.set_desired(stage.service(), 1)
    stage.while_time_passes(5)
    (task,) = stage.services.tasks(stage.service())
    assert stage.deliver({"source": "aws.ecs", "detail": task.to_api()}) == "recorded"
    assert stage.status(container_id) == "running"


@pytest.mark.parametrize("error", [THROTTLED, NO_ANSWER])
@pytest.mark.parametrize("pending", [False, True])
def test_a_hint_that_fails_is_left_to_the_sweep(stage: ServiceStage, error: Exception, pending: bool) -> None:
    container_id = stage.add_service("running")
    if pending:
        stage.claim(container_id, "stop")
    stage.fail("DescribeServices", error, times=-1)
    assert stage.deliver(event(stage)) == "postponed"
