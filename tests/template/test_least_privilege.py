"""Every function may do what it does, and nothing else.

The stack runs without events, so that between two moments only one function makes calls, and the authorizer. Scenarios
drive each function through every call that its code can make: ordinary requests, Idempotency-Keys, races, failing
services, and what recovery, events and schedules do. Each call becomes the questions that AWS would ask IAM, and these
are held against the policies of the function's role in the template. A call that is not allowed fails, and so does a
permission that no scenario needs: then either the permission goes, or a scenario is missing.

Out of scope: what SAM adds for logs (AWSLambdaBasicExecutionRole) and traces (AWSXrayWriteOnlyAccess).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any
from unittest.mock import patch

import conftest
import pytest
from api_client import Api
from settling import eventually, make_overdue, recover_all, set_looks_back
from template import iam

from local import template
from local.runtime import FunctionError
from local.seed import INSTANCE, PROJECT, WEB, Seeder
from local.stack import LocalStack

TASK_ROLES = [f"arn:aws:iam::{template.ACCOUNT_ID}:role/{name}" for name in ("task", "execution")]
PARAMETERS = {**conftest.PARAMETERS, "TaskRoleArns": ",".join(TASK_ROLES)}
MANAGED_INSTANCE = "mi-0a1b2c3d4e5f60718"
WITH_ROLES = "with-roles"
FUNCTIONS = sorted(template.load().functions)

STOPPED = ["stopped"]
RUNNING = ["stopped", "running"]
PAUSED = ["stopped", "running", "paused"]
FAILED = ["stopped", "running", "failed"]
# A status that is more than two minutes old, so that it is no longer too young for the drift sweep.
LONG_RUNNING = ["stopped", "running"] * 15
# A status that says that a service failed, which botocore does not repeat the request for.
NOT_REPEATED = 505

# Each operation's function, and the statuses that it takes different ways from.
OPERATIONS = {
    "start": ("StartFunction", [STOPPED]),
    "stop": ("StopFunction", [RUNNING, PAUSED]),
    "force-stop": ("ForceStopFunction", [RUNNING, FAILED]),
    "restart": ("RestartFunction", [STOPPED, RUNNING, PAUSED, FAILED]),
    "pause": ("PauseFunction", [RUNNING]),
    "resume": ("ResumeFunction", [PAUSED]),
}
# The call by which an operation acts on such a container first.
ACTS = {
    "start": ("ecs", "RunTask", STOPPED),
    "stop": ("ecs", "StopTask", RUNNING),
    "force-stop": ("ecs", "StopTask", RUNNING),
    "restart": ("ecs", "StopTask", RUNNING),
    "pause": ("ssm", "SendCommand", RUNNING),
    "resume": ("ssm", "SendCommand", PAUSED),
}


class Recorder:
    """What each function has asked IAM for, by logical id."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._calls = stack.emulator.calls
        self._others: list[range] = []
        self.used: dict[str, set[iam.Request]] = {function: set() for function in FUNCTIONS}

    @contextmanager
    def of(self, function: str) -> Iterator[None]:
        """Record what the function does while this is open, and the authorizer before it."""
        self._calls.clear()
        self._others.clear()
        yield
        for number, call in enumerate(self._calls.list()):
            if any(number in others for others in self._others):
                continue
            caller = "AuthorizerFunction" if call.service == "secretsmanager" else function
            self.used[caller].update(iam.requests(call, self._task_roles))

    @contextmanager
    def interrupted(self, service: str, operation: str, meanwhile: Callable[[], object]) -> Iterator[None]:
        """Do something just before the function's first call of an operation. Its calls are not the function's."""
        from longshore.wiring import api_functions

        client = {"dynamodb": api_functions.dynamodb, "ecs": api_functions.ecs}[service]()
        done: list[str] = []

        def interrupt(**_: Any) -> None:
            if not done:
                done.append(operation)
                begin = len(self._calls)
                meanwhile()
                self._others.append(range(begin, len(self._calls)))

        event = f"before-call.{service}.{operation}"
        client.meta.events.register(event, interrupt)
        try:
            yield
        finally:
            client.meta.events.unregister(event, interrupt)
        assert done, f"the function did not call {operation}"

    def _task_roles(self, task_definition: str) -> list[str]:
        # Not through the emulator: that would be recorded.
        return TASK_ROLES if WITH_ROLES in task_definition else []


