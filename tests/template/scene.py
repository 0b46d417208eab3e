"""The stack of the scenarios of test_least_privilege.py, and a recorder of the IAM requests of each function."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from unittest.mock import patch

from api_client import Api
from service_seed import add_service
from settling import eventually, make_overdue
from template import iam

from local import template
from local.seed import INSTANCE, PROJECT, WEB, Seeder
from local.stack import LocalStack

TASK_ROLES = [f"arn:aws:iam::{template.ACCOUNT_ID}:role/{name}" for name in ("task", "execution")]
MANAGED_INSTANCE = "mi-0a1b2c3d4e5f60718"
WITH_ROLES = "with-roles"
FUNCTIONS = sorted(template.load().functions)

STOPPED = ["stopped"]
RUNNING = ["stopped", "running"]
PAUSED = ["stopped", "running", "paused"]
FAILED = ["stopped", "running", "failed"]
# A history whose last change is more than two minutes old: the drift sweep skips more recent ones.
LONG_RUNNING = ["stopped", "running"] * 15
# An HTTP status of a service failure that botocore does not retry.
NOT_REPEATED = 505

# Each operation's function, and the histories from which it takes different code paths.
OPERATIONS = {
    "start": ("StartFunction", [STOPPED]),
    "stop": ("StopFunction", [RUNNING, PAUSED]),
    "force-stop": ("ForceStopFunction", [RUNNING, FAILED]),
    "restart": ("RestartFunction", [STOPPED, RUNNING, PAUSED, FAILED]),
    "pause": ("PauseFunction", [RUNNING]),
    "resume": ("ResumeFunction", [PAUSED]),
}
# The first call with an effect of each operation, and a history from which the operation makes it.
ACTS = {
    "start": ("ecs", "RunTask", STOPPED),
    "stop": ("ecs", "StopTask", RUNNING),
    "force-stop": ("ecs", "StopTask", RUNNING),
    "restart": ("ecs", "StopTask", RUNNING),
    "pause": ("ssm", "SendCommand", RUNNING),
    "resume": ("ssm", "SendCommand", PAUSED),
}


class Recorder:
    """Records the IAM requests of each function, by logical id."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._calls = stack.emulator.calls
        self._others: list[range] = []
        self.used: dict[str, set[iam.Request]] = {function: set() for function in FUNCTIONS}

    @contextmanager
    def recording(self, function: str) -> Iterator[None]:
        """Record the calls that the function and the authorizer make inside the block."""
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
        """Run `meanwhile` just before the function's first call of an operation. Its calls are not recorded."""
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
        # Asking the emulator would be recorded as a call.
        return TASK_ROLES if WITH_ROLES in task_definition else []


