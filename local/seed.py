"""The demo project: seven containers in every status, five users, and a long history.

Tests use `Seeder.add` to create further containers with the task, the rows and the counters of their status.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from boto3.dynamodb.types import TypeSerializer
from longshore.aws.items import container_item, log_item
from longshore.aws.scheduler import ScheduleGroup, ScheduleTarget
from longshore.domain.clock import SystemClock
from longshore.domain.facts import facts_of
from longshore.domain.history import append
from longshore.domain.ledger import ledger_of
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Protection
from longshore.domain.pending import Trigger
from longshore.domain.runtime import CapacityProvider, Runtime
from longshore.domain.schedules import Schedule, ScheduleSettings

from local import template
from local.emulator import Emulator
from local.naming import arn_of

PROJECT = "507f1f77bcf86cd799439033"
ROLES = {"owner": "owner", "operator": "operator", "viewer": "viewer", "banned": "operator"}
INSTANCE = "i-0a1b2c3d4e5f60718"
GONE_INSTANCE = "i-0ffffffffffffffff"

WEB = "web"
WEB_FARGATE = "web-fargate"
BUSYBOX = "busybox:local"
# The command of the demo's containers on Docker: it prints a line per second until SIGTERM.
SERVE = "trap 'exit 0' TERM; while :; do date; sleep 1 & wait $!; done"

_serialize = TypeSerializer().serialize


class Stack(Protocol):
    """The parts of `local.stack.LocalStack` that the seed uses."""

    @property
    def emulator(self) -> Emulator:
        """The emulated AWS."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The template's parameter values."""

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulated AWS."""

    @property
    def template(self) -> template.Stack | None:
        """The translated template."""

    def table_name(self, logical_id: str) -> str:
        """Return the name of a table by its logical id."""


def container_id(number: int) -> str:
    """Return the id of a demo container.

    11 is stopped, 12 running, 13 paused, 14 failed, 15 expired, 16 on Fargate with a `stop_at`, and 17 protected with a
    long history.
    """
    return f"507f1f77bcf86cd7994390{number}"


def seed(stack: Stack, history_rows: int) -> None:
    """Write the demo project to the tables and the cluster of the stack, replacing an existing one.

    Args:
        stack: The stack.
        history_rows: How many rows the longest history has.
    """
    seeder = Seeder(stack)
    seeder.cluster()
    seeder.members()
    seeder.add(container_id(11), ["stopped", "running", "stopped"], name="orders")
    seeder.add(container_id(12), ["stopped", "running"], name="payments")
    seeder.add(container_id(13), ["stopped", "running", "paused"], name="search")
    seeder.add(container_id(14), ["stopped", "running", "failed"], name="reports")
    seeder.add(container_id(15), ["stopped", "running", "expired"], name="legacy", server=GONE_INSTANCE)
    later = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0)
    seeder.add(container_id(16), ["stopped", "running"], name="mailer", launch_type="FARGATE", stop_at=later)
    protection = Protection(reason="The history must not grow")
    seeder.add(container_id(17), long_history(history_rows), name="builds", protection=protection)


def long_history(rows: int) -> list[str]:
    """Return a deterministic sequence of statuses with valid transitions that ends with `stopped`."""
    choose = random.Random(rows)
    follows = {"stopped": ["running"], "failed": ["running", "stopped"], "paused": ["running", "stopped"]}
    statuses = ["stopped"]
    while len(statuses) < rows - 1:
        statuses.append(choose.choice(follows.get(statuses[-1], ["stopped", "paused", "failed"])))
    if statuses[-1] == "stopped":
        statuses[-1] = "running"
        # Except for `running` itself, every status before `stopped` may also precede `running`.
        if statuses[-2] == "running":
            statuses[-1] = "paused"
    return [*statuses, "stopped"]


class Seeder:
    """Writes containers, users and tasks to a stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._dynamodb = stack.client("dynamodb")
        self._cluster = str(stack.parameters["ClusterName"]).split(",")[0]

    def cluster(self) -> None:
        """Create an instance with sufficient capacity in each cluster, and the task definitions of the demo."""
        for cluster in str(self._stack.parameters["ClusterName"]).split(","):
            instance = INSTANCE if cluster == self._cluster else None
            self._stack.emulator.ecs.add_instance(cluster, instance, cpu=1 << 20, memory=1 << 20)
        self.task_definition(WEB)
        self.task_definition(WEB_FARGATE, launch_type="FARGATE")

    def task_definition(
        self, family: str, *, launch_type: str = "EC2", labels: dict[str, str] | None = None, **settings: Any
    ) -> None:
        """Register a task definition with one container. `labels` control the simulated process."""
        fargate = {"networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512"}
        self._stack.client("ecs").register_task_definition(
            family=family,
            containerDefinitions=[
                {
                    "name": "app",
                    "image": BUSYBOX,
                    "command": ["sh", "-c", SERVE],
                    "memory": 128,
                    "essential": True,
                    "stopTimeout": 10,
                    "dockerLabels": labels or {},
                    **settings,
                }
            ],
            **(fargate if launch_type == "FARGATE" else {}),
        )

    def unmanaged_tasks(self, family: str) -> None:
        """Run two tasks that do not belong to containers, the second one for an ECS service."""
        self.task_definition(family)
        self._stack.emulator.ecs.adopt_running(self._cluster, family)
        self._stack.emulator.ecs.adopt_running(self._cluster, family).group = "service:checkout"

    def members(self, project: str = PROJECT) -> None:
        """Grant the users of the demo their roles in a project. `stranger` has no role."""
        for user, role in ROLES.items():
            self.grant(user, project, role)
        self.ban("banned")

    def ban(self, user: str) -> None:
        """Ban a user."""
        self._put("AccessTable", {"user_id": user, "scope": "account", "banned": True})

    def grant(self, user: str, project: str, role: str) -> None:
        """Grant a user a role in a project."""
        self._put("AccessTable", {"user_id": user, "scope": f"project#{project}", "role": role})

    def name_project(self, project: str, name: str) -> None:
        """Name a project."""
        self._put("AccessTable", {"user_id": "#projects", "scope": f"name#{project}", "name": name})

    def schedule(self, name: str, settings: ScheduleSettings, project: str = PROJECT, user: str = "operator") -> None:
        """Save a schedule of a project for a user, unless it exists."""
        stack = self._stack.template
        assert stack is not None
        target = ScheduleTarget(
            function_arn=stack.outputs["ScheduledStopFunctionArn"],
            role_arn=arn_of("AWS::IAM::Role", stack.physical_name("ScheduleRole")),
            dead_letters_arn=stack.outputs["DeadLettersArn"],
        )
        clock = SystemClock()
        group = ScheduleGroup(self._stack.client("scheduler"), stack.outputs["ScheduleGroupName"], clock)
        group.create(Schedule(project, name, settings, user, clock.now()).starting(None), target)

    def add(
        self,
        identity: str,
        statuses: Sequence[str],
        *,
        name: str = "demo",
        project: str = PROJECT,
        launch_type: str = "EC2",
        capacity_provider: str | None = None,
        server: str | None = None,
        service: str | None = None,
        desired_count: int | None = None,
        task_definition: str | None = None,
        labels: Mapping[str, str] | None = None,
        every: timedelta = timedelta(minutes=1),
        metadata: Callable[[Sequence[str], int], dict[str, Any]] | None = None,
        stop_at: datetime | None = None,
        protection: Protection | None = None,
    ) -> Container:
        """Add a container with a history of these statuses. A live container of a task gets a task.

        Args:
            identity: The id.
            statuses: The statuses, oldest first.
            name: The name.
            project: The id of the project.
            launch_type: How the task is run.
            capacity_provider: A capacity provider of Fargate, instead of the launch type.
            server: The EC2 instance of the task; None if it is not known.
            service: The name of the existing ECS service that the container stands for; None for a task.
            desired_count: The number of tasks of the service.
            task_definition: The task definition; by default that of the launch type.
            labels: The labels.
            every: The longest time between two changes of status. The shortest is five sixths of it.
            metadata: Returns the metadata of the change at a position of `statuses`.
            stop_at: When the container is to be stopped.
            protection: The protection of the container.
        """
        fargate = capacity_provider is not None or launch_type == "FARGATE"
        moment = datetime.now(UTC) - len(statuses) * every
        container = Container(
            id=identity,
            project_id=project,
            name=name,
            labels=dict(labels or {}),
            server_instance_id=server,
            status=Status(statuses[0]),
            status_since=moment,
            runtime=Runtime(
                cluster=self._cluster,
                service=service,
                task_definition=task_definition or (WEB_FARGATE if fargate else WEB),
                launch_type=None if capacity_provider else LaunchType(launch_type),
                capacity_providers=[CapacityProvider(name=capacity_provider)] if capacity_provider else [],
                subnets=["subnet-0a1b2c3d"] if fargate else [],
            ),
            created_at=moment,
            updated_at=moment,
        )
        chance = random.Random(identity)
        items = []
        for position, status in enumerate(statuses):
            cause = (metadata or metadata_of)(statuses, position)
            requested, observed = facts_of(cause)
            running_count = desired_count if status == "running" else 0
            change = Change(
                to_status=Status(status),
                observed_at=moment,
                triggered_by=_trigger(cause),
                duration_ms=chance.randint(300, 9000) if position else None,
                requested=requested,
                observed=observed,
                attributes={"desired_count": desired_count, "running_count": running_count} if service else {},
            )
            row_id = f"{chance.getrandbits(96):024x}"
            container, entry = append(container, change, row_id, moment + timedelta(milliseconds=12))
            items.append(log_item(entry))
            moment += every * (5 + chance.random()) / 6
        if container.is_live and service is None:
            container = container.model_copy(update={"tasks": ledger_of(self._task(container))})
        container = container.model_copy(update={"stop_at": stop_at, "protection": protection})
        self._clear(identity)
        self._write(items)
        self._put_container(container)
        return container

    def make_overdue(self, identity: str) -> None:
        """Set the deadline of the container's pending operation to the past, so that the recovery sweep finds it."""
        self._dynamodb.update_item(
            TableName=self._stack.table_name("ContainersTable"),
            Key={"id": {"S": identity}},
            UpdateExpression="SET #operation.deadline = :past, pending_deadline = :past",
            ConditionExpression="attribute_exists(#operation)",
            ExpressionAttributeNames={"#operation": "operation"},
            ExpressionAttributeValues={":past": {"S": "2020-01-01T00:00:00.000Z"}},
        )

    def _task(self, container: Container) -> str:
        ecs, runtime = self._stack.emulator.ecs, container.runtime
        task = ecs.adopt_running(
            self._cluster,
            runtime.task_definition,
            started_by=container.id,
            launch_type=runtime.launch_type or LaunchType.FARGATE,
            paused=container.status == "paused",
        )
        task.capacity_provider = next((provider.name for provider in runtime.capacity_providers), None)
        return task.arn

    def _clear(self, identity: str) -> None:
        """Delete the container's rows, which exist if the database has outlived a stack."""
        table = self._stack.table_name("StatusLogsTable")
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=table,
            KeyConditionExpression="container_id = :id",
            ExpressionAttributeValues={":id": {"S": identity}},
            ProjectionExpression="container_id, transition_time",
        )
        keys = [item for page in pages for item in page["Items"]]
        self._batch(table, [{"DeleteRequest": {"Key": key}} for key in keys])

    def _write(self, items: Sequence[dict[str, Any]]) -> None:
        self._batch(self._stack.table_name("StatusLogsTable"), [{"PutRequest": {"Item": item}} for item in items])

    def _batch(self, table: str, requests: Sequence[dict[str, Any]]) -> None:
        waiting = list(requests)
        while waiting:
            answer = self._dynamodb.batch_write_item(RequestItems={table: waiting[:25]})
            waiting = waiting[25:] + answer.get("UnprocessedItems", {}).get(table, [])

    def _put_container(self, container: Container) -> None:
        self._dynamodb.put_item(TableName=self._stack.table_name("ContainersTable"), Item=container_item(container))

    def _put(self, table: str, item: dict[str, Any]) -> None:
        self._dynamodb.put_item(
            TableName=self._stack.table_name(table),
            Item={name: _serialize(value) for name, value in item.items()},
        )


def _trigger(metadata: Mapping[str, Any]) -> Trigger:
    """Return the source of a change of status with this metadata."""
    if "rule" in metadata:
        return Trigger.SCHEDULE
    return Trigger.USER if "command" in metadata else Trigger.SYSTEM


def metadata_of(statuses: Sequence[str], position: int) -> dict[str, Any]:
    """Return the metadata of the row of a status change."""
    before, status = statuses[position - 1] if position else None, statuses[position]
    match before, status:
        case None, _:
            return {"reason": "Registered"}
        case _, "failed":
            return {"reason": "Essential container in task exited", "exit_code": 1}
        case _, "expired":
            return {"reason": "The server was terminated"}
        case "paused", "running":
            return {"command": "resume", "actor": "operator"}
        case "failed", "running":
            return {"command": "restart", "actor": "operator"}
        case "failed", "stopped":
            return {"command": "force-stop", "actor": "operator"}
        case _:
            command = {"running": "start", "paused": "pause", "stopped": "stop"}[status]
            return {"command": command, "actor": "operator"}


__all__ = ["PROJECT", "Seeder", "container_id", "long_history", "metadata_of", "seed"]