@dataclass
class Scene:
    """What a scenario has at hand."""

    stack: LocalStack
    api: Api
    seeder: Seeder
    recorder: Recorder
    told: list[dict[str, Any]]
    ids: Iterator[int]

    def add(self, statuses: Sequence[str], **settings: Any) -> str:
        """Add a container. One on EXTERNAL has its task on the managed instance."""
        identity = f"1ea5{next(self.ids):020x}"
        ecs = self.stack.emulator.ecs
        host = MANAGED_INSTANCE if settings.get("launch_type") == "EXTERNAL" else INSTANCE
        with patch.object(ecs, "adopt_running", partial(ecs.adopt_running, ec2_instance_id=host)):
            self.seeder.add(identity, statuses, **{"task_definition": WITH_ROLES, **settings})
        return identity

    def post(self, container: str, operation: str, status: int = 200, user: str = "operator", key: str = "") -> None:
        """Ask for an operation, and record what its function does."""
        headers = {"Idempotency-Key": key.replace(" ", "-")} if key else {}
        with self.recorder.of(OPERATIONS[operation][0]):
            response = self.api.post(container, operation, user, headers=headers)
        assert response.status_code == status, f"{operation}: {response.text}"

    def get(self, container: str, user: str) -> None:
        with self.recorder.of("GetContainerFunction"):
            assert self.api.get(container, user).status_code == 200
        for sort_by in ("transition_time", "to_status", "from_status"):
            with self.recorder.of("StatusLogsFunction"):
                assert self.api.logs(container, user, sort_by=sort_by).status_code == 200

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        with self.recorder.of(function):
            result: dict[str, Any] = self.stack.invoke(function, event)
        return result

    def expire(self) -> None:
        """What another process may do at any time: the server of the containers bound to one is gone."""
        self.stack.invoke("ServerTerminatedFunction", terminated(INSTANCE))

    def leave_pending(self, container: str, operation: str, key: str = "", by: str = "", lost: bool = False) -> None:
        """Begin an operation while the call by which it acts gets no answer; `lost` if it takes effect all the same."""
        from longshore.wiring import api_functions

        service, act, _ = ACTS[operation]
        services = {by or act: "ecs" if by else service}
        if operation in ("stop", "restart"):
            # A paused container is resumed first.
            services["SendCommand"] = "ssm"
        faults = self.stack.emulator.faults
        for call, name in services.items():
            faults.add(name, call, "Down", status=NOT_REPEATED, times=None, after_effect=lost)
        with patch.object(api_functions.operations(), "_wait", timedelta()):
            self.post(container, operation, 500, key=key)
        faults.clear()

    def leave_to_the_host(self, container: str, operation: str, key: str = "") -> None:
        """Begin an operation without waiting for the host's command to end."""
        from longshore.wiring import api_functions

        with patch.object(api_functions.operations(), "_wait", timedelta()):
            self.post(container, operation, 202, key=key)

    def refuse_the_token(self) -> None:
        """The next RunTask is answered that its token was used with other parameters."""
        self.stack.emulator.faults.add("ecs", "RunTask", "ConflictException", status=400)

    def failed_with_a_task(self, launch_type: str = "EC2") -> str:
        """Add a container that failed because nobody could find out about its task, which lives."""
        container = self.add(FAILED, launch_type=launch_type)
        host = MANAGED_INSTANCE if launch_type == "EXTERNAL" else INSTANCE
        self.stack.client("dynamodb").update_item(
            TableName=self.stack.table_name("ContainersTable"),
            Key={"id": {"S": container}},
            UpdateExpression="SET task_arn = :task",
            ExpressionAttributeValues={":task": {"S": self.stray(container, host)}},
        )
        return container

    @contextmanager
    def no_capacity(self) -> Iterator[None]:
        """No instance has room for another task."""
        hosts = (INSTANCE, MANAGED_INSTANCE)
        for host in hosts:
            self.stack.emulator.ecs.set_capacity(host, memory=0)
        yield
        for host in hosts:
            self.stack.emulator.ecs.set_capacity(host)

    def recover(self, *containers: str) -> None:
        for container in containers:
            assert make_overdue(self.stack, container)
        self.invoke("RecoverFunction", {"sweep": "operations"})

    def task_of(self, container: str) -> str:
        (task,) = self.stack.emulator.ecs.live(started_by=container)
        return task.arn

    def stray(self, container: str, host: str = INSTANCE) -> str:
        """One more task of the container, which it does not know of."""
        ecs, cluster = self.stack.emulator.ecs, str(self.stack.parameters["ClusterName"])
        return ecs.adopt_running(cluster, WEB, started_by=container, ec2_instance_id=host).arn

    def event(self, container: str, status: str) -> dict[str, Any]:
        """What ECS tells when the container's task has the status."""

        def fits(event: dict[str, Any]) -> bool:
            detail = event["detail"]
            return (detail.get("startedBy"), detail.get("lastStatus")) == (container, status)

        return copy.deepcopy(eventually(lambda: [event for event in list(self.told) if fits(event)])[-1])

    def host_has_run(self, container: str) -> dict[str, Any]:
        """What Systems Manager tells when a host has run the container's newest command."""
        command = self.stack.emulator.ssm.invocations()[-1]
        assert f"container {container}," in command.comment

        def fits(event: dict[str, Any]) -> bool:
            detail = event["detail"]
            return (detail.get("command-id"), detail.get("status")) == (command.command_id, "Success")

        return eventually(lambda: [event for event in list(self.told) if fits(event)])[-1]

    def tell(self, container: str, status: str) -> str:
        return str(self.invoke("TaskStateChangeFunction", self.event(container, status))["effect"])


