"""Amazon ECS tasks: a state machine on an injected clock, without threads or HTTP.

    PROVISIONING ──► PENDING ──► RUNNING ──► STOPPING (Fargate: DEACTIVATING) ──► STOPPED ──► forgotten
    (Fargate only)      │                                                           ▲         after an hour
                        └─ the image cannot be pulled, or StopTask ─────────────────┘

`advance(now)` carries out whatever has become due, in order of time; `next_due()` says when that will next be
the case, so that a virtual clock can jump. Every request and control first advances to the injected clock's
time. All methods may be called from any thread.

What the simulated process does is told by `dockerLabels` of its container definition:

    simulate.start           never: stays PENDING; fail: its image can't be pulled
    simulate.ignore-sigterm  true: a stop lasts the whole stopTimeout (default 30 s), then exit code 137
    simulate.exit-after      seconds from its start to its own exit
    simulate.exit-code       the code of that exit, default 0

With an `Engine` the processes are real, and these labels mean nothing: the engine starts and stops them, and tells
when they start and end. The states and their order stay this module's.
"""

import heapq
import itertools
import json
import random
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from local.emulator.errors import AwsError

ACCOUNT = "123456789012"
REGION = "us-east-1"
MEMORY_OF_STOPPED = timedelta(hours=1)
TOKEN_LIFETIME = timedelta(hours=24)
STOP_TIMEOUT = 30.0
SIGKILLED = 137
MAX_DESCRIBED = 100
MAX_COUNT = 10

_CLAUSE = re.compile(r"^\s*(?P<subject>[\w:.\-]+)\s*(?P<operator>==|!=|not_equals|equals|in)\s*(?P<value>.+?)\s*$")


# ── What tasks refer to ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Cluster:
    name: str
    arn: str


@dataclass(frozen=True)
class TaskDefinition:
    """`containers`: definitions as RegisterTaskDefinition takes them; `cpu`, `memory`: of the task level."""

    arn: str
    family: str
    containers: tuple[dict[str, Any], ...]
    active: bool = True
    network_mode: str = "bridge"
    compatibilities: tuple[str, ...] = ("EC2",)
    cpu: int | None = None
    memory: int | None = None

    def cpu_units(self) -> int:
        return self.cpu or sum(int(container.get("cpu") or 0) for container in self.containers)

    def memory_mib(self) -> int:
        return self.memory or sum(
            int(container.get("memoryReservation") or container.get("memory") or 0) for container in self.containers
        )


@dataclass(frozen=True)
class Instance:
    """A container instance. `cpu` in units, `memory` in MiB: what it registered with, used or not."""

    arn: str
    ec2_instance_id: str
    cluster_arn: str
    cpu: int = 4096
    memory: int = 7482
    status: str = "ACTIVE"
    agent_connected: bool = True
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def external(self) -> bool:
        return self.ec2_instance_id.startswith("mi-")


class Catalog(Protocol):
    """Where clusters, task definitions and container instances are found; each by name, id or ARN."""

    def cluster(self, reference: str, region: str) -> Cluster | None: ...

    def task_definition(self, reference: str, region: str) -> TaskDefinition | None: ...

    def instances(self, region: str) -> list[Instance]:
        """All container instances of the region, of every cluster, in the order of their registration."""

    def add_instance(self, instance: Instance, region: str) -> None: ...

    def remove_instance(self, instance: Instance, region: str) -> None: ...


class StaticCatalog:
    """A catalog in memory, for a simulation without HTTP. One region."""

    def __init__(self, region: str = REGION, account: str = ACCOUNT) -> None:
        self._region = region
        self._prefix = f"arn:aws:ecs:{region}:{account}"
        self._clusters: dict[str, Cluster] = {}
        self._definitions: dict[str, TaskDefinition] = {}
        self._instances: dict[str, Instance] = {}

    def add_cluster(self, name: str) -> Cluster:
        cluster = Cluster(name, f"{self._prefix}:cluster/{name}")
        self._clusters[name] = cluster
        return cluster

    def add_task_definition(
        self,
        family: str,
        containers: Iterable[dict[str, Any]],
        network_mode: str = "bridge",
        compatibilities: Iterable[str] = ("EC2",),
    ) -> TaskDefinition:
        """Register the next revision of a family."""
        revision = 1 + sum(1 for known in self._definitions.values() if known.family == family)
        definition = TaskDefinition(
            f"{self._prefix}:task-definition/{family}:{revision}",
            family,
            tuple(containers),
            network_mode=network_mode,
            compatibilities=tuple(compatibilities),
        )
        self._definitions[f"{family}:{revision}"] = self._definitions[family] = definition
        return definition

    def cluster(self, reference: str, region: str) -> Cluster | None:
        return self._clusters.get(reference.rpartition("/")[2]) if region == self._region else None

    def task_definition(self, reference: str, region: str) -> TaskDefinition | None:
        return self._definitions.get(reference.rpartition("/")[2]) if region == self._region else None

    def instances(self, region: str) -> list[Instance]:
        return list(self._instances.values()) if region == self._region else []

    def add_instance(self, instance: Instance, region: str) -> None:
        if region != self._region:
            raise ValueError(f"this catalog is of {self._region}")
        self._instances[instance.arn] = instance

    def remove_instance(self, instance: Instance, region: str) -> None:
        if region == self._region:
            self._instances.pop(instance.arn, None)


