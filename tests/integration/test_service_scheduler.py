"""The simulated service scheduler on a virtual clock, without HTTP."""

from itertools import pairwise
from typing import Any

from integration.service_world import World, completed, counts, refused

from local.emulator.ecs.rollout import Plan, failure_threshold, plan, stalled
from local.emulator.ecs.services import MAX_EVENTS, Counts

BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": False}}
ROLLBACK = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}

# --- decisions --------------------------------------------------------------------------------------------------------


def test_the_plan_respects_the_minimum_and_the_maximum() -> None:
    nothing = Counts(0, 0, 0, 0)

    def run(number: int) -> Counts:
        return Counts(number, number, 0, number)

    def pend(number: int) -> Counts:
        return Counts(number, 0, number, 0)

    cases: list[tuple[tuple[int, int, int], Counts, Counts | None, Plan]] = [
        ((3, 100, 200), nothing, None, Plan(start=3)),
        ((3, 100, 200), run(5), None, Plan(stop=2)),
        ((0, 100, 200), run(2), None, Plan(stop=2)),
        # New tasks first, then the old ones.
        ((4, 100, 200), nothing, run(4), Plan(start=4)),
        ((4, 100, 200), pend(4), run(4), Plan()),
        ((4, 100, 200), run(4), run(4), Plan(stop_replaced=4)),
        # Half of the old tasks first, and no more than four at a time.
        ((4, 50, 100), nothing, run(4), Plan(stop_replaced=2)),
        ((4, 50, 100), nothing, run(2), Plan(start=2)),
        # Tasks that have been asked to stop count until they have stopped.
        ((4, 50, 100), nothing, Counts(2, 2, 0, 4), Plan()),
        # The minimum is rounded up, the maximum down.
        ((3, 50, 125), nothing, run(3), Plan(stop_replaced=1)),
        ((2, 75, 200), nothing, run(2), Plan(start=2)),
        # Old tasks that do not run yet may be stopped at any time.
        ((4, 100, 200), nothing, pend(4), Plan(start=4, stop_replaced=4)),
        ((0, 100, 200), run(1), run(4), Plan(stop=1, stop_replaced=4)),
    ]
    for (desired, minimum, maximum), new, replaced, expected in cases:
        assert plan(desired, minimum, maximum, new, replaced) == expected, (desired, minimum, maximum, new, replaced)
    assert stalled(3, nothing, run(2)) == Plan()
    assert stalled(1, run(1), run(2)) == Plan(stop=1, stop_replaced=1)
    assert [failure_threshold(desired) for desired in (0, 1, 6, 7, 25, 400, 800)] == [3, 3, 3, 4, 13, 200, 200]


# --- counts -----------------------------------------------------------------------------------------------------------


