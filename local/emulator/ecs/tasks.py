"""Tasks and containers: their state, and the simulated behavior of their processes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from local.emulator.ecs.catalog import Cluster, Instance, TaskDefinition

MEMORY_OF_STOPPED = timedelta(hours=1)
STOP_TIMEOUT = 30.0
SIGKILLED = 137


@dataclass
class SimulatedContainer:
    """One container of a task, and what its process will do. `paused`: frozen by `docker pause`."""

    name: str
    image: str
    arn: str
    essential: bool
    stop_timeout: timedelta
    ignores_sigterm: bool
    start: str
    exit_after: timedelta | None
    planned_exit_code: int
    last_status: str = "PENDING"
    runtime_id: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    paused: bool = False
    exits_at: datetime | None = None
    # A paused process makes no progress: the rest of `exit_after` begins when it is unpaused.
    exit_left: timedelta | None = None
    terminates_at: datetime | None = None
    killed_at: datetime | None = None
    # An exit that the engine reported before the start of the task: the exit code and an optional reason.
    early_exit: tuple[int, str | None] | None = None

    @property
    def running(self) -> bool:
        return self.last_status == "RUNNING"

    def next_end(self) -> tuple[datetime, int] | None:
        """Return the time and the exit code of the next exit of the process, or None."""
        ends = []
        if self.terminates_at is not None:
            ends.append((self.terminates_at, 0))
        if self.exits_at is not None:
            ends.append((self.exits_at, self.planned_exit_code))
        if self.killed_at is not None:
            ends.append((self.killed_at, SIGKILLED))
        return min(ends, key=lambda end: end[0], default=None)

    def to_api(self, task: "SimulatedTask") -> dict[str, Any]:
        return _present(
            containerArn=self.arn,
            taskArn=task.arn,
            name=self.name,
            image=self.image,
            runtimeId=self.runtime_id,
            lastStatus=self.last_status,
            exitCode=self.exit_code,
            reason=self.reason,
            networkInterfaces=[],
            healthStatus="UNKNOWN",
        )


@dataclass
class SimulatedTask:
    """A task. It is `live` until it is STOPPED. `to_api()` returns the Task of the ECS API, with times as datetimes."""

    arn: str
    region: str
    cluster: Cluster
    definition: TaskDefinition
    launch_type: str
    instance: Instance | None
    created_at: datetime
    group: str
    started_by: str | None
    tags: list[dict[str, str]]
    overrides: dict[str, Any]
    attachments: list[dict[str, Any]]
    containers: list[SimulatedContainer]
    capacity_provider: str | None = None
    platform_version: str | None = None
    enable_execute_command: bool = False
    last_status: str = "PROVISIONING"
    desired_status: str = "RUNNING"
    version: int = 0
    # The time of the next step of the start, or of the visible step of the stop.
    step_at: datetime | None = None
    stopped_unstarted_at: datetime | None = None
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    connectivity_at: datetime | None = None
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    execution_stopped_at: datetime | None = None
    stopped_at: datetime | None = None
    stop_code: str | None = None
    stopped_reason: str | None = None

    @property
    def live(self) -> bool:
        return self.last_status != "STOPPED"

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]

    def next_due(self) -> datetime | None:
        """Return the time of the next change of the task, including when it is forgotten, or None."""
        if not self.live:
            return self.stopped_at + MEMORY_OF_STOPPED if self.stopped_at else None
        dues = [self.step_at, self.stopped_unstarted_at]
        dues += [end[0] for container in self.containers if container.running and (end := container.next_end())]
        return min((due for due in dues if due is not None), default=None)

    def to_api(self, include_tags: bool = False) -> dict[str, Any]:
        instance = self.instance
        zone = instance.attributes.get("ecs.availability-zone") if instance else None
        return _present(
            taskArn=self.arn,
            clusterArn=self.cluster.arn,
            taskDefinitionArn=self.definition.arn,
            containerInstanceArn=instance.arn if instance else None,
            launchType=self.launch_type,
            capacityProviderName=self.capacity_provider,
            platformVersion=self.platform_version,
            platformFamily="Linux" if self.launch_type == "FARGATE" else None,
            availabilityZone=zone or f"{self.region}a",
            lastStatus=self.last_status,
            desiredStatus=self.desired_status,
            healthStatus="UNKNOWN",
            version=self.version,
            group=self.group,
            startedBy=self.started_by,
            cpu=str(self.definition.cpu_units()),
            memory=str(self.definition.memory_mib()),
            overrides=self.overrides,
            attachments=self.attachments,
            attributes=[{"name": "ecs.cpu-architecture", "value": "x86_64"}],
            enableExecuteCommand=self.enable_execute_command,
            containers=[container.to_api(self) for container in self.containers],
            createdAt=self.created_at,
            connectivity="CONNECTED" if self.connectivity_at else None,
            connectivityAt=self.connectivity_at,
            pullStartedAt=self.pull_started_at,
            pullStoppedAt=self.pull_stopped_at,
            startedAt=self.started_at,
            stoppingAt=self.stopping_at,
            executionStoppedAt=self.execution_stopped_at,
            stoppedAt=self.stopped_at,
            stopCode=self.stop_code,
            stoppedReason=self.stopped_reason,
            tags=self.tags if include_tags else None,
        )


def container_of(definition: dict[str, Any], arn: str) -> SimulatedContainer:
    """Create a container of a task from a container definition as in RegisterTaskDefinition."""
    labels = definition.get("dockerLabels") or {}
    exit_after = labels.get("simulate.exit-after")
    return SimulatedContainer(
        name=str(definition["name"]),
        image=str(definition.get("image", "")),
        arn=arn,
        essential=bool(definition.get("essential", True)),
        stop_timeout=timedelta(seconds=float(definition.get("stopTimeout") or STOP_TIMEOUT)),
        ignores_sigterm=str(labels.get("simulate.ignore-sigterm", "false")).lower() == "true",
        start=str(labels.get("simulate.start", "")),
        exit_after=None if exit_after is None else timedelta(seconds=float(exit_after)),
        planned_exit_code=int(labels.get("simulate.exit-code", 0)),
    )


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