def satisfies(expression: str, instance: Instance) -> bool:
    """Whether an instance satisfies an expression of the cluster query language.

    Known are ec2InstanceId, agentConnected and attribute:NAME, compared by ==, != and `in [...]`, and `and`.
    Raises AwsError (InvalidParameterException) for anything else.
    """
    for clause in re.split(r"\s+and\s+|\s*&&\s*", expression):
        match = _CLAUSE.match(clause)
        if match is None:
            raise AwsError("InvalidParameterException", "Invalid expression.")
        subject = match["subject"]
        if subject == "ec2InstanceId":
            actual: str | None = instance.ec2_instance_id
        elif subject == "agentConnected":
            actual = str(instance.agent_connected).lower()
        elif subject.startswith("attribute:"):
            actual = instance.attributes.get(subject.removeprefix("attribute:"))
        else:
            raise AwsError("InvalidParameterException", "Invalid expression.")
        wanted = {part.strip().strip("'\"") for part in match["value"].strip("[]").split(",")}
        if (actual in wanted) == match["operator"].startswith(("!", "not")):
            return False
    return True


# ── The state of a task ──────────────────────────────────────────────────────────────────────────────────


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
    # A paused process makes no progress: what is left of `exit_after` waits for the unpause.
    exit_left: timedelta | None = None
    terminates_at: datetime | None = None
    killed_at: datetime | None = None
    # Told by an engine before it told that the task runs: the exit code, and a reason if there is one.
    early_exit: tuple[int, str | None] | None = None

    @property
    def running(self) -> bool:
        return self.last_status == "RUNNING"

    def next_end(self) -> tuple[datetime, int] | None:
        """When and with which exit code the process ends as things stand."""
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
    """One task. `live` until it is STOPPED; `to_api()` is the Task of the ECS API, its times as datetimes."""

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
    # When the next step of the start, or the visible step of the stop, is due.
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
        """When this task changes next by itself, its being forgotten included."""
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


@dataclass
class _Token:
    """What a clientToken stands for."""

    used_at: datetime
    fingerprint: str
    task_arns: list[str]
    failures: list[dict[str, str]]


# ── What runs containers for real ────────────────────────────────────────────────────────────────────────


class NotStartedError(Exception):
    """A container of a task could not be started; the message is Docker's reason, as ECS words it."""

    def __init__(self, container: str, reason: str) -> None:
        super().__init__(reason)
        self.container = container


class Engine(Protocol):
    """Runs the containers of tasks for real.

    Called with the simulation locked, so only `launch` waits. What comes of the others is told to the simulation, from
    any thread: `started` or `not_started`, then `exited` for each container.
    """

    def start(self, task: SimulatedTask) -> None:
        """Create and start the task's containers."""

    def launch(self, task: SimulatedTask, paused: bool) -> dict[str, str]:
        """The same, but wait, and then pause them if asked; their Docker ids by name. Raises NotStartedError."""

    def stop(self, task: SimulatedTask, container: SimulatedContainer) -> None:
        """Send a container SIGTERM, and SIGKILL after its stopTimeout."""

    def remove(self, task: SimulatedTask) -> None:
        """Kill what still runs of the task, and remove its containers. Nothing is told of it any more."""


# ── The simulation ───────────────────────────────────────────────────────────────────────────────────────