def terminated(instance: str) -> dict[str, Any]:
    return {"time": "2025-01-15T10:30:00Z", "detail": {"instance-id": instance, "state": "terminated"}}


# --- Scenarios --------------------------------------------------------------------------------------------------------


def ordinary(scene: Scene) -> None:
    for operation, (_, histories) in OPERATIONS.items():
        for history in histories:
            scene.post(scene.add(history), operation)
            if history in (RUNNING, PAUSED):
                scene.post(scene.add(history, launch_type="EXTERNAL", task_definition=WEB), operation)
    container = scene.add(STOPPED, server=INSTANCE)
    scene.post(container, "start")
    scene.get(container, "viewer")
    with scene.recorder.of("UnknownOperationFunction"):
        assert scene.api.post(container, "explode").status_code == 400


def idempotency_keys(scene: Scene) -> None:
    for operation, (service, call, history) in ACTS.items():
        container = scene.add(history)
        scene.post(container, operation, key=f"{operation} new")
        scene.post(container, operation, key=f"{operation} new")
        # A conflict is kept without a commit. Only a restart has none.
        scene.post(container, operation, 200 if operation == "restart" else 400, key=f"{operation} again")
        # An error is not kept: the key is free again.
        scene.stack.emulator.faults.add(service, call, "AccessDeniedException", status=400)
        if operation == "force-stop":
            # With the kill accepted, the operation has had an effect.
            scene.stack.emulator.faults.add("ssm", "SendCommand", "AccessDeniedException", status=400)
        scene.post(scene.add(history), operation, 500, key=f"{operation} refused")
    # A repeat while the first is under way, or was left behind.
    container = scene.add(STOPPED)
    scene.leave_pending(container, "start", key="left behind", lost=True)
    scene.post(container, "start", key="left behind")


def users_of_many_projects(scene: Scene) -> None:
    for number in range(100):
        scene.seeder.grant("busy", f"{number:024x}", "viewer")
    scene.seeder.grant("busy", PROJECT, "operator")
    for operation, (_, (history, *_)) in OPERATIONS.items():
        container = scene.add(history)
        scene.post(container, operation, user="busy")
    scene.get(container, "busy")


def answers_without_the_effect(scene: Scene) -> None:
    from longshore.wiring import api_functions

    with patch.object(api_functions.operations(), "_wait", timedelta()):
        for key in ("", "noted"):
            scene.post(scene.add(STOPPED), "start", 202, key=key and f"{key} start")
            scene.post(scene.add(RUNNING), "stop", 202, key=key and f"{key} stop")


def others_are_quicker(scene: Scene) -> None:
    """Before the commit, the container expires. What the start has run is stopped again."""
    for operation, (_, _, history) in ACTS.items():
        container = scene.add(history, server=INSTANCE)
        with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
            scene.post(container, operation, 403)