@dataclass
class Scene:
    """The stack, and the steps that scenarios use."""

    stack: LocalStack
    api: Api
    seeder: Seeder
    recorder: Recorder
    events: list[dict[str, Any]]
    ids: Iterator[int]
    services: dict[str, str] = field(default_factory=dict)  # the name of the service of each container

    def add(self, statuses: Sequence[str], **settings: Any) -> str:
        """Add a container. With launch type EXTERNAL its task is on the managed instance."""
        identity = f"1ea5{next(self.ids):020x}"
        ecs = self.stack.emulator.ecs
        host = MANAGED_INSTANCE if settings.get("launch_type") == "EXTERNAL" else INSTANCE
        with patch.object(ecs, "adopt_running", partial(ecs.adopt_running, ec2_instance_id=host)):
            self.seeder.add(identity, statuses, **{"task_definition": WITH_ROLES, **settings})
        return identity

    def post(self, container: str, operation: str, status: int = 200, user: str = "operator", key: str = "") -> None:
        """Request an operation, and record the calls of its function."""
        headers = {"Idempotency-Key": key.replace(" ", "-")} if key else {}
        with self.recorder.recording(OPERATIONS[operation][0]):
            response = self.api.post(container, operation, user, headers=headers)
        # Without events, the first step of a restart takes the whole wait, and so does any step on a busy machine.
        expected = (200, 202) if status == 200 else (status,)
        assert response.status_code in expected, f"{operation}: {response.text}"
        if response.status_code == 202 and status == 200 and make_overdue(self.stack, container):
            self.recover(container)

    def get(self, container: str, user: str) -> None:
        with self.recorder.recording("GetContainerFunction"):
            assert self.api.get(container, user).status_code == 200
        for query in (
            *({"sort_by": sort_by} for sort_by in ("transition_time", "to_status", "from_status")),
            {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"},
        ):
            with self.recorder.recording("StatusLogsFunction"):
                assert self.api.logs(container, user, **query).status_code == 200
        for query in ({}, {"container_id": container}):
            with self.recorder.recording("ProjectStatusLogsFunction"):
                path = f"/projects/{PROJECT}/status-logs"
                assert self.api.call("GET", path, user, params=query).json()["data"]["logs"]

    def list(self, function: str, path: str, **query: str) -> None:
        with self.recorder.recording(function):
            assert self.api.call("GET", path, params=query).status_code == 200

    def update(self, container: str, user: str) -> None:
        with self.recorder.recording("UpdateContainerFunction"):
            assert self.api.patch(container, {"labels": {"env": "dev"}}, user).status_code == 200

    def keep_alive(self, container: str, user: str) -> None:
        with self.recorder.recording("KeepAliveFunction"):
            assert self.api.post(container, "keep-alive", user).status_code == 200

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        with self.recorder.recording(function):
            result: dict[str, Any] = self.stack.invoke(function, event)
        return result

    def expire(self) -> None:
        """Expire the containers that are bound to a server, as another process may do at any time."""
        self.stack.invoke("ServerTerminatedFunction", terminated(INSTANCE))

    def leave_pending(self, container: str, operation: str, key: str = "", by: str = "", lost: bool = False) -> None:
        """Begin an operation whose first call with an effect fails. With `lost` the call takes effect nevertheless."""
        from longshore.wiring import api_functions

        service, act, _ = ACTS[operation]
        services = {by or act: "ecs" if by else service}
        if operation in ("stop", "restart", "force-stop"):
            # A paused container is resumed first, and a force-stop kills.
            services["SendCommand"] = "ssm"
        faults = self.stack.emulator.faults
        for call, name in services.items():
            faults.add(name, call, "Down", status=NOT_REPEATED, times=None, after_effect=lost)
        with patch.object(api_functions.operations(), "wait", timedelta()):
            self.post(container, operation, 500, key=key)
        faults.clear()

    def post_without_waiting(self, container: str, operation: str, key: str = "") -> None:
        """Begin an operation without waiting for the command on the host to finish."""
        from longshore.wiring import api_functions

        with patch.object(api_functions.operations(), "wait", timedelta()):
            self.post(container, operation, 202, key=key)

    def reject_the_client_token(self) -> None:
        """Let the next RunTask fail because its client token was used with other parameters."""
        self.stack.emulator.faults.add("ecs", "RunTask", "ConflictException", status=400)

    def failed_with_live_tasks(self, launch_type: str = "EC2", number: int = 1) -> str:
        """Add a container that is `failed` although tasks of it are running."""
        container = self.add(FAILED, launch_type=launch_type)
        host = MANAGED_INSTANCE if launch_type == "EXTERNAL" else INSTANCE
        arns = [self.stray(container, host) for _ in range(number)]
        self.stack.client("dynamodb").update_item(
            TableName=self.stack.table_name("ContainersTable"),
            Key={"id": {"S": container}},
            UpdateExpression="SET task_arn = :task, tasks = :tasks",
            ExpressionAttributeValues={
                ":task": {"S": arns[0]},
                ":tasks": {"M": {arn.rsplit("/", 1)[-1]: {"M": {"arn": {"S": arn}}} for arn in arns}},
            },
        )
        return container

    @contextmanager
    def no_capacity(self) -> Iterator[None]:
        """Leave no instance with memory for another task."""
        hosts = (INSTANCE, MANAGED_INSTANCE)
        for host in hosts:
            self.stack.emulator.ecs.set_capacity(host, memory=0)
        yield
        for host in hosts:
            self.stack.emulator.ecs.set_capacity(host)

    def recover(self, *containers: str) -> None:
        """Run sweeps until nothing is pending. A sweep does not wait for the effects of its calls."""
        for container in containers:
            assert make_overdue(self.stack, container)
        overdue = list(containers)
        while overdue:
            self.invoke("RecoverFunction", {"sweep": "operations"})
            overdue = [container for container in overdue if make_overdue(self.stack, container)]

    def add_service(self, status: str, *, old: bool = False) -> str:
        """Add a service with a scalable target, and its container."""
        name = f"service-{next(self.ids)}"
        container = add_service(self.stack, name, status, scales=True, old=old)
        self.services[container] = name
        return container

    def change_count(self, container: str, count: int) -> None:
        """Change the count of a service like a scaling policy."""
        cluster = str(self.stack.parameters["ClusterName"])
        self.stack.client("ecs").update_service(cluster=cluster, service=self.services[container], desiredCount=count)

    def service_event(self, container: str) -> dict[str, Any]:
        """Return the event of a service that has reached a steady state, when all its tasks run or have stopped."""
        cluster, name = str(self.stack.parameters["ClusterName"]), self.services[container]
        ecs = self.stack.client("ecs")

        def steady() -> bool:
            (service,) = ecs.describe_services(cluster=cluster, services=[name])["services"]
            return bool(service["runningCount"] == service["desiredCount"] and service["pendingCount"] == 0)

        eventually(steady)
        arn = f"arn:aws:ecs:{template.REGION}:{template.ACCOUNT_ID}:service/{cluster}/{name}"
        return {"resources": [arn], "detail": {"eventType": "INFO", "eventName": "SERVICE_STEADY_STATE"}}

    @contextmanager
    def no_wait(self) -> Iterator[None]:
        """Let operations of the API not wait for their effects."""
        from longshore.wiring import api_functions

        with patch.object(api_functions.operations(), "wait", timedelta()):
            yield

    def task_of(self, container: str) -> str:
        (task,) = self.stack.emulator.ecs.live(started_by=container)
        return task.arn

    def stray(self, container: str, host: str = INSTANCE) -> str:
        """Run another task with the container's `startedBy`. Returns its ARN."""
        ecs, cluster = self.stack.emulator.ecs, str(self.stack.parameters["ClusterName"])
        return ecs.adopt_running(cluster, WEB, started_by=container, ec2_instance_id=host).arn

    def task_event(self, container: str, status: str) -> dict[str, Any]:
        """Return the ECS event of the container's task with this status."""

        def fits(event: dict[str, Any]) -> bool:
            detail = event["detail"]
            return (detail.get("startedBy"), detail.get("lastStatus")) == (container, status)

        return copy.deepcopy(eventually(lambda: [event for event in list(self.events) if fits(event)])[-1])

    def command_event(self, container: str) -> dict[str, Any]:
        """Return the Systems Manager event of the success of the container's newest command."""
        command = self.stack.emulator.ssm.invocations()[-1]
        assert f"container {container}," in command.comment

        def fits(event: dict[str, Any]) -> bool:
            detail = event["detail"]
            return (detail.get("command-id"), detail.get("status")) == (command.command_id, "Success")

        return eventually(lambda: [event for event in list(self.events) if fits(event)])[-1]

    def deliver(self, container: str, status: str) -> str:
        """Deliver the ECS event of the container's task with this status. Returns the effect."""
        return str(self.invoke("TaskStateChangeFunction", self.task_event(container, status))["effect"])


def terminated(instance: str) -> dict[str, Any]:
    return {"time": "2025-01-15T10:30:00Z", "detail": {"instance-id": instance, "state": "terminated"}}
