"""Operations on services: what they do to ECS, their answers, and their rows."""

from datetime import timedelta
from typing import Any

import pytest
from longshore.aws.services import SHOWN_AFTER
from longshore.domain.errors import InvalidInputError
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import OutcomeKind
from simulation.services import state_of

from engine.aws import DENIED
from engine.services import COUNT, MINIMUM, ServiceStage

SUSPENDED = {
    "MinCapacity": 0,
    "SuspendedState": {
        "DynamicScalingInSuspended": True,
        "DynamicScalingOutSuspended": True,
        "ScheduledScalingSuspended": True,
    },
}
RESTORED = {
    "MinCapacity": MINIMUM,
    "SuspendedState": {
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": False,
    },
}

# The status and the count that each operation leads to, or the message of the refusal.
TABLE: dict[str, dict[str, str]] = {
    "stopped": {
        "start": "running",
        "stop": "Container is already stopped",
        "force-stop": "Container is already stopped",
        "restart": "running",
    },
    "running": {
        "start": "Container is already running",
        "stop": "stopped",
        "force-stop": "stopped",
        "restart": "running",
    },
    "failed": {
        "start": "Container has failed",
        "stop": "Container has failed",
        "force-stop": "stopped",
        "restart": "running",
    },
    "expired": dict.fromkeys(
        ("start", "stop", "force-stop", "restart", "pause", "resume"), "Operation not permitted on expired container"
    ),
}


@pytest.fixture
def stage() -> ServiceStage:
    return ServiceStage()


def test_the_table_covers_all_statuses() -> None:
    assert {*TABLE, "paused"} == set(Status)


@pytest.mark.parametrize("status", TABLE)
@pytest.mark.parametrize("operation", list(Operation))
def test_every_operation_in_every_status(stage: ServiceStage, status: str, operation: str) -> None:
    container_id = stage.add_service("running", status, scales=True)
    before, rows = stage.container(container_id), len(stage.rows(container_id))
    result = TABLE[status].get(operation)
    if result is None:
        with pytest.raises(InvalidInputError) as raised:
            stage.ask(container_id, operation)
        reason = f"{operation} is not supported for services, because a load balancer replaces frozen tasks"
        assert raised.value.data == [{"instancePath": "/operation", "message": reason}]
    elif result not in tuple(Status):
        assert stage.refused(container_id, operation) == result
    else:
        assert_done(stage, container_id, operation, result)
        return
    assert (stage.container(container_id), len(stage.rows(container_id))) == (before, rows)
    assert stage.effects() == []


def assert_done(stage: ServiceStage, container_id: str, operation: str, result: str) -> None:
    before, from_status = len(stage.rows(container_id)), stage.status(container_id)
    outcome = stage.ask(container_id, operation)
    assert (outcome.kind, outcome.status) == (OutcomeKind.COMPLETED, result)
    running = COUNT if result == "running" else 0
    assert stage.counts() == (running, running)
    (row,) = stage.rows(container_id)[before:]
    facts = {
        "command": operation,
        "actor": "ann",
        "request_id": "r-1",
        "desired_count": COUNT,
        "running_count": running,
    }
    assert {name: row["metadata"].get(name) for name in facts} == facts
    assert (row["from_status"], row["to_status"], row["triggered_by"]) == (from_status, result, "user")
    assert row["metadata"].get("rolling") == (True if (operation, from_status) == ("restart", "running") else None)
    container = stage.container(container_id)
    assert (container.log_count, container.desired_count, container.running_count) == (before + 1, COUNT, running)
    assert sum(container.to_counts.values()) == before + 1
    assert container.operation is None
    end = container.calls_end_at
    assert end is None or end <= stage.clock.now() + SHOWN_AFTER
    assert (container.count_stored_at is None) == (result == "running")