def tasks_that_have_to_be_looked_for(scene: Scene) -> None:
    """The task definition has changed since RunTask was called first, so its client token no longer tells the task."""
    from longshore.wiring import api_functions

    for operation, history in (("start", STOPPED), ("restart", STOPPED)):
        container = scene.add(history)
        scene.refuse_the_token()
        with patch.object(api_functions.operations(), "_wait", timedelta()):
            scene.post(container, operation, 202)


def force_stop_in_place_of_a_start(scene: Scene) -> None:
    """Only the start's token tells which task it has run, unless ECS will not say."""
    container = scene.add(STOPPED)
    scene.leave_pending(container, "start", lost=True)
    scene.post(container, "force-stop")
    container = scene.add(STOPPED)
    scene.leave_pending(container, "start", lost=True)
    scene.stack.emulator.faults.add("ecs", "RunTask", "AccessDeniedException", status=400)
    scene.post(container, "force-stop")


def restart_of_what_left_a_task(scene: Scene) -> None:
    scene.post(scene.failed_with_a_task(), "restart")


def task_events(scene: Scene) -> None:
    container = scene.add(RUNNING)
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    assert scene.tell(container, "STOPPED") == "recorded"

    # The start ran a task, and nobody was told of it. The row keeps the answer, or frees the key.
    for family, status in ((WITH_ROLES, "RUNNING"), ("unpullable", "STOPPED")):
        container = scene.add(STOPPED, task_definition=family)
        scene.leave_pending(container, "start", key=f"{family} told", lost=True)
        assert scene.tell(container, status) == "settled"

    # A restart goes on to its second step.
    container = scene.add(RUNNING)
    scene.leave_pending(container, "restart")
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    assert scene.tell(container, "STOPPED") == "settled"

    # A failed container's task has ended, and is told of late: a force-stop has taken the place of the restart by then,
    # and that may have run another task, which has to be stopped too.
    for launch_type, refuses in (("EC2", False), ("EXTERNAL", False), ("EC2", True)):
        container = scene.failed_with_a_task(launch_type)
        scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
        scene.event(container, "STOPPED")
        scene.leave_pending(container, "restart", by="RunTask", lost=True)
        scene.event(container, "RUNNING")
        scene.leave_pending(container, "force-stop", by="RunTask")
        if refuses:
            scene.stack.emulator.faults.add("ecs", "RunTask", "AccessDeniedException", status=400)
        assert scene.tell(container, "STOPPED") == "settled"

    # A task that its container does not have.
    container = scene.add(RUNNING)
    event = {"detail": scene.stack.emulator.ecs.task(scene.stray(container)).to_api()}
    event = iso_times(event)
    assert scene.invoke("TaskStateChangeFunction", event) == {"effect": "stray-stopped"}

    # A container that has failed because ECS did not show its task, which is told of again.
    container = scene.add(RUNNING)
    task = scene.stack.emulator.ecs.task(scene.task_of(container))
    scene.stack.client("dynamodb").update_item(
        TableName=scene.stack.table_name("ContainersTable"),
        Key={"id": {"S": container}},
        UpdateExpression="SET #status = :failed REMOVE live_project_id",
        ExpressionAttributeNames={"#status": "status"},
        ExpressionAttributeValues={":failed": {"S": "failed"}},
    )
    event = iso_times({"detail": task.to_api() | {"version": 99}})
    assert scene.invoke("TaskStateChangeFunction", event) == {"effect": "recorded"}

    container = scene.add(RUNNING, server=INSTANCE)
    scene.leave_pending(container, "stop")
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
        event = scene.event(container, "STOPPED")
        assert scene.invoke("TaskStateChangeFunction", event) == {"effect": "stale"}


