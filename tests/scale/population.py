"""The containers of a model, with their histories and tasks."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer
from longshore.aws.items import container_item, log_item
from longshore.domain.history import append
from longshore.domain.ledger import KnownTask, ledger_of
from longshore.domain.lifecycle import LaunchType, Operation, Status, Step
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import PendingOperation, Trigger

if TYPE_CHECKING:
    from scale.model import Model

CLUSTER = "default"
HOST = "i-0a1b2c3d4e5f60718"
PROJECT = "507f1f77bcf86cd799439033"
USER = "ann"
_FAMILY = "web"


class Population:
    """Adds containers to a model.

    Args:
        model: The model.
        fargate: Whether the containers run on Fargate.
    """

    def __init__(self, model: "Model", *, fargate: bool = False) -> None:
        self._model = model
        self._fargate = fargate
        definition = {"name": "app", "image": "busybox", "memory": 128}
        model.catalog.add_task_definition(
            _FAMILY,
            [definition],
            network_mode="awsvpc" if fargate else "bridge",
            compatibilities=("FARGATE",) if fargate else ("EC2",),
        )
        self._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "operator"})

    def add(self, number: int, *, running: bool, has_task: bool = True) -> Container:
        """Add a container that has been stopped or running for ten minutes, and its task if it is running."""
        identity = f"{number:024x}"
        at = self._now() - timedelta(minutes=10)
        container = Container(
            id=identity,
            project_id=PROJECT,
            name=f"demo-{number}",
            status=Status.STOPPED,
            status_since=at,
            runtime=Runtime(
                cluster=CLUSTER,
                task_definition=_FAMILY,
                launch_type=LaunchType.FARGATE if self._fargate else LaunchType.EC2,
                subnets=["subnet-0a1b2c3d"] if self._fargate else [],
            ),
            created_at=at,
            updated_at=at,
        )
        change = Change(to_status=Status.STOPPED, observed_at=at, triggered_by=Trigger.SYSTEM)
        if running:
            task = self._model.ecs.adopt_running(CLUSTER, _FAMILY, identity)
            self._model.ecs.drain_events()
            change = change._replace(to_status=Status.RUNNING, tasks=ledger_of(task.arn, task.version))
            if not has_task:
                self._model.ecs.forget(task.arn)
        container, entry = append(container, change, f"f{number:023x}", at)
        self._put_row(log_item(entry))
        self.put(container)
        return container

    def overdue(self, container: Container, number: int) -> None:
        """Give a stopped container a pending start that no driver continues, and whose deadline has passed."""
        at = self._now() - timedelta(minutes=5)
        pending = PendingOperation(
            id=f"e{number:023x}",
            operation=Operation.START,
            step=Step.START,
            started_at=at,
            since=at,
            deadline=at + timedelta(seconds=60),
            triggered_by=Trigger.USER,
            actor=USER,
            request_id=f"request-{number}",
        )
        tasks = {pending.token: KnownTask(called_from=at)}
        self.put(container.model_copy(update={"operation": pending, "requested_at": at, "tasks": tasks}))

    def damage(self, container: Container) -> None:
        """Make the item of a container unreadable."""
        item = container_item(container) | {"status": {"S": "hibernating"}}
        self._model.dynamodb.tables["containers"].items[(container.id,)] = item

    def put(self, container: Container) -> None:
        # Written past `DynamoDb.handle`, which copies the whole table for each write.
        self._model.dynamodb.tables["containers"].items[(container.id,)] = container_item(container)

    def rows(self, container_id: str) -> int:
        """Return the number of rows of a container."""
        items = self._model.dynamodb.tables["status-logs"].items
        return sum(key[0] == container_id for key in items)

    def statuses(self) -> dict[str, str]:
        """Return the status of each container by its id."""
        items = self._model.dynamodb.tables["containers"].items
        return {str(key[0]): str(item["status"]["S"]) for key, item in items.items()}

    def _put_row(self, item: dict[str, Any]) -> None:
        self._model.dynamodb.handle("PutItem", {"TableName": "status-logs", "Item": item})

    def _put(self, table: str, item: dict[str, Any]) -> None:
        serialized = {name: TypeSerializer().serialize(value) for name, value in item.items()}
        self._model.dynamodb.handle("PutItem", {"TableName": table, "Item": serialized})

    def _now(self) -> datetime:
        return self._model.scheduler.now
