"""Tests of a stack with several clusters, of which one fails: the others are not affected, and the failure is named."""

import json
from typing import Any

import pytest
from longshore.aws.functions import Function
from longshore.domain.errors import ExternalServiceError
from longshore.domain.lifecycle import Operation
from longshore.engine.continuation import Part, Position, SweepContinuation, sweep_drift
from longshore.engine.schedules import ScheduleInput
from simulation import services

from engine.aws import CLUSTER, DENIED, FAILED, THROTTLED, Call
from engine.services import MAXIMUM, MINIMUM, ServiceStage
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


SUSPENDED = (0, MAXIMUM, (True, True, True))
State = tuple[Any, ...]
"""What ECS shows: the number of tasks; for a service, its counts, and the state of its scalable target or None."""


def add_tasks_and_services(stage: ServiceStage) -> dict[str, dict[str, State]]:
    """Add 200 running tasks and 50 running services. Returns their states by cluster and container."""
    containers: dict[str, list[str]] = {name: [] for name in CLUSTERS}
    for number in range(1, 201):
        cluster = CLUSTERS[number % 3]
        containers[cluster].append(stage.add("running", number=number, cluster=cluster))
    for number in range(50):
        cluster, count, scales = CLUSTERS[number % 3], MINIMUM + number % 5, number % 2 == 0
        service = stage.add_service("running", name=f"shop-{number}", count=count, scales=scales, cluster=cluster)
        containers[cluster].append(service)
    return {name: {container: state_of(stage, container) for container in ids} for name, ids in containers.items()}


def state_of(stage: ServiceStage, container_id: str) -> State:
    name = stage.container(container_id).runtime.service
    if name is None:
        return (len(stage.live(container_id)),)
    target = stage.services.target(stage.service(name))
    return *stage.counts(name), services.state_of(target) if target else None


def run_schedule(stage: ServiceStage, wanted: ScheduleInput) -> tuple[int, set[str]]:
    """Run a schedule. Returns the number of operations that have begun, and the containers that have failed."""
    stage.failures.clear()
    stage.reasons.clear()
    with stage.open():
        result = stage.wired.schedules.run(wanted, "run-1", lambda: True, now=stage.clock.now())
    assert sorted(stage.failures) == sorted(f"{container} in the cluster {FAILING}" for container in result.failed)
    return result.begun, set(result.failed)


def pass_minutes(stage: ServiceStage, number: int) -> None:
    """Run the recovery sweep each minute."""
    for _ in range(number):
        stage.while_time_passes(61)
        stage.sweep()


def check_done(stage: ServiceStage, containers: dict[str, State], operation: Operation, rows: int) -> None:
    """Check the containers after a scheduled stop or start. `rows` is the number of rows that each of them has."""
    for container_id, running in containers.items():
        container, history = stage.container(container_id), stage.rows(container_id)
        row, stops = history[-1], operation is Operation.STOP
        assert (container.status, container.operation) == ("stopped" if stops else "running", None)
        assert (len(history), container.log_count) == (rows, rows)
        assert (row["to_status"], row["triggered_by"]) == (container.status, "schedule")
        assert (row["metadata"]["command"], row["metadata"]["rule"]) == (operation, "hours")
        if container.runtime.service is None:
            assert state_of(stage, container_id) == ((0,) if stops else running)
        else:
            count, _, target = running
            assert container.desired_count == row["metadata"]["desired_count"] == count
            assert state_of(stage, container_id) == ((0, 0, target and SUSPENDED) if stops else running)


def test_schedules_of_200_tasks_and_50_services_while_a_cluster_fails(stage: ServiceStage) -> None:
    stage.with_events()
    containers = add_tasks_and_services(stage)
    failing, others = containers[FAILING], containers[CLUSTER] | containers["web-3"]
    every = failing | others
    assert (len(failing), len(others)) == (84, 166)

    def untouched() -> list[Any]:
        return [(stage.status(each), stage.rows(each), state_of(stage, each)) for each in failing]

    # ECS refuses all calls, so that the operations have no effect. The run is retried, as Lambda does.
    before = untouched()
    stop = ScheduleInput(project_id=PROJECT, operation=Operation.STOP, rule="hours", time=stage.clock.now())
    fail(stage, ERRORS["gone"])
    assert run_schedule(stage, stop) == (166, {*failing})
    assert stage.reasons == {"The cluster does not exist"}
    pass_minutes(stage, 2)
    assert run_schedule(stage, stop) == (0, {*failing})
    check_done(stage, others, Operation.STOP, 2)
    assert untouched() == before
    stage._hooks.clear()
    assert run_schedule(stage, stop) == (84, set())
    pass_minutes(stage, 2)
    check_done(stage, every, Operation.STOP, 2)

    # ECS fails without a statement about the effect, so that the operations stay pending until the recovery sweep.
    before = untouched()
    start = stop.model_copy(update={"operation": Operation.START, "time": stage.clock.now()})
    fail(stage, FAILED)
    assert run_schedule(stage, start) == (166, {*failing})
    assert stage.reasons == {"ECS returned an error"}
    stage.failures.clear()
    pass_minutes(stage, 2)
    assert set(stage.failures) == set(failing)
    assert run_schedule(stage, start) == (0, set())
    check_done(stage, others, Operation.START, 3)
    assert untouched() == before
    stage._hooks.clear()
    pass_minutes(stage, 2)
    check_done(stage, every, Operation.START, 3)
    assert run_schedule(stage, start) == (0, set())