def command_events(scene: Scene) -> None:
    function = "CommandFinishedFunction"
    for operation, history in (("pause", RUNNING), ("resume", PAUSED), ("stop", PAUSED)):
        container = scene.add(history)
        scene.leave_to_the_host(container, operation, key=f"{operation} by its host")
        assert scene.invoke(function, scene.host_has_run(container)) == {"effect": "settled"}
    # Nobody was answered: the row keeps the answer.
    container = scene.add(RUNNING)
    scene.leave_pending(container, "pause", key="pause by its host, lost", lost=True)
    assert scene.invoke(function, scene.host_has_run(container)) == {"effect": "settled"}

    # A restart goes on to its second step when the task has ended meanwhile.
    container = scene.add(PAUSED)
    scene.leave_to_the_host(container, "restart")
    event = scene.host_has_run(container)
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    assert scene.invoke(function, event) == {"effect": "settled"}

    # The second step of a restart cannot be placed: the key is free again.
    container = scene.add(PAUSED)
    scene.leave_pending(container, "restart", key="not placed after its host", lost=True)
    event = scene.host_has_run(container)
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    with scene.no_capacity():
        assert scene.invoke(function, event) == {"effect": "settled"}

    # ECS has run a task with other parameters for the second step: it is looked for.
    container = scene.add(PAUSED)
    scene.leave_to_the_host(container, "restart")
    event = scene.host_has_run(container)
    scene.stack.emulator.ecs.exit(scene.task_of(container), 1)
    scene.refuse_the_token()
    assert scene.invoke(function, event) == {"effect": "settled"}

    container = scene.add(RUNNING, server=INSTANCE)
    scene.leave_to_the_host(container, "pause")
    event = scene.host_has_run(container)
    with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
        assert scene.invoke(function, event) == {"effect": "stale"}


def iso_times(node: Any) -> Any:
    """Times as events have them."""
    if isinstance(node, dict):
        return {key: iso_times(value) for key, value in node.items()}
    if isinstance(node, list):
        return [iso_times(item) for item in node]
    return node.isoformat() if hasattr(node, "isoformat") else node


def recovery(scene: Scene) -> None:
    for operation, (_, _, history) in ACTS.items():
        container = scene.add(history)
        scene.leave_pending(container, operation, key=f"{operation} recovered", lost=operation == "start")
        scene.recover(container)
    container = scene.add(STOPPED, task_definition="unpullable")
    scene.leave_pending(container, "start", key="unpullable recovered", lost=True)
    scene.recover(container)
    for launch_type in ("EC2", "EXTERNAL"):
        container = scene.add(PAUSED, launch_type=launch_type, task_definition=WEB)
        scene.leave_pending(container, "stop")
        scene.recover(container)
    container = scene.add(RUNNING)
    scene.leave_pending(container, "stop")
    scene.leave_pending(container, "force-stop")
    scene.recover(container)
    container = scene.add(RUNNING, server=INSTANCE)
    scene.leave_pending(container, "stop")
    with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
        scene.recover(container)


def drift(scene: Scene) -> None:
    container = scene.add(LONG_RUNNING)
    scene.stack.emulator.ecs.forget(scene.task_of(container))
    scene.stray(scene.add(RUNNING))
    result = scene.invoke("RecoverFunction", {"sweep": "drift"})
    assert {"absent", "stray-stopped"} <= result.keys()
    assert set_looks_back(scene.stack, container)
    assert "repaired" in scene.invoke("RecoverFunction", {"sweep": "drift"})


def scheduled_stops(scene: Scene) -> None:
    function = "ScheduledStopFunction"
    # A run fails for containers with a pending operation.
    recover_all(scene.stack)
    scene.add(RUNNING)
    scene.invoke(function, {"project_id": PROJECT})
    scene.add(RUNNING)
    scene.invoke(function, {"all": True})
    for launch_type in ("EC2", "EXTERNAL"):
        paused = scene.add(PAUSED, launch_type=launch_type, task_definition=WEB)
        assert scene.invoke(function, {"container_ids": [paused], "rule": "nightly"})["stopped"] == 1

    container = scene.add(PAUSED, server=INSTANCE)
    with scene.recorder.interrupted("dynamodb", "TransactWriteItems", scene.expire):
        assert scene.invoke(function, {"container_ids": [container]})["skipped"] == 1

    # Time runs short. The next invocation is refused here, or it would hand on what is left for ever.
    from longshore.edge import lambda_events as events

    scene.stack.emulator.faults.add("lambda", "Invoke", "InvalidRequestContentException", status=400)
    with (
        patch.object(events, "_RESERVE", 10**9),
        scene.recorder.of(function),
        pytest.raises(FunctionError, match="ExternalServiceError"),
    ):
        scene.stack.invoke(function, {"container_ids": [container]})


