"""Tests of a stack with several clusters, of which one fails: the others are not affected, and the failure is named."""

import json
from typing import Any

import pytest
from longshore.aws.functions import Function
from longshore.domain.errors import ExternalServiceError
from longshore.domain.lifecycle import Operation
from longshore.engine.continuation import Part, Position, SweepContinuation, sweep_drift
from longshore.engine.schedules import ScheduleInput

from engine.aws import CLUSTER, DENIED, THROTTLED, Call
from engine.services import ServiceStage
from engine.stage import PROJECT
from local.emulator.errors import AwsError

FAILING = "web-2"
CLUSTERS = [CLUSTER, FAILING, "web-3"]
ERRORS = {
    "denied": DENIED,
    "gone": AwsError("ClusterNotFoundException", "Cluster not found."),
    "throttled": THROTTLED,
}
OF_CLUSTERS = (
    "RunTask",
    "StopTask",
    "DescribeTasks",
    "ListTasks",
    "DescribeServices",
    "ListServices",
    "UpdateService",
)


@pytest.fixture
def stage() -> ServiceStage:
    stage = ServiceStage()
    for name in CLUSTERS[1:]:
        stage.catalog.add_cluster(name)
        stage.ecs.add_instance(name, cpu=1 << 20, memory=1 << 20)
    return stage


def add(stage: ServiceStage, status: str, number: int) -> dict[str, list[str]]:
    """Add containers to each cluster. Returns their ids by cluster."""
    numbers = iter(range(1, 100))
    return {name: [stage.add(status, number=next(numbers), cluster=name) for _ in range(number)] for name in CLUSTERS}


def fail(stage: ServiceStage, error: Exception) -> None:
    """Make all calls for the failing cluster fail."""

    def reject(call: Call) -> None:
        stage.before(call.operation, reject)
        if call.parameters["cluster"] == FAILING:
            raise error

    for operation in OF_CLUSTERS:
        stage.before(operation, reject)


