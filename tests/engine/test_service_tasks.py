"""Tasks of services that deregister or stop: they are in none of the counts of the service, but they are alive."""

from contextlib import suppress
from datetime import timedelta

import pytest
from longshore.domain.errors import ExternalServiceError
from longshore.domain.models import OutcomeKind

from engine.aws import DENIED, NO_ANSWER, THROTTLED
from engine.services import ServiceStage


@pytest.fixture
def stage() -> ServiceStage:
    return ServiceStage()


def with_slow_tasks(stage: ServiceStage, seconds: float = 40, *, fargate: bool = False) -> str:
    """Add a running service with one task, which takes this long to stop. Returns the container's id."""
    container_id = stage.add_service("running", count=1, fargate=fargate)
    for task in stage.services.tasks(stage.service()):
        for process in task.containers:
            process.ignores_sigterm, process.stop_timeout = True, timedelta(seconds=seconds)
    return container_id


@pytest.mark.parametrize("fargate", [False, True], ids=["stopping", "deactivating"])
@pytest.mark.parametrize("events", [False, True])
def test_a_stop_ends_when_every_task_has_stopped(stage: ServiceStage, fargate: bool, events: bool) -> None:
    container_id = with_slow_tasks(stage, fargate=fargate)
    if events:
        stage.with_events()
    assert stage.ask(container_id, "stop").kind is OutcomeKind.ACCEPTED
    (task,) = stage.services.tasks(stage.service())
    assert task.last_status == ("DEACTIVATING" if fargate else "STOPPING")
    assert stage.services.described(stage.service())["runningCount"] == 0
    assert stage.refused(container_id, "start") == "Container is stopping"
    stage.while_time_passes(45)
    if not events:
        stage.sweep()
        stage.settle(container_id)
    assert (stage.status(container_id), stage.live(container_id)) == ("stopped", [])
    assert stage.count("UpdateService") == 1


def test_an_old_and_a_new_task_never_run_together(stage: ServiceStage) -> None:
    container_id = with_slow_tasks(stage)
    stage.ask(container_id, "stop")
    if stage.container(container_id).operation is not None:
        stage.settle(container_id)
    stage.ask(container_id, "start")
    assert len(stage.services.tasks(stage.service())) == 1


def test_the_reason_says_how_many_tasks_have_not_stopped(stage: ServiceStage) -> None:
    container_id = with_slow_tasks(stage, seconds=3 * 3600)
    stage.ask(container_id, "stop")
    for _ in range(80):
        stage.while_time_passes(61)
        stage.sweep()
    row = stage.rows(container_id)[-1]
    assert row["to_status"] == "failed"
    assert row["metadata"]["reason"].endswith("1 tasks have not stopped")


@pytest.mark.parametrize("error", [DENIED, THROTTLED, NO_ANSWER])
@pytest.mark.parametrize("name", ["ListTasks", "DescribeTasks"])
def test_a_stop_whose_tasks_cannot_be_looked_up_stays_pending(stage: ServiceStage, name: str, error: Exception) -> None:
    container_id = with_slow_tasks(stage, seconds=1)
    stage.fail(name, error, times=-1)
    with suppress(ExternalServiceError):
        stage.ask(container_id, "stop")
    assert stage.container(container_id).operation is not None
    stage.heal()
    stage.settle(container_id)
    assert stage.status(container_id) == "stopped"
    assert stage.count("UpdateService") == 1


def test_a_task_that_is_listed_but_not_described_has_not_stopped(stage: ServiceStage) -> None:
    container_id = with_slow_tasks(stage)
    stage.ask(container_id, "stop")
    stage.while_time_passes(61)
    stage.hide_tasks()
    assert stage.sweep() == {"accepted": 1}
    stage.heal()
    stage.settle(container_id)
    assert stage.status(container_id) == "stopped"


def test_the_drift_sweep_waits_for_the_tasks_of_a_service_that_somebody_has_stopped(stage: ServiceStage) -> None:
    container_id = with_slow_tasks(stage)
    stage.services.set_desired(stage.service(), 0)
    stage.while_time_passes(10)
    assert stage.drift_sweep() == {"counted": 1}
    assert stage.status(container_id) == "running"
    stage.while_time_passes(40)
    assert stage.drift_sweep() == {"repaired": 1}
    assert stage.status(container_id) == "stopped"