def servers(scene: Scene) -> None:
    scene.add(RUNNING, server="i-0eeeeeeeeeeeeeeee")
    assert scene.invoke("ServerTerminatedFunction", terminated("i-0eeeeeeeeeeeeeeee")) == {"expired": 1}


SCENARIOS = [
    ordinary,
    idempotency_keys,
    users_of_many_projects,
    answers_without_the_effect,
    others_are_quicker,
    tasks_that_have_to_be_looked_for,
    force_stop_in_place_of_a_start,
    restart_of_what_left_a_task,
    task_events,
    command_events,
    recovery,
    drift,
    scheduled_stops,
    servers,
]


@pytest.fixture(scope="module")
def told() -> list[dict[str, Any]]:
    """What ECS tells of its tasks, in order. Nobody hears it unless a scenario tells."""
    return []


@pytest.fixture(scope="module")
def stack(told: list[dict[str, Any]]) -> Iterator[LocalStack]:
    options = {**conftest.QUICK, "on_event": told.append}
    with LocalStack(port=0, parameters=PARAMETERS, emulator_options=options, seed=False, events=False) as local:
        seeder = Seeder(local)
        seeder.cluster()
        seeder.members()
        local.emulator.ecs.add_instance(str(local.parameters["ClusterName"]), MANAGED_INSTANCE, 1 << 20, 1 << 20)
        seeder.task_definition("unpullable", labels={"simulate.start": "fail"})
        local.client("ecs").register_task_definition(
            family=WITH_ROLES,
            containerDefinitions=[{"name": "app", "image": "busybox:local", "memory": 128}],
            taskRoleArn=TASK_ROLES[0],
            executionRoleArn=TASK_ROLES[1],
        )
        yield local


@pytest.fixture(scope="module")
def used(stack: LocalStack, api: Api, told: list[dict[str, Any]]) -> dict[str, set[iam.Request]]:
    """What each function has needed in all the scenarios."""
    scene = Scene(stack, api, Seeder(stack), Recorder(stack), told, count(1))
    for scenario in SCENARIOS:
        stack.emulator.faults.clear()
        scenario(scene)
    for name, function in resolved(stack).functions.items():
        scene.recorder.used[name].update(iam.requests_of_lambda(resolved(stack), function))
    return scene.recorder.used


def resolved(stack: LocalStack) -> template.Stack:
    assert stack.template is not None
    return stack.template


def grants_of(stack: LocalStack, function: str) -> list[iam.Grant]:
    return iam.grants(resolved(stack), resolved(stack).functions[function])