class Lambda:
    """The function of the sweeps: invocations are queued as events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def invoke(self, **request: Any) -> dict[str, Any]:
        self.events.append(json.loads(request["Payload"]))
        return {"StatusCode": 202}


def drift(stage: ServiceStage) -> dict[str, tuple[dict[str, int], list[str]]]:
    """Run the drift sweep and its continuations. Returns the counts and what was not listed, by cluster."""
    function = Lambda()
    continuation = SweepContinuation(Function(function, "arn:f"))  # type: ignore[arg-type]
    function.events.append({"sweep": "drift"})
    results = {}
    while function.events:
        start = Position.of(function.events.pop(0))
        with stage.open():
            counts = sweep_drift(stage.wired.drift, continuation, CLUSTERS, start)
        results[start.cluster or "containers"] = (counts, stage.wired.drift.unlisted)
    return results


@pytest.mark.parametrize("error", ERRORS)
def test_the_drift_sweep_of_the_other_clusters(stage: ServiceStage, error: str) -> None:
    containers = add(stage, "running", 2)
    for ids in containers.values():
        stage.ecs.exit(stage.live(ids[0])[0].arn, 0)
    stage.advance(5)
    fail(stage, ERRORS[error])
    assert drift(stage) == {
        "containers": ({"repaired": 2, "true": 2, "failed": 2}, []),
        CLUSTER: ({"stale": 1}, []),
        FAILING: ({"failed": 2}, [f"the tasks of {FAILING}", f"the services of {FAILING}"]),
        "web-3": ({"stale": 1}, []),
    }
    assert stage.failures == [*containers[FAILING], FAILING, FAILING]
    statuses = {name: [stage.status(container) for container in ids] for name, ids in containers.items()}
    assert statuses == {
        CLUSTER: ["stopped", "running"],
        FAILING: ["running", "running"],
        "web-3": ["stopped", "running"],
    }


def test_a_cluster_that_fails_for_a_while_is_repaired_later(stage: ServiceStage) -> None:
    containers = add(stage, "running", 1)
    stage.ecs.exit(stage.live(containers[FAILING][0])[0].arn, 0)
    stage.advance(5)
    stage.fail("DescribeTasks", ERRORS["denied"], times=-1)
    drift(stage)
    stage.heal()
    assert drift(stage)["containers"] == ({"repaired": 1, "true": 2}, [])
    assert stage.status(containers[FAILING][0]) == "stopped"


def test_each_cluster_is_continued_on_its_own(stage: ServiceStage) -> None:
    for name, number in ((CLUSTER, 150), ("web-3", 250)):
        family = stage.container(stage.add("stopped", number=number % 99, cluster=name)).runtime.task_definition
        for _ in range(number):
            stage.ecs.adopt_running(name, family, "ecs-svc/1")
    stage.time_left = lambda: False
    positions = []
    function = Lambda()
    continuation = SweepContinuation(Function(function, "arn:f"))  # type: ignore[arg-type]
    function.events.append({"sweep": "drift"})
    while function.events:
        start = Position.of(function.events.pop(0))
        positions.append((start.part, start.cluster))
        with stage.open():
            sweep_drift(stage.wired.drift, continuation, CLUSTERS, start)
    of_tasks = [cluster for part, cluster in positions if part is Part.TASKS]
    assert positions[0] == (Part.CONTAINERS, None)
    assert {name: of_tasks.count(name) for name in CLUSTERS} == {CLUSTER: 2, FAILING: 1, "web-3": 3}


def test_a_position_of_an_older_version_names_no_cluster(stage: ServiceStage) -> None:
    """It continues the sweep of the only cluster that the stack had."""
    add(stage, "running", 1)
    with stage.open():
        sweep_drift(stage.wired.drift, None, CLUSTERS, Position.of({"part": "tasks", "after": None}))  # type: ignore[arg-type]
    assert stage.parameters("ListTasks") == [{"cluster": CLUSTER}]


@pytest.mark.parametrize("error", ERRORS)
def test_the_recovery_sweep_of_the_other_clusters(stage: ServiceStage, error: str) -> None:
    stage.with_events()
    containers = add(stage, "running", 2)
    for ids in containers.values():
        for container in ids:
            stage.claim(container, "stop")
    fail(stage, ERRORS[error])
    stage.pass_deadline()
    statuses = {name: {stage.status(container) for container in ids} for name, ids in containers.items()}
    assert statuses == {CLUSTER: {"stopped"}, FAILING: {"running"}, "web-3": {"stopped"}}


def test_lookups_of_a_failing_cluster_do_not_delay_the_others(stage: ServiceStage) -> None:
    """Only the first call is repeated. A call that succeeds ends this."""
    containers = add(stage, "running", 2)
    items = [stage.container(container) for ids in containers.values() for container in ids]
    fail(stage, THROTTLED)

    def calls() -> int:
        stage.calls.clear()
        with stage.open():
            found = stage.wired.lookups.of(items)
        assert {name for name in CLUSTERS if found[containers[name][0]].error is not None} <= {FAILING}
        return sum(call["cluster"] == FAILING for call in stage.parameters("DescribeTasks"))

    assert [calls() for _ in range(3)] == [6, 1, 1]
    stage._hooks.clear()
    assert calls() == 1
    fail(stage, THROTTLED)
    assert calls() == 6


def test_schedules_stop_and_start_the_containers_of_the_other_clusters(stage: ServiceStage) -> None:
    stage.with_events()
    containers = add(stage, "running", 20)
    every = [container for ids in containers.values() for container in ids]
    fail(stage, DENIED)
    for operation, status in ((Operation.STOP, "stopped"), (Operation.START, "running")):
        stage.failures.clear()
        now = stage.clock.now()
        wanted = ScheduleInput(project_id=PROJECT, container_ids=every, operation=operation, rule="hours", time=now)
        with stage.open():
            result = stage.wired.schedules.run(wanted, "run-1", lambda: True, now=now)
        stage.advance(5)
        failing = containers[FAILING]
        if operation is Operation.STOP:
            assert (result.begun, result.skipped, result.failed) == (40, 0, failing)
            assert stage.failures == [f"{container} in the cluster {FAILING}" for container in failing]
        else:
            # They still run, because their stop has failed.
            assert (result.begun, result.skipped, result.failed) == (40, 20, [])
        for name, ids in containers.items():
            assert {stage.status(container) for container in ids} == {"running" if name == FAILING else status}


def test_an_operation_in_a_failing_cluster_is_answered_with_the_reason(stage: ServiceStage) -> None:
    container = stage.add("stopped", cluster=FAILING)
    fail(stage, ERRORS["gone"])
    assert stage.refused(container, "start") == "The cluster does not exist"
    other = stage.add("stopped", number=2, cluster="web-3")
    assert stage.ask(other, "start").status == "running"


def test_a_continuation_that_lambda_does_not_accept_fails_the_sweep(stage: ServiceStage) -> None:
    class Refusing:
        def hand_on(self, position: Position) -> None:
            raise ExternalServiceError(f"Lambda did not accept {position}")

    with stage.open(), pytest.raises(ExternalServiceError):
        sweep_drift(stage.wired.drift, Refusing(), CLUSTERS, Position())  # type: ignore[arg-type]
    # With one cluster, nothing is passed on.
    with stage.open():
        sweep_drift(stage.wired.drift, Refusing(), [CLUSTER], Position())  # type: ignore[arg-type]


def add_services(stage: ServiceStage, status: str, number: int) -> dict[str, list[str]]:
    """Add services to each cluster. Returns the ids of their containers by cluster."""
    return {
        cluster: [
            stage.add_service(status, name=f"{cluster}-{status}-{each}", cluster=cluster) for each in range(number)
        ]
        for cluster in CLUSTERS
    }


@pytest.mark.parametrize("error", ERRORS)
def test_the_drift_sweep_of_services_in_the_other_clusters(stage: ServiceStage, error: str) -> None:
    """Live containers are compared in one invocation, and those that are not live in one for each cluster."""
    live, stopped = add_services(stage, "running", 2), add_services(stage, "stopped", 1)
    for cluster in CLUSTERS:
        stage.services.set_desired(stage.service(f"{cluster}-running-1"), 0)
    stage.while_time_passes(60)
    fail(stage, ERRORS[error])
    drift(stage)
    assert {name: [stage.status(each) for each in ids] for name, ids in live.items()} == {
        CLUSTER: ["running", "stopped"],
        FAILING: ["running", "running"],
        "web-3": ["running", "stopped"],
    }
    assert {stage.status(each) for ids in stopped.values() for each in ids} == {"stopped"}
    assert set(stage.failures) == {*live[FAILING], FAILING}


def test_services_of_a_failing_cluster_do_not_delay_the_others(stage: ServiceStage) -> None:
    """Only the first call is repeated."""
    add_services(stage, "running", 25)
    fail(stage, THROTTLED)
    with stage.open():
        stage.wired.drift.sweep(None)
    calls = [call["cluster"] for call in stage.parameters("DescribeServices")]
    assert {cluster: calls.count(cluster) for cluster in CLUSTERS} == {CLUSTER: 3, FAILING: 6 + 2, "web-3": 3}


def test_schedules_stop_and_start_the_services_of_the_other_clusters(stage: ServiceStage) -> None:
    containers = add_services(stage, "running", 4)
    every = [container for ids in containers.values() for container in ids]
    fail(stage, DENIED)
    for operation, status in ((Operation.STOP, "stopped"), (Operation.START, "running")):
        stage.failures.clear()
        now = stage.clock.now()
        wanted = ScheduleInput(project_id=PROJECT, container_ids=every, operation=operation, rule="hours", time=now)
        with stage.open():
            stage.wired.schedules.run(wanted, "run-1", lambda: True, now=now)
        named = [f"{container} in the cluster {FAILING}" for container in containers[FAILING]]
        assert stage.failures == (named if operation is Operation.STOP else [])
        for name in (CLUSTER, "web-3"):
            for container in containers[name]:
                stage.settle(container)
        for name, ids in containers.items():
            assert {stage.status(each) for each in ids} == {"running" if name == FAILING else status}