class TaskSimulation:
    """RunTask, StopTask, DescribeTasks, ListTasks and ListContainerInstances, and the controls of a test.

    run_delay: seconds from RunTask to RUNNING; stop_delay: seconds from SIGTERM to the exit.
    rng: the source of ids; seed it for a reproducible simulation.
    engine: runs the tasks' containers for real, in its own time instead of these delays.
    """

    OPERATIONS = frozenset({"RunTask", "StopTask", "DescribeTasks", "ListTasks", "ListContainerInstances"})

    def __init__(
        self,
        catalog: Catalog,
        now: Callable[[], datetime],
        run_delay: float = 0.4,
        stop_delay: float = 0.3,
        rng: random.Random | None = None,
        account: str = ACCOUNT,
        engine: Engine | None = None,
    ) -> None:
        self._catalog = catalog
        self._now = now
        self._engine = engine
        self._run_delay = timedelta(seconds=run_delay)
        self._stop_delay = timedelta(seconds=stop_delay)
        self._rng = rng or random.Random()
        self._account = account
        self._lock = threading.RLock()
        self._time: datetime | None = None
        self._tasks: dict[str, SimulatedTask] = {}
        self._tokens: dict[tuple[str, str], _Token] = {}
        self._events: list[dict[str, Any]] = []
        # (when, order of entry, task ARN): the order of entry makes equal times deterministic.
        self._agenda: list[tuple[datetime, int, str]] = []
        self._entries = itertools.count()
        self._capacity: dict[str, tuple[int | None, int | None]] = {}
        self._agents_lost: set[str] = set()

    # ── time ──

    def advance(self, now: datetime) -> None:
        """Carry out what has become due by `now`, each at its own time, the earliest first."""
        with self._lock:
            while (due := self.next_due()) is not None and due <= now:
                task = self._tasks[heapq.heappop(self._agenda)[2]]
                self._step(task, due)
                self._schedule(task)
            self._time = max(now, self._time or now)

    def next_due(self) -> datetime | None:
        """When the next change is due, or None."""
        with self._lock:
            while self._agenda:
                due, _, arn = self._agenda[0]
                task = self._tasks.get(arn)
                if task is not None and task.next_due() == due:
                    return due
                # The task has changed since; what it waits for now has an entry of its own.
                heapq.heappop(self._agenda)
            return None

    def _schedule(self, task: SimulatedTask) -> None:
        """Enter in the agenda when a task changes next; to be called after whatever may have altered that."""
        due = task.next_due()
        if due is not None:
            heapq.heappush(self._agenda, (due, next(self._entries), task.arn))

    def drain_events(self) -> list[dict[str, Any]]:
        """The EventBridge events ("ECS Task State Change") since the last call, in order."""
        with self._lock:
            events, self._events = self._events, []
            return events

    def _tick(self) -> datetime:
        """Advance to the clock's time, and return it. Time never runs backwards."""
        self.advance(self._now())
        assert self._time is not None
        return self._time

    # ── requests ──

    def handle(self, operation: str, parameters: dict[str, Any], region: str = REGION) -> dict[str, Any]:
        """Answer one of OPERATIONS: parameters and result as in the ECS API. Raises AwsError."""
        with self._lock:
            now = self._tick()
            match operation:
                case "RunTask":
                    return self._run_task(parameters, region, now)
                case "StopTask":
                    return self._stop_task(parameters, region, now)
                case "DescribeTasks":
                    return self._describe_tasks(parameters, region)
                case "ListTasks":
                    return self._list_tasks(parameters, region)
                case "ListContainerInstances":
                    return self._list_container_instances(parameters, region)
        raise ValueError(f"not simulated: {operation}")

    def _run_task(self, parameters: dict[str, Any], region: str, now: datetime) -> dict[str, Any]:
        cluster = self._cluster(parameters, region)
        count = int(parameters.get("count", 1))
        if not 1 <= count <= MAX_COUNT:
            raise AwsError("InvalidParameterException", f"count should be between 1 and {MAX_COUNT}")
        token = parameters.get("clientToken")
        if token is not None and not re.fullmatch(r"[!-~]{1,64}", str(token)):
            raise AwsError("InvalidParameterException", "Invalid client token.")
        if token is not None and (answer := self._repeat(cluster, str(token), parameters, now)):
            return answer
        definition = self._definition(parameters, region)
        launch_type, provider = _launch_type(parameters, definition)
        tasks: list[SimulatedTask] = []
        failures: list[dict[str, str]] = []
        for _ in range(count):
            instance, refusals = None, list[dict[str, str]]()
            if launch_type != "FARGATE":
                instance, refusals = self._place(cluster, definition, launch_type, parameters, region, tasks)
                if instance is None:
                    failures.extend(refusals)
                    continue
            task = self._create(cluster, definition, launch_type, instance, parameters, region, now)
            task.capacity_provider = provider
            tasks.append(task)
            self._changed(task, now)
            self._start_for_real(task)
        if token is not None:
            self._tokens[(cluster.arn, str(token))] = _Token(
                now, _fingerprint(parameters), [task.arn for task in tasks], failures
            )
        return {"tasks": [task.to_api(include_tags=True) for task in tasks], "failures": failures}

    def _repeat(self, cluster: Cluster, token: str, parameters: dict[str, Any], now: datetime) -> dict[str, Any] | None:
        """The answer to a clientToken that was used before, or None when it is new or has lapsed.

        Source: "Ensuring idempotency" in the ECS API reference. A token lives for 24 hours, or until an hour
        after the last of its tasks has stopped, whichever is sooner. Failures to place are repeated as well.
        """
        known = self._tokens.get((cluster.arn, token))
        if known is None:
            return None
        remembered = [self._tasks[arn] for arn in known.task_arns if arn in self._tasks]
        if now - known.used_at >= TOKEN_LIFETIME or (known.task_arns and not remembered):
            del self._tokens[(cluster.arn, token)]
            return None
        if known.fingerprint != _fingerprint(parameters):
            raise AwsError(
                "ConflictException",
                "The provided clientToken is already in use with a different RunTask request.",
                resourceIds=known.task_arns,
            )
        tasks = [
            task.to_api(include_tags=True)
            if task.live
            else {"taskArn": task.arn, "lastStatus": task.last_status, "desiredStatus": task.desired_status}
            for task in remembered
        ]
        return {"tasks": tasks, "failures": known.failures}

    def _stop_task(self, parameters: dict[str, Any], region: str, now: datetime) -> dict[str, Any]:
        cluster = self._cluster(parameters, region)
        task = self._find(cluster, str(parameters.get("task", "")))
        if task is None:
            raise AwsError("InvalidParameterException", "The referenced task was not found.")
        reason = parameters.get("reason") or "Task stopped by user"
        self._begin_stop(task, "UserInitiated", str(reason), now)
        return {"task": task.to_api(include_tags=True)}

    def _describe_tasks(self, parameters: dict[str, Any], region: str) -> dict[str, Any]:
        cluster = self._cluster(parameters, region)
        references = [str(reference) for reference in parameters.get("tasks") or []]
        if not references:
            raise AwsError("InvalidParameterException", "Tasks cannot be empty.")
        if len(references) > MAX_DESCRIBED:
            raise AwsError("InvalidParameterException", f"Tasks cannot be more than {MAX_DESCRIBED}.")
        include_tags = "TAGS" in (parameters.get("include") or [])
        tasks, failures = [], []
        for reference in references:
            task = self._find(cluster, reference)
            if task is not None:
                tasks.append(task.to_api(include_tags))
            else:
                name = reference.rpartition("/")[2]
                arn = f"arn:aws:ecs:{region}:{self._account}:task/{cluster.name}/{name}"
                failures.append({"arn": arn, "reason": "MISSING"})
        return {"tasks": tasks, "failures": failures}

    def _list_tasks(self, parameters: dict[str, Any], region: str) -> dict[str, Any]:
        cluster = self._cluster(parameters, region)
        started_by, family = parameters.get("startedBy"), parameters.get("family")
        instance = parameters.get("containerInstance")
        if started_by is not None and (family or instance or parameters.get("serviceName")):
            raise AwsError("InvalidParameterException", "startedBy must be the only filter.")
        desired = parameters.get("desiredStatus", "RUNNING")
        arns = [
            task.arn
            for task in self._tasks.values()
            if task.cluster == cluster
            and task.desired_status == desired
            and (started_by is None or task.started_by == started_by)
            and (family is None or task.definition.family == family)
            and parameters.get("serviceName") is None
            and parameters.get("launchType", task.launch_type) == task.launch_type
            and (instance is None or (task.instance is not None and _last(task.instance.arn) == _last(str(instance))))
        ]
        return _page(arns, "taskArns", parameters)

    def _list_container_instances(self, parameters: dict[str, Any], region: str) -> dict[str, Any]:
        cluster = self._cluster(parameters, region)
        expression, status = parameters.get("filter"), parameters.get("status")
        arns = [
            instance.arn
            for instance in self.instances(region)
            if instance.cluster_arn == cluster.arn
            and status in (None, instance.status)
            and (not expression or satisfies(str(expression), instance))
        ]
        return _page(arns, "containerInstanceArns", parameters)

    def _cluster(self, parameters: dict[str, Any], region: str) -> Cluster:
        cluster = self._catalog.cluster(str(parameters.get("cluster") or "default"), region)
        if cluster is None:
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        return cluster

    def _definition(self, parameters: dict[str, Any], region: str) -> TaskDefinition:
        definition = self._catalog.task_definition(str(parameters.get("taskDefinition", "")), region)
        if definition is None:
            raise AwsError("ClientException", "TaskDefinition not found.")
        if not definition.active:
            raise AwsError("ClientException", "TaskDefinition is inactive")
        return definition

    def _find(self, cluster: Cluster, reference: str) -> SimulatedTask | None:
        if not reference.startswith("arn:"):
            reference = f"{cluster.arn.replace(':cluster/', ':task/')}/{reference}"
        task = self._tasks.get(reference)
        return task if task is not None and task.cluster == cluster else None

    # ── placement ──

    def instances(self, region: str = REGION) -> list[Instance]:
        """The container instances as the controls left them (capacity, lost agents)."""
        with self._lock:
            result = []
            for instance in self._catalog.instances(region):
                cpu, memory = self._capacity.get(instance.ec2_instance_id, (None, None))
                connected = instance.agent_connected and instance.ec2_instance_id not in self._agents_lost
                result.append(
                    Instance(
                        instance.arn,
                        instance.ec2_instance_id,
                        instance.cluster_arn,
                        instance.cpu if cpu is None else cpu,
                        instance.memory if memory is None else memory,
                        instance.status,
                        connected,
                        instance.attributes,
                    )
                )
            return result

    def usage(self, instance: Instance) -> tuple[int, int, int, int]:
        """Of one instance: CPU units and MiB in use, number of running and of pending tasks."""
        with self._lock:
            tasks = [task for task in self._tasks.values() if task.live and task.instance is not None]
            mine = [task for task in tasks if task.instance and task.instance.arn == instance.arn]
            pending = sum(1 for task in mine if task.last_status in ("PROVISIONING", "PENDING"))
            return (
                sum(task.definition.cpu_units() for task in mine),
                sum(task.definition.memory_mib() for task in mine),
                len(mine) - pending,
                pending,
            )

    def _place(
        self,
        cluster: Cluster,
        definition: TaskDefinition,
        launch_type: str,
        parameters: dict[str, Any],
        region: str,
        placed: list[SimulatedTask],
    ) -> tuple[Instance | None, list[dict[str, str]]]:
        """An instance with room for the task, or why each one was refused."""
        candidates = [
            instance
            for instance in self.instances(region)
            if instance.cluster_arn == cluster.arn
            and instance.status == "ACTIVE"
            and instance.external == (launch_type == "EXTERNAL")
        ]
        if not candidates:
            raise AwsError("InvalidParameterException", "No Container Instances were found in your cluster.")
        refusals = []
        for instance in candidates:
            reason = self._refusal(instance, definition, parameters.get("placementConstraints") or [], placed)
            if reason is None:
                return instance, []
            refusals.append({"arn": instance.arn, "reason": reason})
        return None, refusals

    def _refusal(
        self,
        instance: Instance,
        definition: TaskDefinition,
        constraints: list[dict[str, str]],
        placed: list[SimulatedTask],
    ) -> str | None:
        for constraint in constraints:
            if constraint.get("type") == "memberOf":
                if not satisfies(constraint.get("expression", ""), instance):
                    return "MemberOf placement constraint unsatisfied."
            elif any(task.instance and task.instance.arn == instance.arn for task in placed):
                return "DistinctInstance placement constraint unsatisfied."
        if not instance.agent_connected:
            return "AGENT"
        cpu, memory, _, _ = self.usage(instance)
        if memory + definition.memory_mib() > instance.memory:
            return "RESOURCE:MEMORY"
        if cpu + definition.cpu_units() > instance.cpu:
            return "RESOURCE:CPU"
        return None

    # ── the life of a task ──

    def _hex(self, digits: int) -> str:
        return f"{self._rng.getrandbits(4 * digits):0{digits}x}"

    def _create(
        self,
        cluster: Cluster,
        definition: TaskDefinition,
        launch_type: str,
        instance: Instance | None,
        parameters: dict[str, Any],
        region: str,
        now: datetime,
        task_id: str | None = None,
    ) -> SimulatedTask:
        task_id = task_id or self._hex(32)
        prefix = f"arn:aws:ecs:{region}:{self._account}"
        fargate = launch_type == "FARGATE"
        overrides = dict(parameters.get("overrides") or {})
        overrides.setdefault("containerOverrides", [])
        task = SimulatedTask(
            arn=f"{prefix}:task/{cluster.name}/{task_id}",
            region=region,
            cluster=cluster,
            definition=definition,
            launch_type=launch_type,
            instance=instance,
            created_at=now,
            group=str(parameters.get("group") or f"family:{definition.family}"),
            started_by=parameters.get("startedBy"),
            tags=list(parameters.get("tags") or []),
            overrides=overrides,
            attachments=self._network(parameters) if definition.network_mode == "awsvpc" else [],
            containers=[
                _container(container, f"{prefix}:container/{cluster.name}/{task_id}/{self._hex(32)}")
                for container in definition.containers
            ],
            platform_version="1.4.0" if fargate else None,
            enable_execute_command=bool(parameters.get("enableExecuteCommand", False)),
            last_status="PROVISIONING" if fargate else "PENDING",
            step_at=now + (self._run_delay / 2 if fargate else self._run_delay),
        )
        if not fargate:
            task.pull_started_at = task.connectivity_at = now
            self._hold(task)
        self._tasks[task.arn] = task
        return task

    def _network(self, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        network = (parameters.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
        details = {
            "subnetId": next(iter(network.get("subnets") or []), "subnet-0"),
            "networkInterfaceId": f"eni-{self._hex(17)}",
            "privateIPv4Address": f"10.0.{self._rng.randrange(256)}.{self._rng.randrange(4, 255)}",
        }
        return [
            {
                "id": f"{self._hex(8)}-{self._hex(4)}-{self._hex(4)}-{self._hex(4)}-{self._hex(12)}",
                "type": "ElasticNetworkInterface",
                "status": "ATTACHED",
                "details": [{"name": name, "value": value} for name, value in details.items()],
            }
        ]

    def _hold(self, task: SimulatedTask) -> None:
        """Keep a task PENDING that never starts, or of which an engine is to say when it has."""
        if self._engine is not None or any(container.start == "never" for container in task.containers):
            task.step_at = None

    def _start_for_real(self, task: SimulatedTask) -> None:
        if self._engine is not None and task.last_status == "PENDING":
            self._engine.start(task)

    def _step(self, task: SimulatedTask, at: datetime) -> None:
        """Carry out the one change of a task that is due at `at`."""
        if not task.live:
            self._forget(task)
        elif task.stopped_unstarted_at is not None and task.stopped_unstarted_at <= at:
            self._stopped(task, at)
        elif task.step_at is not None and task.step_at <= at:
            self._next_status(task, at)
        else:
            for container in task.containers:
                end = container.next_end() if container.running else None
                if end is not None and end[0] <= at:
                    self._end(task, container, end[1], at)
                    return

    def _next_status(self, task: SimulatedTask, at: datetime) -> None:
        task.step_at = None
        if task.desired_status == "STOPPED":
            task.last_status = "DEACTIVATING" if task.launch_type == "FARGATE" else "STOPPING"
            self._changed(task, at)
        elif task.last_status == "PROVISIONING":
            task.last_status = "PENDING"
            task.pull_started_at = task.connectivity_at = at
            task.step_at = at + self._run_delay / 2
            self._hold(task)
            self._changed(task, at)
            self._start_for_real(task)
        elif failed := [container for container in task.containers if container.start == "fail"]:
            reason = (
                "CannotPullContainerError: Error response from daemon: "
                f"pull access denied for {failed[0].image}, repository does not exist or may require 'docker login'"
            )
            failed[0].reason = reason
            task.desired_status = "STOPPED"
            task.stop_code, task.stopped_reason = "TaskFailedToStart", reason
            task.stopping_at = at
            self._stopped(task, at)
        else:
            self._running(task, at)
            self._changed(task, at)

    def _running(self, task: SimulatedTask, at: datetime, docker_ids: dict[str, str] | None = None) -> None:
        """The task runs. docker_ids: of its containers by name, when they are real."""
        task.last_status = "RUNNING"
        task.pull_stopped_at = task.started_at = at
        for container in task.containers:
            container.last_status = "RUNNING"
            # Fargate's containers are not Docker's: their ids differ.
            if task.launch_type == "FARGATE":
                container.runtime_id = f"{task.id}-{self._rng.randrange(10**9, 10**10)}"
            else:
                container.runtime_id = docker_ids[container.name] if docker_ids else self._hex(64)
            if container.exit_after is not None and docker_ids is None:
                container.exits_at = at + container.exit_after

    def _begin_stop(self, task: SimulatedTask, code: str, reason: str, at: datetime) -> None:
        """Ask a task to stop. One that is stopping or has stopped keeps its first reason."""
        if not task.live or task.desired_status == "STOPPED":
            return
        task.desired_status = "STOPPED"
        task.stop_code, task.stopped_reason = code, reason
        task.stopping_at = at
        if task.last_status == "RUNNING":
            task.step_at = at + self._stop_delay / 2
            self._terminate_containers(task, at)
        else:
            task.step_at = None
            # A start under way can't be taken back: the engine tells how it went, and that ends the task.
            if self._engine is None or task.last_status == "PROVISIONING":
                task.stopped_unstarted_at = at + self._stop_delay
        self._changed(task, at)

    def _terminate_containers(self, task: SimulatedTask, at: datetime) -> None:
        """Send SIGTERM to what still runs, and SIGKILL after the stopTimeout."""
        for container in task.containers:
            if container.running and self._engine is not None:
                self._engine.stop(task, container)
            elif container.running:
                container.killed_at = at + container.stop_timeout
                # A frozen process does not see the signal before it is thawed.
                if not container.ignores_sigterm and not container.paused:
                    container.terminates_at = at + self._stop_delay

    def _end(self, task: SimulatedTask, container: SimulatedContainer, code: int, at: datetime) -> None:
        """The process of a container has ended."""
        container.last_status = "STOPPED"
        container.exit_code = code
        container.paused = False
        container.exits_at = container.exit_left = container.terminates_at = container.killed_at = None
        if container.essential and task.desired_status == "RUNNING":
            task.desired_status = "STOPPED"
            task.stop_code = "EssentialContainerExited"
            task.stopped_reason = "Essential container in task exited"
            task.stopping_at = at
            self._terminate_containers(task, at)
        if any(other.running for other in task.containers):
            self._changed(task, at)
        else:
            task.execution_stopped_at = at
            self._stopped(task, at)

    def _stopped(self, task: SimulatedTask, at: datetime) -> None:
        task.last_status = task.desired_status = "STOPPED"
        task.step_at = task.stopped_unstarted_at = None
        task.stopped_at = at
        task.execution_stopped_at = task.execution_stopped_at or at
        for container in task.containers:
            container.last_status = "STOPPED"
        for attachment in task.attachments:
            attachment["status"] = "DELETED"
        self._changed(task, at)

    def _forget(self, task: SimulatedTask) -> None:
        del self._tasks[task.arn]
        self._remove_for_real(task)

    def _remove_for_real(self, task: SimulatedTask) -> None:
        if self._engine is not None:
            self._engine.remove(task)

    def _changed(self, task: SimulatedTask, at: datetime) -> None:
        """Raise the version, and put the event in the outbox."""
        task.version += 1
        self._schedule(task)
        detail = json.loads(json.dumps({**task.to_api(), "updatedAt": at}, default=_iso))
        self._events.append(
            {
                "version": "0",
                "id": f"{self._hex(8)}-{self._hex(4)}-{self._hex(4)}-{self._hex(4)}-{self._hex(12)}",
                "detail-type": "ECS Task State Change",
                "source": "aws.ecs",
                "account": self._account,
                "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "region": task.region,
                "resources": [task.arn],
                "detail": detail,
            }
        )

    # ── what an engine tells ──

    def started(self, task_arn: str, docker_ids: dict[str, str]) -> bool:
        """All containers of the task were started; their Docker ids by name. False: they are not wanted any more."""
        with self._lock:
            now = self._tick()
            task = self._tasks.get(task_arn)
            if task is None or not task.live:
                return False
            if task.desired_status == "STOPPED":
                # It was asked to stop before it ran.
                self._stopped(task, now)
                return False
            self._running(task, now, docker_ids)
            self._changed(task, now)
            for container in task.containers:
                if container.early_exit is not None:
                    self.exited(task_arn, container.name, *container.early_exit)
            return True

    def not_started(self, task_arn: str, container: str, reason: str) -> None:
        """A container of the task could not be started, and none of them runs."""
        with self._lock:
            now = self._tick()
            task = self._tasks.get(task_arn)
            if task is None or not task.live:
                return
            if task.desired_status == "RUNNING":
                task.desired_status = "STOPPED"
                task.stop_code, task.stopped_reason = "TaskFailedToStart", "Task failed to start"
                task.stopping_at = now
            self._named(task, container).reason = reason
            self._stopped(task, now)

    def exited(self, task_arn: str, container: str, exit_code: int, reason: str | None = None) -> None:
        """The process of a container has ended."""
        with self._lock:
            now = self._tick()
            task = self._tasks.get(task_arn)
            if task is None or not task.live:
                return
            found = self._named(task, container)
            if found.running:
                found.reason = reason
                self._end(task, found, exit_code, now)
            elif task.started_at is None:
                found.early_exit = (exit_code, reason)

    def frozen(self, task_arn: str, container: str, paused: bool) -> None:
        """A container was paused or unpaused."""
        with self._lock:
            task = self._tasks.get(task_arn)
            if task is not None:
                self._named(task, container).paused = paused

    @staticmethod
    def _named(task: SimulatedTask, name: str) -> SimulatedContainer:
        return next(container for container in task.containers if container.name == name)

    # ── what a command on the host does ──

    def host_command(
        self, ec2_instance_id: str, action: str, runtime_ids: list[str], at: datetime | None = None
    ) -> str | None:
        """Pause, unpause or kill containers on one host, all of them or none; None, or what is wrong.

        Repeats are harmless. To pause or unpause, each container must run; one to kill may be gone already.
        at: when, by default now.
        """
        with self._lock:
            self.advance(at or self._now())
            assert self._time is not None
            found = {
                container.runtime_id: (task, container)
                for task in self._tasks.values()
                if task.instance is not None and task.instance.ec2_instance_id == ec2_instance_id
                for container in task.containers
                if container.running
            }
            for runtime_id in runtime_ids:
                if runtime_id not in found and action != "kill":
                    return f"Error response from daemon: container {runtime_id} is not running"
            chosen = [found[runtime_id] for runtime_id in dict.fromkeys(runtime_ids) if runtime_id in found]
            for task, container in chosen:
                match action:
                    case "pause":
                        self._pause(container, self._time)
                    case "unpause":
                        self._unpause(container, self._time)
                    case "kill":
                        if container.running:
                            self._end(task, container, SIGKILLED, self._time)
                    case _:
                        return f"unknown action: {action}"
                self._schedule(task)
            return None

    def _pause(self, container: SimulatedContainer, at: datetime) -> None:
        if container.paused:
            return
        container.paused = True
        if container.exits_at is not None:
            container.exit_left = container.exits_at - at
        container.exits_at = container.terminates_at = None

    def _unpause(self, container: SimulatedContainer, at: datetime) -> None:
        if not container.paused:
            return
        container.paused = False
        if container.exit_left is not None:
            container.exits_at, container.exit_left = at + container.exit_left, None
        # The SIGTERM that was sent while it was frozen arrives now.
        if container.killed_at is not None and not container.ignores_sigterm:
            container.terminates_at = at + self._stop_delay

    # ── controls of a test ──

    def tasks(self, cluster: str | None = None) -> list[SimulatedTask]:
        """Every task that is not forgotten, of one cluster (name or ARN) when given, in order of creation."""
        with self._lock:
            self._tick()
            return [
                task
                for task in self._tasks.values()
                if cluster is None or cluster in (task.cluster.name, task.cluster.arn)
            ]

    def live(self, started_by: str | None = None) -> list[SimulatedTask]:
        """The tasks that have not stopped, those of one startedBy when given."""
        return [task for task in self.tasks() if task.live and started_by in (None, task.started_by)]

    def task(self, task_arn: str) -> SimulatedTask:
        """Raises KeyError for a task that is unknown or forgotten."""
        with self._lock:
            self._tick()
            return self._tasks[task_arn]

    def exit(self, task_arn: str, exit_code: int, container: str | None = None) -> None:
        """A running container dies by itself now: the named one, or the first essential one."""
        with self._lock:
            now = self._tick()
            task = self._tasks[task_arn]
            for candidate in task.containers:
                if candidate.running and (candidate.name == container if container else candidate.essential):
                    self._end(task, candidate, exit_code, now)
                    return
            raise ValueError(f"no such container runs in {task_arn}")

    def interrupt(self, task_arn: str) -> None:
        """Spot capacity is taken back: the task is asked to stop."""
        with self._lock:
            now = self._tick()
            reason = "Your Spot Task was interrupted."
            self._begin_stop(self._tasks[task_arn], "SpotInterruption", reason, now)

    def forget(self, task_arn: str) -> None:
        """As if ECS's hour of memory had passed. A live one vanishes too, without an event."""
        with self._lock:
            self._tick()
            self._forget(self._tasks[task_arn])

    def set_capacity(self, ec2_instance_id: str, memory: int | None = None, cpu: int | None = None) -> None:
        """Change what an instance has in all (MiB, CPU units); None restores what it registered with."""
        with self._lock:
            self._capacity[ec2_instance_id] = (cpu, memory)

    def set_agent_connected(self, ec2_instance_id: str, connected: bool) -> None:
        """Whether the instance's agent answers; one that does not takes no task."""
        with self._lock:
            (self._agents_lost.discard if connected else self._agents_lost.add)(ec2_instance_id)

    def add_instance(
        self,
        cluster: str,
        ec2_instance_id: str | None = None,
        cpu: int = 4096,
        memory: int = 7482,
        region: str = REGION,
        attributes: dict[str, str] | None = None,
    ) -> str:
        """Register a container instance and return its EC2 id; an id like mi-… makes it an external one."""
        with self._lock:
            found = self._cluster({"cluster": cluster}, region)
            ec2_instance_id = ec2_instance_id or f"i-{self._hex(17)}"
            arn = f"arn:aws:ecs:{region}:{self._account}:container-instance/{found.name}/{self._hex(32)}"
            known = {"ecs.availability-zone": f"{region}a", "ecs.os-type": "linux", **(attributes or {})}
            instance = Instance(arn, ec2_instance_id, found.arn, cpu, memory, attributes=known)
            self._catalog.add_instance(instance, region)
            return ec2_instance_id

    def terminate_instance(self, ec2_instance_id: str, region: str = REGION) -> None:
        """The host is gone: it leaves its cluster, and its tasks stop at once, without exit codes."""
        with self._lock:
            now = self._tick()
            for instance in self._catalog.instances(region):
                if instance.ec2_instance_id == ec2_instance_id:
                    self._catalog.remove_instance(instance, region)
            for task in list(self._tasks.values()):
                if task.live and task.instance and task.instance.ec2_instance_id == ec2_instance_id:
                    task.stop_code = "TerminationNotice"
                    task.stopped_reason = f"Host EC2 (instance {ec2_instance_id}) terminated."
                    task.stopping_at = task.stopping_at or now
                    self._stopped(task, now)
                    self._remove_for_real(task)

    def adopt_running(
        self,
        cluster: str,
        task_definition: str,
        started_by: str | None = None,
        ec2_instance_id: str | None = None,
        launch_type: str = "EC2",
        region: str = REGION,
        task_id: str | None = None,
        tags: list[dict[str, str]] | None = None,
        paused: bool = False,
    ) -> SimulatedTask:
        """Create a task that is RUNNING at once, without events: one that was there before.

        Raises AwsError; with an engine, which is waited for, NotStartedError.
        ec2_instance_id: its host; by default the first one of the cluster, whatever room it has.
        """
        with self._lock:
            now = self._tick()
            found = self._cluster({"cluster": cluster}, region)
            definition = self._definition({"taskDefinition": task_definition}, region)
            instance = None
            if launch_type != "FARGATE":
                hosts = [
                    host
                    for host in self.instances(region)
                    if host.cluster_arn == found.arn and ec2_instance_id in (None, host.ec2_instance_id)
                ]
                if not hosts:
                    raise AwsError("InvalidParameterException", "No Container Instances were found in your cluster.")
                instance = hosts[0]
            parameters = {"startedBy": started_by, "tags": tags}
            task = self._create(found, definition, launch_type, instance, parameters, region, now, task_id)
            task.step_at = None
            task.pull_started_at = task.connectivity_at = now
            try:
                docker_ids = self._engine.launch(task, paused) if self._engine else None
            except NotStartedError:
                del self._tasks[task.arn]
                raise
            self._running(task, now, docker_ids)
            for container in task.containers:
                container.paused = paused
            # As many changes as a task sees on its way to RUNNING.
            task.version = 3 if launch_type == "FARGATE" else 2
            self._schedule(task)
            return task


def _container(definition: dict[str, Any], arn: str) -> SimulatedContainer:
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


def _launch_type(parameters: dict[str, Any], definition: TaskDefinition) -> tuple[str, str | None]:
    """The launch type, and the capacity provider when one was asked for. Raises AwsError."""
    launch_type = parameters.get("launchType")
    strategy = parameters.get("capacityProviderStrategy") or []
    if launch_type and strategy:
        raise AwsError(
            "InvalidParameterException",
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        )
    provider = str(strategy[0]["capacityProvider"]) if strategy else None
    if provider is not None:
        launch_type = "FARGATE" if provider.startswith("FARGATE") else "EC2"
    launch_type = str(launch_type or "EC2")
    if launch_type not in ("EC2", "FARGATE", "EXTERNAL"):
        raise AwsError("InvalidParameterException", f"Unknown launch type {launch_type}.")
    if launch_type == "FARGATE" and "FARGATE" not in definition.compatibilities:
        raise AwsError("InvalidParameterException", "Task definition does not support launch_type FARGATE.")
    if definition.network_mode == "awsvpc" and not parameters.get("networkConfiguration"):
        raise AwsError(
            "InvalidParameterException",
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )
    return launch_type, provider


def _fingerprint(parameters: dict[str, Any]) -> str:
    """What must be equal in requests with the same clientToken; a cluster's name and its ARN are."""
    same = {name: value for name, value in parameters.items() if name not in ("clientToken", "cluster")}
    return json.dumps(same, sort_keys=True)


def _page(arns: list[str], key: str, parameters: dict[str, Any]) -> dict[str, Any]:
    start = int(parameters.get("nextToken") or 0)
    size = int(parameters.get("maxResults") or 100)
    page: dict[str, Any] = {key: arns[start : start + size]}
    if start + size < len(arns):
        page["nextToken"] = str(start + size)
    return page


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _iso(value: Any) -> str:
    """Times as ECS has them in events: UTC with milliseconds."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    raise TypeError(f"{type(value).__name__} has no JSON form")