# --- Tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_call_is_allowed(stack: LocalStack, used: dict[str, set[iam.Request]], function: str) -> None:
    missing = iam.missing(grants_of(stack, function), used[function])
    assert missing == [], f"{function} may not: " + "; ".join(sorted(map(str, missing)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_permission_is_needed(stack: LocalStack, used: dict[str, set[iam.Request]], function: str) -> None:
    unused = iam.unused(grants_of(stack, function), used[function])
    assert unused == [], f"{function} never needs: " + "; ".join(sorted(map(str, unused)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_permission_that_is_taken_away_is_missed(
    stack: LocalStack, used: dict[str, set[iam.Request]], function: str
) -> None:
    """Each of them, so no two allow the same."""
    grants = grants_of(stack, function)
    for grant in grants:
        assert iam.missing([other for other in grants if other is not grant], used[function]), str(grant)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_permission_too_many_is_found(stack: LocalStack, used: dict[str, set[iam.Request]], function: str) -> None:
    arn = f"arn:aws:dynamodb:us-east-1:{template.ACCOUNT_ID}:table"
    names = [resolved(stack).physical_name(table) for table in resolved(stack).tables]
    extra = [iam.Grant("extra", "dynamodb:DeleteTable", f"{arn}/{name}") for name in names]
    extra.append(iam.Grant("extra", "dynamodb:GetItem", f"{arn}/another-table"))
    extra.append(iam.Grant("extra", "ecs:ListTasks", "*", (("ArnEquals", "ecs:cluster", ("arn:aws:ecs:a:b:c/d",)),)))
    assert iam.unused([*grants_of(stack, function), *extra], used[function]) == extra


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_condition_or_a_resource_that_does_not_fit_is_missed(
    stack: LocalStack, used: dict[str, set[iam.Request]], function: str
) -> None:
    for grant in grants_of(stack, function):
        others = [other for other in grants_of(stack, function) if other != grant]
        elsewhere = tuple((operator, key, ("arn:aws:ecs:a:b:c/d",)) for operator, key, _ in grant.conditions)
        narrowed = [replace(grant, resource=f"{grant.resource}-of-another")] if grant.resource != "*" else []
        narrowed += [replace(grant, conditions=elsewhere)] if elsewhere else []
        for narrow in narrowed:
            assert iam.missing([*others, narrow], used[function]), str(grant)


def test_only_what_has_no_resource_names_none(stack: LocalStack) -> None:
    everywhere = {grant.action for name in FUNCTIONS for grant in grants_of(stack, name) if grant.resource == "*"}
    assert everywhere == iam.WITHOUT_RESOURCE


@pytest.mark.parametrize("parameters", [{}, {"Tracing": "Active"}])
def test_no_role_has_more_policies_than_an_account_allows(parameters: dict[str, str]) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html: ten, unless it is raised."""
    loaded = template.load(parameters=parameters)
    for function in loaded.functions.values():
        name, role = iam.role_of(loaded, function)
        attached = [policy for policy in loaded.of_type("AWS::IAM::ManagedPolicy").values() if "Roles" in policy]
        elsewhere = sum(name in policy["Roles"] for policy in attached)
        assert len(role["ManagedPolicyArns"]) + elsewhere <= 10, name


def test_only_the_key_of_tokens_is_secret() -> None:
    """With a public key there is no secret, and no policy for one."""
    keys = {"TokenAlgorithm": "ES256", "JwksUrl": "https://issuer.example.com/jwks.json"}
    loaded = template.load(parameters=keys)
    assert iam.grants(loaded, loaded.functions["AuthorizerFunction"]) == []


DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"Effect": "Deny"},
        {"NotAction": "s3:*"},
        {"NotResource": "*"},
        {"Principal": "*"},
        {"Condition": {"NumericLessThan": {"aws:MultiFactorAuthAge": "3600"}}},
        {"Condition": {"StringEqualsIfExists": {"iam:PassedToService": "x"}}},
    ],
)
def test_the_model_refuses_what_it_does_not_know(change: dict[str, Any]) -> None:
    assert list(iam.statements("policy", DOCUMENT))
    document = {"Statement": [DOCUMENT["Statement"][0] | change]}  # type: ignore[operator]
    with pytest.raises(iam.UnsupportedError):
        list(iam.statements("policy", document))


@pytest.mark.parametrize(
    ("pattern", "resource", "fits"),
    [
        ("*", "arn:aws:sqs:r:1:q", True),
        ("arn:aws:dynamodb:r:1:table/a", "arn:aws:dynamodb:r:1:table/a", True),
        ("arn:aws:dynamodb:r:1:table/a", "arn:aws:dynamodb:r:1:table/a/index/i", False),
        ("arn:aws:dynamodb:r:1:table/a/index/*", "arn:aws:dynamodb:r:1:table/a/index/i", True),
        ("arn:aws:dynamodb:r:1:table/a/index/*", "arn:aws:dynamodb:r:1:table/b/index/i", False),
        ("arn:aws:ecs:*:1:task/c/*", "arn:aws:ecs:r:1:task/c/t", True),
        ("arn:aws:ecs:*:task/c/*", "arn:aws:ecs:r:1:task/c/t", False),
        ("arn:aws:ecs:r:1:task/?/t", "arn:aws:ecs:r:1:task/cd/t", False),
        ("arn:aws:ecs:r:1:task/[c]/t", "arn:aws:ecs:r:1:task/c/t", False),
    ],
)
def test_resources(pattern: str, resource: str, fits: bool) -> None:
    grant = iam.Grant("policy", "s:*", pattern)
    assert grant.allows(iam.Request("s:Do", resource)) is fits


def test_a_condition_needs_its_key() -> None:
    grant = iam.Grant("policy", "iam:PassRole", "*", (("StringEquals", "iam:PassedToService", ("a", "b")),))
    request = iam.Request("iam:PassRole", "arn:aws:iam::1:role/r")
    assert not grant.allows(request)
    assert grant.allows(replace(request, context=(("iam:PassedToService", "b"),)))
    assert not grant.allows(replace(request, context=(("iam:PassedToService", "c"),)))
