"""The real engine on an emulated AWS in memory, one call after the other, on a virtual clock.

Nothing here is random, and nothing runs at the same time: what another worker does in between is called from a hook.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from longshore.aws.attributes import deserialize_item
from longshore.aws.ecs import Ecs
from longshore.aws.items import container_item, log_item
from longshore.domain.errors import ExternalServiceError, LongshoreError
from longshore.domain.history import append
from longshore.domain.lifecycle import LaunchType, Operation, Status
from longshore.domain.models import Change, Container, OperationRequest, Outcome, PendingOperation, Runtime, Trigger
from longshore.domain.task import Task
from longshore.engine.attempt import Attempt
from longshore.engine.steps import Result
from simulation.aws import clients

from engine.aws import CLUSTER, Aws, Call, Crash
from engine.wiring import scheduled_stop, wire
from local.emulator.ecs import SimulatedTask

PROJECT = "507f1f77bcf86cd799439033"
USER = "ann"
NUMBER = 1736937000
"""The number of the first command: the seconds since 1970 when a test begins."""
HIGH = 2_000_000_000
"""A number that is higher than those seconds."""


class Stage(Aws):
    """Everything a test of the engine needs. The wait of operations is 20 seconds, tasks start and stop in 0.4."""

    def __init__(self) -> None:
        super().__init__()
        self._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "operator"})
        self.stuck: list[int] = []
        self.failures: list[str] = []
        self.told: list[str] = []
        self.time_left: Callable[[], bool] = lambda: True
        self.wired = wire(
            clients(),
            self.clock,
            wait=timedelta(seconds=20),
            enough_time=lambda: self.time_left(),
            on_stuck=self.stuck.append,
            on_pending=self.told.append,
            on_failure=lambda name, _: self.failures.append(name),
        )

    # --- what the test arranges ------------------------------------------------------------------------------------

    def add(
        self,
        *statuses: str,
        number: int = 1,
        labels: dict[str, str] | None = None,
        fargate: bool = False,
        cluster: str = CLUSTER,
        server: str | None = None,
        sidecars: int = 0,
    ) -> str:
        """Add a container with a history of these statuses, and its task if the last one is live. Returns its id."""
        container_id = f"507f1f77bcf86cd7994390{number:02d}"
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
                launch_type=LaunchType.FARGATE if fargate else LaunchType.EC2,
                subnets=["subnet-0a1b2c3d"] if fargate else [],
            ),
            created_at=moment,
            updated_at=moment,
        )
        for position, status in enumerate(statuses):
            change = Change(to_status=Status(status), observed_at=moment, triggered_by=Trigger.SYSTEM)
            container, entry = append(container, change, f"{number:012x}{position:012x}", moment)
            self.dynamodb.handle("PutItem", {"TableName": "status-logs", "Item": log_item(entry)})
            moment += timedelta(seconds=60)
        if container.is_live and cluster == CLUSTER:
            launch_type = "FARGATE" if fargate else "EC2"
            task = self.ecs.adopt_running(CLUSTER, family, container_id, None, launch_type)
            for process in task.containers:
                process.paused = container.status is Status.PAUSED
            container = container.model_copy(update={"task_arn": task.arn, "task_version": task.version})
        self.ecs.drain_events()
        self.put(container)
        return container_id

    def give_task(self, container_id: str, *, stop_timeout: float = 10) -> SimulatedTask:
        """Run a task that the container's item names as its own, whatever its status. It ignores SIGTERM."""
        definition = self.container(container_id).runtime.task_definition
        task = self.ecs.adopt_running(CLUSTER, definition, container_id)
        for process in task.containers:
            process.ignores_sigterm, process.stop_timeout = True, timedelta(seconds=stop_timeout)
        self.edit(container_id, task_arn=task.arn, task_version=task.version)
        return task

    def put(self, container: Container) -> None:
        """Write a container's item as it is."""
        self.dynamodb.handle("PutItem", {"TableName": "containers", "Item": container_item(container)})

    def damage(self, container_id: str, attribute: str = "status", value: str = "no such status") -> None:
        """Make a container's item unreadable."""
        self.dynamodb.tables["containers"].items[(container_id,)][attribute] = {"S": value}

    def crash(self, container_id: str, operation: str, at: str, *, key: str | None = None, skip: int = 0) -> None:
        """Perform an operation whose process ends just after the effect of a call to AWS."""

        def crash(_: Call) -> None:
            raise Crash

        self.after(at, crash, skip=skip)
        with pytest.raises(Crash):
            self.ask(container_id, operation, key)

    def claim(self, container_id: str, operation: str, *, key: str | None = None) -> PendingOperation:
        """Claim an operation that no driver continues."""
        self.crash(container_id, operation, "TransactWriteItems" if key else "UpdateItem", key=key)
        self.calls.clear()
        return self.pending(container_id)

    # --- what callers and AWS do -----------------------------------------------------------------------------------

    def ask(self, container_id: str, operation: str, key: str | None = None, request_id: str = "r-1") -> Outcome:
        """Perform an operation for the user. Raises what the caller would be answered."""
        request = OperationRequest(container_id, Operation(operation), USER, request_id, idempotency_key=key)
        with self.open():
            return self.wired.operations.perform(request)

    def refused(self, container_id: str, operation: str, key: str | None = None) -> str:
        """Perform an operation that fails. Returns the reason, or the message of a conflict."""
        with pytest.raises(LongshoreError) as raised:
            self.ask(container_id, operation, key)
        return raised.value.reason if isinstance(raised.value, ExternalServiceError) else raised.value.message

    def take_over(self, container_id: str, *, wait: float = 5, for_caller: bool = False) -> Outcome | None:
        """Take over the pending operation, as a sweep or a repeat does."""
        until = self.clock.now() + timedelta(seconds=wait)
        with self.open():
            return self.wired.driver.take_over(self.container(container_id), until, for_caller=for_caller)

    def attempt(self, container_id: str, *, wait: float = 5, **options: Any) -> Result:
        """Attempt the pending operation's step, without committing anything."""
        until = self.clock.now() + timedelta(seconds=wait)
        with self.open():
            return self.wired.steps.run(self.container(container_id), self.pending(container_id), until, **options)

    def looking(self, container_id: str, *, wait: float = 0, told: Task | None = None) -> Attempt:
        """An attempt at the pending operation's step, whose parts a test calls one by one."""
        until = self.clock.now() + timedelta(seconds=wait)
        return Attempt(
            Ecs(clients().ecs), self.clock, self.container(container_id), self.pending(container_id), until, told
        )

    def terminate(self, server: str) -> int:
        """Expire the containers of a server."""
        with self.open():
            return self.wired.servers.terminated(server, self.clock.now())

    def schedule(self, time: datetime, *container_ids: str) -> dict[str, int]:
        """Run a scheduled stop that was scheduled for a time. Returns the number of containers by effect."""
        with self.open():
            return scheduled_stop(self.wired, list(container_ids), time, self.clock.now())

    def sweep(self) -> dict[str, int]:
        with self.open():
            return self.wired.recovery.sweep()

    def drift_sweep(self) -> dict[str, int]:
        with self.open():
            return self.wired.drift.sweep(CLUSTER)

    def deliver(self, event: dict[str, Any]) -> str:
        """Deliver an event of a task or of a command. Returns its effect."""
        detail = event["detail"]
        with self.open():
            events = self.wired.task_events if event["source"] == "aws.ecs" else self.wired.command_events
            return str(events.apply(detail).value)

    def deliver_all(self) -> None:
        """Deliver the events so far, in order."""
        while self.events:
            self.deliver(self.events.pop(0))

    def pass_deadline(self) -> dict[str, int]:
        """Let the pending operation's deadline expire, and sweep."""
        self.advance(61)
        return self.sweep()

    # --- what there is to see --------------------------------------------------------------------------------------

    def container(self, container_id: str) -> Container:
        return Container.model_validate(deserialize_item(self.dynamodb.tables["containers"].items[(container_id,)]))

    def status(self, container_id: str) -> str:
        return self.container(container_id).status.value

    def rows(self, container_id: str) -> list[dict[str, Any]]:
        """The container's history, oldest first."""
        items = self.dynamodb.tables["status-logs"].items
        return [deserialize_item(item) for key, item in sorted(items.items()) if key[0] == container_id]

    def record(self) -> dict[str, Any] | None:
        """The one Idempotency-Key's record, if there is one."""
        items = list(self.dynamodb.tables["idempotency"].items.values())
        return deserialize_item(items[0]) if items else None

    def live(self, container_id: str) -> list[SimulatedTask]:
        """The container's tasks that have not stopped."""
        return [task for task in self.ecs.tasks() if task.live and task.started_by == container_id]

    def pending(self, container_id: str) -> PendingOperation:
        """The container's pending operation."""
        operation = self.container(container_id).operation
        assert operation is not None
        return operation

    def edit(self, container_id: str, **changes: Any) -> None:
        """Change attributes of a container's item."""
        self.put(self.container(container_id).model_copy(update=changes))

    def edit_pending(self, container_id: str, **changes: Any) -> None:
        """Change attributes of the pending operation."""
        self.edit(container_id, operation=self.pending(container_id).model_copy(update=changes))

    def _put(self, table: str, item: dict[str, Any]) -> None:
        serialized = {name: TypeSerializer().serialize(value) for name, value in item.items()}
        self.dynamodb.handle("PutItem", {"TableName": table, "Item": serialized})


def with_acting_event(container: Container) -> Container:
    """The container once the handler of an event has noted that it acts for the pending operation."""
    assert container.operation is not None
    return container.model_copy(update={"operation": container.operation.model_copy(update={"event_acted": True})})