def test_a_service_runs_its_desired_count() -> None:
    world = World()
    assert counts(world.describe()) == (3, 0, 0)
    service = world.advance()
    assert counts(service) == (3, 3, 0)
    (deployment,) = service["deployments"]
    assert (deployment["status"], deployment["rolloutState"]) == ("PRIMARY", "COMPLETED")
    assert {(task.group, task.started_by) for task in world.tasks()} == {("service:web", deployment["id"])}
    assert world.messages()[0] == "(service web) has reached a steady state."
    assert world.messages()[2].startswith("(service web) has started 3 tasks: (task ")
    assert world.events() == [
        ("ECS Deployment State Change", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
        ("ECS Deployment State Change", "SERVICE_DEPLOYMENT_COMPLETED"),
        ("ECS Service Action", "SERVICE_STEADY_STATE"),
    ]
    arns = [task.arn for task in world.tasks()]
    world.ecs.handle("RunTask", {"cluster": "main", "taskDefinition": "web"})
    listed = world.ecs.handle("ListTasks", {"cluster": "main", "serviceName": "web"})
    assert listed["taskArns"] == arns


def test_a_changed_count_starts_no_deployment() -> None:
    world = World()
    (before,) = world.advance()["deployments"]
    for desired in (0, 12, 1):
        world.events()
        world.update(desiredCount=desired)
        service = world.advance()
        assert counts(service) == (desired, desired, 0)
        assert [each["id"] for each in service["deployments"]] == [before["id"]]
        assert world.events() == [("ECS Service Action", "SERVICE_STEADY_STATE")]
    codes = {(task.stop_code, task.stopped_reason) for task in world.ecs.tasks() if not task.live}
    assert codes == {("ServiceSchedulerInitiated", f"Scaling activity initiated by (deployment {before['id']})")}
    world.update(desiredCount=1)
    world.advance()
    assert world.events() == []


def test_ended_tasks_are_replaced() -> None:
    world = World()
    world.advance()
    stopped, exited, forgotten = (task.arn for task in world.tasks())
    world.ecs.handle("StopTask", {"cluster": "main", "task": stopped})
    world.ecs.exit(exited, 1)
    assert counts(world.advance()) == (3, 3, 0)
    world.ecs.forget(forgotten)
    assert counts(world.advance()) == (3, 3, 0)
    assert not {stopped, exited, forgotten} & {task.arn for task in world.tasks()}
    assert world.ecs.task(stopped).stop_code == "UserInitiated"
    assert world.messages()[0] == "(service web) has reached a steady state."


def test_tasks_that_do_not_run_yet_are_stopped_first() -> None:
    world = World()
    world.advance()
    running = {task.arn for task in world.tasks()}
    world.update(desiredCount=5)
    assert counts(world.advance(0.3)) == (5, 3, 2)
    world.update(desiredCount=3)
    assert counts(world.advance()) == (3, 3, 0)
    assert {task.arn for task in world.tasks()} == running


def test_an_adopted_service_runs_without_events() -> None:
    world = World()
    world.advance()
    world.ecs.drain_events()
    request = {"cluster": "main", "serviceName": "old", "taskDefinition": "web", "desiredCount": 2}
    service = world.ecs.adopt_service(request)
    adopted = [task for task in world.tasks() if task.group == "service:old"]
    assert [task.last_status for task in adopted] == ["RUNNING"] * 2
    assert (service.primary.rollout_state, service.steady) == ("COMPLETED", True)
    world.advance(60)
    assert world.ecs.drain_events() == []
    world.ecs.exit(adopted[0].arn, 0)
    world.advance()
    assert len([task for task in world.tasks() if task.group == "service:old"]) == 2


# --- deployments ------------------------------------------------------------------------------------------------------


def test_a_rolling_deployment_stays_within_its_limits() -> None:
    for minimum, maximum in ((100, 200), (50, 100), (75, 150)):
        limits = {"minimumHealthyPercent": minimum, "maximumPercent": maximum}
        world = World(desiredCount=4, deploymentConfiguration=limits)
        (before,) = world.advance()["deployments"]
        old = {task.arn for task in world.tasks()}
        world.update(forceNewDeployment=True)
        new, ending = world.describe()["deployments"]
        assert (new["status"], new["rolloutState"]) == ("PRIMARY", "IN_PROGRESS")
        assert (ending["status"], ending["id"]) == ("ACTIVE", before["id"])
        most, least = 4, 4
        while not completed(service := world.step()):
            most = max(most, service["runningCount"] + service["pendingCount"])
            least = min(least, sum(task.last_status == "RUNNING" for task in world.tasks()))
        assert (most, least) == (4 * maximum // 100, 4 * minimum // 100)
        assert counts(world.advance()) == (4, 4, 0)
        assert not old & {task.arn for task in world.tasks()}
        assert world.describe()["deployments"][0]["id"] == new["id"]


def test_another_task_definition_starts_a_deployment_and_the_same_does_not() -> None:
    world = World()
    (before,) = world.advance()["deployments"]
    world.update(taskDefinition="web", deploymentConfiguration={"maximumPercent": 150})
    assert [each["id"] for each in world.describe()["deployments"]] == [before["id"]]
    world.update(taskDefinition="large")
    service = world.advance()
    assert service["deployments"][0]["id"] != before["id"]
    assert {task.definition.family for task in world.tasks()} == {"large"}
    assert service["taskDefinition"].endswith("/large:1")
    assert service["deploymentConfiguration"]["maximumPercent"] == 150


def test_the_circuit_breaker_fails_a_deployment() -> None:
    world = World(deploymentConfiguration=BREAKER)
    (before,) = world.advance()["deployments"]
    world.events()
    world.update(taskDefinition="unpullable")
    failed, old = world.advance(3600)["deployments"]
    assert (failed["status"], failed["rolloutState"], failed["failedTasks"]) == ("PRIMARY", "FAILED", 3)
    assert (old["id"], old["status"], old["runningCount"]) == (before["id"], "ACTIVE", 3)
    assert world.events() == [
        ("ECS Deployment State Change", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
        ("ECS Service Action", "SERVICE_TASK_START_IMPAIRED"),
        ("ECS Deployment State Change", "SERVICE_DEPLOYMENT_FAILED"),
    ]
    # A failed deployment starts no tasks, but the service can be stopped.
    world.update(desiredCount=0)
    assert counts(world.advance()) == (0, 0, 0)
    world.update(desiredCount=2)
    assert counts(world.advance(3600)) == (2, 0, 0)
    world.update(taskDefinition="web")
    assert counts(world.advance()) == (2, 2, 0)


def test_the_circuit_breaker_rolls_back_to_the_completed_deployment() -> None:
    world = World(deploymentConfiguration=ROLLBACK)
    (before,) = world.advance()["deployments"]
    world.update(taskDefinition="unpullable", desiredCount=2)
    service = world.advance(3600)
    (after,) = service["deployments"]
    assert (after["id"], after["status"], after["rolloutState"]) == (before["id"], "PRIMARY", "COMPLETED")
    assert service["taskDefinition"].endswith("/web:1")
    assert counts(service) == (2, 2, 0)
    assert f"(service web) rolling back to deployment {before['id']}." in world.messages()
    # Without a deployment that has completed, there is nothing to roll back to.
    new = World(taskDefinition="unpullable", deploymentConfiguration=ROLLBACK)
    (failed,) = new.advance(3600)["deployments"]
    assert (failed["rolloutState"], counts(new.describe())) == ("FAILED", (3, 0, 0))


def test_a_rollback_that_fails_is_not_repeated() -> None:
    world = World(deploymentConfiguration=ROLLBACK)
    (before,) = world.advance()["deployments"]
    # From now on, no task can start.
    for family in ("web", "unpullable"):
        world.labels[family]["simulate.start"] = "fail"
    world.update(taskDefinition="unpullable", desiredCount=4)
    (after,) = world.advance(3600)["deployments"]
    assert (after["id"], after["rolloutState"]) == (before["id"], "FAILED")
    assert counts(world.describe()) == (4, 3, 0)


def test_the_circuit_breaker_monitors_a_deployment_until_a_task_runs() -> None:
    world = World(desiredCount=5, taskDefinition="large", deploymentConfiguration=BREAKER)
    (deployment,) = world.advance(3600)["deployments"]
    assert (deployment["rolloutState"], deployment["runningCount"]) == ("IN_PROGRESS", 4)
    assert deployment["failedTasks"] > failure_threshold(5)


def test_without_a_circuit_breaker_failed_tasks_are_restarted_less_and_less_often() -> None:
    world = World(desiredCount=1, taskDefinition="unpullable")
    service = world.advance(24 * 3600)
    assert service["deployments"][0]["rolloutState"] == "IN_PROGRESS"
    started = [event["createdAt"] for event in reversed(service["events"]) if "has started" in event["message"]]
    waits = [(later - earlier).total_seconds() for earlier, later in pairwise(started)]
    assert waits == sorted(waits)
    assert 27 * 60 <= waits[-1] < 27 * 60 + 5
    assert sum("unable to consistently start tasks" in message for message in world.messages()) == 1
    world.update(desiredCount=2)
    assert sum("has started 2 tasks" in event["message"] for event in world.advance(1)["events"]) == 1


def test_a_task_that_cannot_be_placed_is_reported_once() -> None:
    world = World(desiredCount=5, taskDefinition="large")
    service = world.advance(600)
    assert counts(service) == (5, 4, 0)
    failures = [message for message in world.messages() if "was unable to place a task" in message]
    assert len(failures) == 1
    assert "has insufficient memory available" in failures[0]
    detail = [event["detail"] for event in world.ecs.drain_events() if event["detail-type"] == "ECS Service Action"]
    assert [(each["eventName"], each["reason"]) for each in detail] == [
        ("SERVICE_TASK_PLACEMENT_FAILURE", "RESOURCE:MEMORY")
    ]
    world.ecs.set_capacity(world.host, memory=5000)
    assert counts(world.advance(3600)) == (5, 5, 0)
    assert [service.failures for service in world.ecs.services()] == [0]
    world.ecs.terminate_instance(world.host)
    assert counts(world.advance()) == (5, 0, 0)
    assert "Reason: No Container Instances were found in your cluster." in "".join(world.messages())


def test_a_service_can_be_blocked_and_unblocked() -> None:
    world = World(desiredCount=2)
    (service,) = world.ecs.services()
    service.blocked = True
    assert counts(world.advance()) == (2, 0, 0)
    assert "Reason: no capacity is available." in world.messages()[0]
    service.blocked = False
    world.update()
    assert counts(world.advance()) == (2, 2, 0)


def test_a_service_is_forgotten_when_it_is_inactive() -> None:
    world = World(desiredCount=1)
    (service,) = world.ecs.services()
    world.ecs.handle("DeleteService", {"cluster": "main", "service": "web", "force": True})
    assert world.advance()["status"] == "INACTIVE"
    world.ecs.forget_service(service)
    answer = world.ecs.handle("DescribeServices", {"cluster": "main", "services": ["web"]})
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]


def test_the_newest_events_are_kept() -> None:
    world = World(desiredCount=1)
    for _ in range(MAX_EVENTS):
        world.update(forceNewDeployment=True)
        world.advance()
    events = world.describe()["events"]
    assert len(events) == len({event["id"] for event in events}) == MAX_EVENTS
    assert [event["createdAt"] for event in events] == sorted((event["createdAt"] for event in events), reverse=True)


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_deleted_service_drains() -> None:
    world = World()
    world.advance()
    assert refused(world, "DeleteService", {"service": "web"}) == "InvalidParameterException"
    deleted = world.ecs.handle("DeleteService", {"cluster": "main", "service": "web", "force": True})
    assert deleted["service"]["status"] == "DRAINING"
    assert refused(world, "UpdateService", {"service": "web", "desiredCount": 1}) == "ServiceNotActiveException"
    service = world.advance()
    assert (service["status"], counts(service), service["deployments"]) == ("INACTIVE", (0, 0, 0), [])
    assert world.ecs.handle("ListServices", {"cluster": "main"})["serviceArns"] == []
    world.create(desiredCount=1)
    assert counts(world.advance()) == (1, 1, 0)


def test_requests_that_are_refused() -> None:
    world = World(clientToken="t")
    new = {"serviceName": "api", "taskDefinition": "web", "desiredCount": 1}
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("CreateService", {**new, "serviceName": "a b"}, "InvalidParameterException"),
        ("CreateService", {**new, "serviceName": "web"}, "InvalidParameterException"),
        ("CreateService", {**new, "taskDefinition": "none"}, "ClientException"),
        ("CreateService", {**new, "desiredCount": -1}, "InvalidParameterException"),
        ("CreateService", {"serviceName": "api", "taskDefinition": "web"}, "InvalidParameterException"),
        ("CreateService", {**new, "launchType": "FARGATE"}, "InvalidParameterException"),
        ("CreateService", {**new, "schedulingStrategy": "DAEMON"}, "InvalidParameterException"),
        (
            "CreateService",
            {**new, "deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 100}},
            "InvalidParameterException",
        ),
        ("UpdateService", {"service": "none", "desiredCount": 1}, "ServiceNotFoundException"),
        ("UpdateService", {"service": "web", "desiredCount": -1}, "InvalidParameterException"),
        ("UpdateService", {"service": "web", "desiredCount": 9, "taskDefinition": "none"}, "ClientException"),
        ("DescribeServices", {"services": []}, "InvalidParameterException"),
        ("DescribeServices", {"services": ["web"] * 11}, "InvalidParameterException"),
        ("DeleteService", {"service": "none"}, "ServiceNotFoundException"),
        ("ListServices", {"cluster": "none"}, "ClusterNotFoundException"),
    ]
    for operation, parameters, code in cases:
        assert refused(world, operation, parameters) == code, (operation, parameters)
    assert world.create(desiredCount=3, clientToken="t")["serviceArn"] == world.describe()["serviceArn"]


def test_services_are_found_by_name_and_arn() -> None:
    world = World()
    arns = [world.describe()["serviceArn"], *(world.create(f"s{n}", desiredCount=0)["serviceArn"] for n in range(11))]
    assert arns[0] == "arn:aws:ecs:us-east-1:123456789012:service/main/web"
    first = world.ecs.handle("ListServices", {"cluster": "main"})
    second = world.ecs.handle("ListServices", {"cluster": "main", "nextToken": first["nextToken"]})
    assert first["serviceArns"] + second["serviceArns"] == arns
    answer = world.ecs.handle("DescribeServices", {"cluster": "main", "services": [arns[1], "none"]})
    assert [service["serviceName"] for service in answer["services"]] == ["s0"]
    assert answer["failures"] == [{"arn": arns[0].replace("/web", "/none"), "reason": "MISSING"}]
