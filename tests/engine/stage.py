"""The real engine on an emulated AWS: in memory, one call after another, on a virtual clock.

Nothing is random or concurrent. Hooks perform the actions of other workers between two calls.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from longshore.aws.attributes import deserialize_item
from longshore.aws.ecs import Ecs
from longshore.aws.items import container_item, container_of, log_item
from longshore.aws.operation_form import read_operation, stored_operation
from longshore.domain.changes import ContainerChange
from longshore.domain.errors import ExternalServiceError, LongshoreError
from longshore.domain.history import append
from longshore.domain.ledger import KnownTask, LastTask
from longshore.domain.lifecycle import Kind, LaunchType, Operation, Status
from longshore.domain.models import Change, Container, OperationRequest, Outcome, Runtime
from longshore.domain.pending import PendingOperation, Trigger
from longshore.domain.task import Task
from longshore.engine.attempt import Attempt
from longshore.engine.known import Known
from longshore.engine.observations import Launched, Result
from simulation.aws import clients

from engine.aws import CLUSTER, Aws, Call, Crash
from engine.wiring import scheduled_stop, wire
from local.emulator.ecs import REGION, SimulatedTask

PROJECT = "507f1f77bcf86cd799439033"
USER = "ann"
NUMBER = 1736937000
"""The number of the first command: the Unix time in seconds at which a test starts."""
HIGH = 2_000_000_000
"""A number that is higher than FIRST."""


class Stage(Aws):
    """The engine, the emulated AWS and the clock of a test. Operations wait 20 seconds; tasks start and stop in 0.4."""

    def __init__(self) -> None:
        super().__init__()
        self._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "operator"})
        self.stuck: list[int] = []
        self.failures: list[str] = []
        self.reasons: set[str] = set()
        self.large: list[tuple[str, float]] = []
        self.pending_ids: list[str] = []
        self.time_left: Callable[[], bool] = lambda: True
        self.wired = wire(
            clients(),
            self.clock,
            wait=timedelta(seconds=20),
            enough_time=lambda: self.time_left(),
            on_stuck=self.stuck.append,
            on_pending=self.pending_ids.append,
            on_failure=self._failed,
            on_large=lambda *given: self.large.append(given),
        )

    # --- setup ------------------------------------------------------------------------------------------------------

    def add(
        self,
        *statuses: str,
        number: int = 1,
        labels: dict[str, str] | None = None,
        fargate: bool = False,
        cluster: str = CLUSTER,
        server: str | None = None,
        sidecars: int = 0,
        runtime: dict[str, Any] | None = None,
    ) -> str:
        """Add a container with a history of these statuses, and a task if the last status is live. Returns its id."""
        container_id = f"507f1f77bcf86cd799439{number:03d}"
        family = f"web-{number}"
        definition = {"name": "app", "image": "busybox", "memory": 128, "stopTimeout": 10, "dockerLabels": labels or {}}
        others = [definition | {"name": f"side-{n}", "essential": False} for n in range(sidecars)]
        self.catalog.add_task_definition(
            family,
            [definition, *others],
            network_mode="awsvpc" if fargate else "bridge",
            compatibilities=("FARGATE",) if fargate else ("EC2",),
        )
        moment = self.clock.now() - timedelta(hours=1)
        container = Container(
            id=container_id,
            project_id=PROJECT,
            name=f"demo-{number}",
            server_instance_id=server,
            status=Status(statuses[0]),
            status_since=moment,
            runtime=Runtime(
                cluster=cluster,
                task_definition=family,
                subnets=["subnet-0a1b2c3d"] if fargate else [],
                **runtime or {"launch_type": LaunchType.FARGATE if fargate else LaunchType.EC2},
            ),
            created_at=moment,
            updated_at=moment,
        )
        for position, status in enumerate(statuses):
            change = Change(to_status=Status(status), observed_at=moment, triggered_by=Trigger.SYSTEM)
            container, entry = append(container, change, f"{number:012x}{position:012x}", moment)
            self.dynamodb.handle("PutItem", {"TableName": "status-logs", "Item": log_item(entry)})
            moment += timedelta(seconds=60)
        if container.is_live and self.catalog.cluster(cluster, REGION) is not None:
            launch_type = "FARGATE" if fargate else "EC2"
            task = self.ecs.adopt_running(cluster, family, container_id, None, launch_type)
            for process in task.containers:
                process.paused = container.status is Status.PAUSED
            known = KnownTask(arn=task.arn, shown=True, version=task.version)
            container = container.model_copy(update={"tasks": {task.id: known}})
        self.ecs.drain_events()
        self.put(container)
        return container_id

    def give_task(self, container_id: str, *, stop_timeout: float = 10) -> SimulatedTask:
        """Run a task and name it in the container's item, regardless of the status. The task ignores SIGTERM."""
        definition = self.container(container_id).runtime.task_definition
        task = self.ecs.adopt_running(CLUSTER, definition, container_id)
        for process in task.containers:
            process.ignores_sigterm, process.stop_timeout = True, timedelta(seconds=stop_timeout)
        known = KnownTask(arn=task.arn, shown=True, version=task.version)
        self.edit(container_id, tasks={task.id: known})
        return task

    def put(self, container: Container) -> None:
        """Write a container's item without a condition."""
        self.dynamodb.handle("PutItem", {"TableName": "containers", "Item": container_item(container)})

    def damage(self, container_id: str, attribute: str = "status", value: str = "no such status") -> None:
        """Make a container's item unreadable."""
        self.dynamodb.tables["containers"].items[(container_id,)][attribute] = {"S": value}

    def crash(self, container_id: str, operation: str, at: str, *, key: str | None = None, skip: int = 0) -> None:
        """Perform an operation that crashes just after the effect of a call to AWS."""

        def crash(_: Call) -> None:
            raise Crash

        self.after(at, crash, skip=skip)
        with pytest.raises(Crash):
            self.ask(container_id, operation, key)

    def claim(self, container_id: str, operation: str, *, key: str | None = None) -> PendingOperation:
        """Claim an operation and crash, so that no driver continues it."""
        self.crash(container_id, operation, "TransactWriteItems" if key else "UpdateItem", key=key)
        self.calls.clear()
        return self.pending(container_id)

    # --- requests and events ----------------------------------------------------------------------------------------

    def ask(
        self,
        container_id: str,
        operation: str,
        key: str | None = None,
        request_id: str = "r-1",
        **options: Any,
    ) -> Outcome:
        """Perform an operation for the user. Raises the error that the caller would receive."""
        name = Operation(operation)
        request = OperationRequest(container_id, name, USER, request_id, idempotency_key=key, **options)
        with self.open():
            return self.wired.operations.perform(request)

    def patch(self, container_id: str, **values: Any) -> Container:
        """Change a container for the user."""
        with self.open():
            return self.wired.changes.apply(USER, container_id, ContainerChange(**values))

    def keep_alive(self, container_id: str) -> Container:
        with self.open():
            return self.wired.changes.keep_alive(USER, container_id)

    def refused(self, container_id: str, operation: str, key: str | None = None) -> str:
        """Perform an operation that fails. Returns the reason, or the message of a conflict."""
        with pytest.raises(LongshoreError) as raised:
            self.ask(container_id, operation, key)
        return raised.value.reason if isinstance(raised.value, ExternalServiceError) else raised.value.message

    def take_over(self, container_id: str, *, wait: float = 5, for_caller: bool = False) -> Outcome | None:
        """Take over the pending operation like a sweep, or like a retry if `for_caller` is set."""
        until = self.clock.now() + timedelta(seconds=wait)
        with self.open():
            return self.wired.driver.take_over(self.container(container_id), until, for_caller=for_caller)

    def attempt(self, container_id: str, *, wait: float = 5, event_task: Task | None = None, **options: Any) -> Result:
        """Run an attempt of the pending operation's step without committing its result.

        Stores the task that a start has launched, and continues the attempt, as the driver does.
        """
        until = self.clock.now() + timedelta(seconds=wait)
        known = Known(event_task)
        with self.open():
            while True:
                container, pending = self.container(container_id), self.pending(container_id)
                result = self.wired.steps.run(container, pending, until, known=known, **options)
                if not isinstance(result.observation, Launched):
                    return result
                known = Known(event_task, result.observation.task)
                self.edit(container_id, tasks=dict(result.findings.tasks or {}))

    def looking(self, container_id: str, *, wait: float = 0, reported: Task | None = None) -> Attempt:
        """Return an attempt of the pending operation's step, for tests of its methods."""
        until = self.clock.now() + timedelta(seconds=wait)
        return Attempt(
            Ecs(clients().ecs),
            self.clock,
            self.container(container_id),
            self.pending(container_id),
            until,
            Known(reported),
        )

    def terminate(self, server: str) -> int:
        """Expire the containers of a server."""
        with self.open():
            return self.wired.servers.terminated(server, self.clock.now())

    def schedule(self, time: datetime, *container_ids: str) -> dict[str, int]:
        """Run a scheduled stop for a scheduled time. Returns the number of containers by effect."""
        with self.open():
            return scheduled_stop(self.wired, list(container_ids), time, self.clock.now())

    def sweep(self) -> dict[str, int]:
        with self.open():
            return self.wired.recovery.sweep()

    def drift_sweep(self) -> dict[str, int]:
        with self.open():
            return self.wired.drift.sweep(CLUSTER)

    def deliver(self, event: dict[str, Any]) -> str:
        """Deliver an event of a task or command. Returns its effect."""
        with self.open():
            if event["source"] == "aws.ecs":
                return str(self.wired.task_events.apply(event).value)
            return str(self.wired.command_events.apply(event["detail"]).value)

    def deliver_all(self) -> None:
        """Deliver all events so far, in order."""
        while self.events:
            self.deliver(self.events.pop(0))

    def with_events(self) -> None:
        """Deliver events from now on, as soon as code waits or the test advances the clock."""
        self.clock.waited = self.deliver_all

    def pass_deadline(self) -> dict[str, int]:
        """Advance the clock past the pending operation's deadline, and run the recovery sweep.

        The sweep does not wait: with events, its effects are visible a second later.
        """
        self.advance(61)
        counts = self.sweep()
        if self.clock.waited == self.deliver_all:
            self.advance(1)
        return counts

    # --- observations -----------------------------------------------------------------------------------------------

    def container(self, container_id: str) -> Container:
        return container_of(deserialize_item(self.dynamodb.tables["containers"].items[(container_id,)]))

    def status(self, container_id: str) -> str:
        return self.container(container_id).status.value

    def rows(self, container_id: str) -> list[dict[str, Any]]:
        """Return the container's history, oldest first."""
        items = self.dynamodb.tables["status-logs"].items
        return [deserialize_item(item) for key, item in sorted(items.items()) if key[0] == container_id]

    def record(self) -> dict[str, Any] | None:
        """Return the record of the only Idempotency-Key, or None."""
        items = list(self.dynamodb.tables["idempotency"].items.values())
        return deserialize_item(items[0]) if items else None

    def live(self, container_id: str) -> list[SimulatedTask]:
        """Return the container's tasks that have not stopped."""
        return [task for task in self.ecs.tasks() if task.live and task.started_by == container_id]

    def pending(self, container_id: str) -> PendingOperation:
        """Return the container's pending operation."""
        operation = self.container(container_id).operation
        assert operation is not None
        return operation

    def edit(self, container_id: str, **changes: Any) -> None:
        """Change attributes of a container's item."""
        self.put(self.container(container_id).model_copy(update=changes))

    def known(self, container_id: str, token: str | None = None) -> KnownTask:
        """Return what is known about a task of the container: of the only one, or the one with this key."""
        tasks = self.container(container_id).tasks
        return tasks[token] if token is not None else next(iter(tasks.values()))

    def edit_known(self, container_id: str, token: str | None = None, **changes: Any) -> None:
        """Change what is known about a task of the container: about the only one, or the one with this key."""
        tasks = self.container(container_id).tasks
        token = token if token is not None else next(iter(tasks))
        self.edit(container_id, tasks={**tasks, token: tasks.get(token, KnownTask()).model_copy(update=changes)})

    def lose(self, container_id: str, task: SimulatedTask, **changes: Any) -> None:
        """Let the container's task count as gone: it is not in the ledger, although it may be alive."""
        last = LastTask(id=task.id, version=task.version, gone=True)
        self.edit(container_id, tasks={}, last_task=last.model_copy(update=changes))

    def edit_pending(self, container_id: str, **changes: Any) -> None:
        """Change attributes of the pending operation, by the names under which they are stored."""
        container = self.container(container_id)
        self.put(with_operation(container, **changes))

    def _failed(self, name: str, error: LongshoreError) -> None:
        self.failures.append(name)
        self.reasons.add(error.reason if isinstance(error, ExternalServiceError) else error.message)

    def _put(self, table: str, item: dict[str, Any]) -> None:
        serialized = {name: TypeSerializer().serialize(value) for name, value in item.items()}
        self.dynamodb.handle("PutItem", {"TableName": table, "Item": serialized})


def with_acting_event(container: Container) -> Container:
    """Return the container after an event handler has recorded that it acts for the pending operation."""
    return with_operation(container, event_acted=True)


def with_operation(container: Container, **changes: Any) -> Container:
    """Return the container with other attributes of its pending operation, by the names under which they are stored."""
    assert container.operation is not None
    stored = stored_operation(container.operation.model_dump(exclude_defaults=True)) | changes
    changed = read_operation(stored, of_service=container.kind is Kind.SERVICE)
    return container.model_copy(update={"operation": PendingOperation.model_validate(changed)})


def event(task: SimulatedTask, status: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return the event of a task, optionally with another status and other fields."""
    detail = task.to_api() | ({"lastStatus": status} if status else {}) | changes
    return {"source": "aws.ecs", "detail": detail}