def test_stop_suspends_the_scaling_before_it_changes_the_count(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stage.ask(container_id, "stop")
    assert stage.effects() == [SUSPENDED, {"desiredCount": 0}]
    scaling = stage.container(container_id).scaling
    assert scaling is not None
    assert (scaling.minimum, scaling.is_suspended) == (MINIMUM, False)


def test_start_restores_the_count_before_the_scaling(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped", scales=True)
    stage.ask(container_id, "start")
    assert stage.effects() == [{"desiredCount": COUNT}, RESTORED]
    assert stage.container(container_id).scaling is None


def test_without_a_scalable_target_only_the_count_changes(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    stage.ask(container_id, "stop")
    stage.ask(container_id, "start")
    assert stage.effects() == [{"desiredCount": 0}, {"desiredCount": COUNT}]


def test_what_is_restored_is_stored_before_the_first_call(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    stored: list[Any] = []
    stage.before("RegisterScalableTarget", lambda _: stored.append(stage.container(container_id)))
    stage.ask(container_id, "stop")
    (container,) = stored
    assert (container.desired_count, container.scaling.minimum) == (COUNT, MINIMUM)
    assert container.calls_end_at is not None


def test_a_service_behind_an_autoscaler_stays_at_0_and_comes_back_as_it_was(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", count=5, scales=True)
    service = stage.service()
    before = state_of(stage.target())
    assert stage.services.scale(service, 12)
    stage.while_time_passes(5)
    assert stage.counts() == (12, 12)
    stage.ask(container_id, "stop")
    assert stage.counts() == (0, 0)

    def stays() -> None:
        assert not stage.services.scale(service, 15)
        assert stage.counts() == (0, 0)

    stage.while_time_passes(200, stays)
    assert stage.drift_sweep() == {"true": 1}
    stays()
    assert (stage.container(container_id).desired_count, len(stage.rows(container_id))) == (12, 2)
    stage.ask(container_id, "start")
    assert (stage.counts(), state_of(stage.target())) == ((12, 12), before)
    assert stage.services.scale(service, 13)


def test_a_start_raises_a_count_below_the_minimum(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped", scales=True, count=MINIMUM - 2)
    stage.ask(container_id, "start")
    stage.settle(container_id)
    assert stage.counts() == (MINIMUM, MINIMUM)
    row, container = stage.rows(container_id)[-1], stage.container(container_id)
    assert row["metadata"]["desired_count"] == container.desired_count == MINIMUM


def test_a_restart_of_a_running_service_starts_one_deployment(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    tasks = {task.arn for task in stage.services.tasks(stage.service())}
    stage.ask(container_id, "restart")
    assert stage.effects() == [{"forceNewDeployment": True}]
    assert tasks.isdisjoint(task.arn for task in stage.services.tasks(stage.service()))


def test_force_stop_kills_the_tasks_on_their_hosts(stage: ServiceStage) -> None:
    container_id = stage.add_service("running")
    for task in stage.services.tasks(stage.service()):
        for process in task.containers:
            process.ignores_sigterm = True
    outcome = stage.ask(container_id, "force-stop")
    assert outcome.kind is OutcomeKind.COMPLETED
    commands = stage.commands()
    assert [command["action"] for command in commands] == [["kill"]] * COUNT
    # Each task has a container id of its own, because a host runs one command per container and number.
    assert len({command["container"][0] for command in commands}) == COUNT


def test_force_stop_on_fargate_sends_no_commands(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", fargate=True)
    assert stage.ask(container_id, "force-stop").kind is OutcomeKind.COMPLETED
    assert stage.commands() == []


def test_force_stop_supersedes_a_start_and_keeps_what_is_stored(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped", scales=True, count=7)
    stage.service().blocked = True
    assert stage.ask(container_id, "start").kind is OutcomeKind.ACCEPTED
    stage.while_time_passes(11)
    assert stage.refused(container_id, "stop") == "Container is starting"
    assert stage.ask(container_id, "force-stop").kind is OutcomeKind.COMPLETED
    container = stage.container(container_id)
    assert (stage.counts(), container.desired_count) == ((0, 0), 7)
    assert container.scaling is not None
    assert container.scaling.minimum == MINIMUM
    stage.service().blocked = False
    stage.ask(container_id, "start")
    assert stage.counts() == (7, 7)


def test_events_complete_a_start(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    stage.with_events()
    before = stage.clock.now()
    assert stage.ask(container_id, "start").kind is OutcomeKind.COMPLETED
    # Without events, the driver looks at the end of its wait.
    assert stage.clock.now() - before < timedelta(seconds=2)


def test_a_refused_call_changes_nothing(stage: ServiceStage) -> None:
    container_id = stage.add_service("running", scales=True)
    before = stage.container(container_id)
    stage.fail("RegisterScalableTarget", DENIED)
    assert stage.refused(container_id, "stop") == "Longshore is not permitted to change the scaling of the service"
    after = stage.container(container_id)
    unchanged = {"updated_at": before.updated_at, "generation": before.generation, "command_number": 0}
    assert after.model_copy(update=unchanged) == before
    stage.ask(container_id, "stop")
    assert stage.counts() == (0, 0)


def test_the_reason_of_a_failed_start_is_the_latest_event_of_the_service(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    stage.service().blocked = True
    assert stage.ask(container_id, "start").kind is OutcomeKind.ACCEPTED
    for _ in range(12):
        stage.while_time_passes(61)
        stage.sweep()
    row = stage.rows(container_id)[-1]
    assert row["to_status"] == "failed"
    message = "(service web) was unable to place a task because no container instance met all of its requirements."
    assert message in row["metadata"]["reason"]
    assert (row["metadata"]["desired_count"], row["metadata"]["running_count"]) == (COUNT, 0)


def test_a_start_that_is_slow_is_not_given_up_for_an_hour(stage: ServiceStage) -> None:
    container_id = stage.add_service("stopped")
    stage.services.set_delay(1500)
    assert stage.ask(container_id, "start").kind is OutcomeKind.ACCEPTED
    for _ in range(26):
        stage.while_time_passes(61)
        stage.sweep()
    assert (stage.status(container_id), stage.counts()) == ("running", (COUNT, COUNT))
