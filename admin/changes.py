"""Changes of registered containers: name, project, task definition and placement, and their removal.

A container's project and runtime belong to the snapshots that operations, events and sweeps work from. These changes
therefore require that no operation is pending, and raise the generation: a worker that has read the container before
can then neither claim an operation nor commit, and reads the container again.

    worker    read ------------------ claim: refused, reads again, and finds the new project
    operator        read -- move

Operations neither read nor write the name, so it can be changed at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from longshore.aws.attributes import serialize_item
from longshore.aws.details import ContainerDetails
from longshore.aws.ecs import Ecs
from longshore.aws.items import container_item
from longshore.aws.writes import as_read
from longshore.domain.clock import SystemClock, to_text
from longshore.domain.ledger import arns
from longshore.domain.lifecycle import Kind, LaunchType, Status
from longshore.domain.models import Container
from longshore.domain.runtime import CapacityProvider, Runtime

from admin.checks import container_of
from admin.errors import AdminError, UnavailableError, explained
from admin.items import plain
from admin.registry import Registration
from admin.target import Target
from admin.values import check_id, check_name

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_TRIES = 5
_PAUSE = 0.05  # seconds; doubled after each try

Values = dict[str, Any]


@dataclass(frozen=True)
class RuntimeChange:
    """New values of a container's runtime and placement. None: unchanged; an empty list or server: none."""

    task_definition: str | None = None
    launch_type: LaunchType | None = None
    capacity_providers: list[CapacityProvider] | None = None
    managed_instances: bool | None = None
    subnets: list[str] | None = None
    security_groups: list[str] | None = None
    assign_public_ip: bool | None = None
    placement_constraints: list[str] | None = None
    server: str | None = None

    def of(self, container: Container) -> tuple[Runtime, str | None]:
        """Return the container's runtime and server after the change."""
        values = {name: value for name, value in vars(self).items() if name != "server" and value is not None}
        if self.capacity_providers:
            values["launch_type"] = None
        server = container.server_instance_id if self.server is None else self.server or None
        return container.runtime.model_copy(update=values), server


class Changes:
    """Changes containers. Each change is one conditional write, and can be repeated.

    Every method raises AdminError if the container does not exist or the change is refused, and UnavailableError if
    DynamoDB failed or the container kept changing.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._dynamodb: DynamoDBClient = target.dynamodb()
        self._table = target.containers
        self._clock = SystemClock()
        self._details = ContainerDetails(self._dynamodb, self._table, self._clock)

    def rename(self, container_id: str, name: str) -> Container:
        """Set the name of a container, whatever its status, and return the container as it was."""
        check_name(name)
        for _ in range(_TRIES):
            container = self.existing(container_id)
            written = self._details.write(container, {"name": name})
            if isinstance(written, Container):
                return container
        raise _busy(container_id)

    def move(self, container_id: str, project_id: str) -> Container:
        """Move a container to another project, and return the container as it was. Its rows keep their project."""
        check_id(project_id, "the project")

        def values(container: Container) -> Values:
            if container.project_id == project_id:
                return {}
            live = {"live_project_id": project_id} if container.is_live else {}
            return {"project_id": project_id} | live

        return self._change(container_id, values)

    def change_runtime(self, container_id: str, wanted: RuntimeChange) -> Container:
        """Change how a container is run from its next start on, and return the container as it was.

        ECS and the stack must be able to run the result, as for `register`.
        """

        def values(container: Container) -> Values:
            runtime, server = wanted.of(container)
            if (runtime, server) == (container.runtime, container.server_instance_id):
                return {}
            if container.kind is Kind.SERVICE:
                raise AdminError(f"The container {container.id} stands for a service: change the service in ECS.")
            self._check_changeable(container, runtime, server)
            registration = Registration(container.id, container.project_id, container.name, runtime, server)
            registration.checked(self._target, is_server_new=server != container.server_instance_id)
            after = container.model_copy(update={"runtime": runtime, "server_instance_id": server})
            plain_values = plain(container_item(after))
            return {name: plain_values.get(name) for name in ("runtime", "server_instance_id")}

        return self._change(container_id, values)

    def unregister(self, container_id: str) -> Container | None:
        """Delete a container that has no task, or stands for a service whose scaling is not suspended.

        Its history rows stay.

        Returns:
            The container as it was; None if another process has deleted it in the meantime.
        """
        for attempt in range(_TRIES):
            container = self._read(container_id) if attempt else self.existing(container_id)
            if container is None:
                return None
            self._check_idle(container, "unregistered")
            self._check_has_no_task(container)
            if self._write(self._dynamodb.delete_item, container, {}):
                return container
            time.sleep(_PAUSE * 2**attempt)
        raise _busy(container_id)

    def existing(self, container_id: str) -> Container:
        """Return a container. Raise AdminError if it does not exist or cannot be read."""
        container = self._read(check_id(container_id, "the id"))
        if container is None:
            raise AdminError(f"The container {container_id} does not exist.")
        return container

    # --- checks ----------------------------------------------------------------------------------------------------

    @staticmethod
    def _check_idle(container: Container, done: str) -> None:
        pending = container.operation
        if pending is not None:
            since = f"{pending.started_at:%Y-%m-%d %H:%M:%S} UTC"
            raise AdminError(
                f"The container {container.id} was not {done}, because the operation {pending.operation.value} is"
                f" pending since {since}: repeat the command when it has ended."
            )

    def _check_changeable(self, container: Container, runtime: Runtime, server: str | None) -> None:
        if container.status is Status.EXPIRED:
            raise AdminError(f"The container {container.id} has expired, and can never be started: register another.")
        # Pause and kill find the host of the present task by these, and the end of the server expires the container.
        before = container.runtime
        bound = (before.launch_type, before.capacity_providers, container.server_instance_id) != (
            runtime.launch_type,
            runtime.capacity_providers,
            server,
        )
        if bound and container.status is not Status.STOPPED:
            how = "force-stop" if container.status is Status.FAILED else "stop"
            raise AdminError(
                "The launch type, the capacity providers and the server can be changed only while the container is"
                f" stopped. It is {container.status.value}: {how} it first."
            )

    def _check_has_no_task(self, container: Container) -> None:
        if container.kind is Kind.SERVICE:
            if container.scaling is not None:
                raise AdminError(
                    f"The scaling of the service of {container.id} is suspended: start the container first."
                )
            return
        if container.is_live:
            raise AdminError(f"The container {container.id} is {container.status.value}: stop it first.")
        ecs = Ecs(self._target.ecs())
        tasks = ecs.started_by(container.runtime, container.id)
        known = arns(container.tasks)
        shown = ecs.describe_many(container.runtime.cluster, known) if known else {}
        live = [task for task in (*tasks, *shown.values()) if not task.is_stopped]
        if live:
            raise AdminError(
                f"The task {live[0].id} of the container {container.id} still runs: force-stop the container first, or"
                " stop the task."
            )
        if container.tasks:
            raise AdminError(
                f"A task of the container {container.id} may still be alive, and ECS does not show it: force-stop the"
                " container first, or wait."
            )

    # --- reads and writes ------------------------------------------------------------------------------------------

    def _change(self, container_id: str, values_of: Callable[[Container], Values]) -> Container:
        """Write values under the condition that the container is as read. No values: it is already as wanted."""
        for attempt in range(_TRIES):
            container = self.existing(container_id)
            # After a lost reply, the container is found as wanted, possibly with a new operation.
            values = values_of(container)
            if not values:
                return container
            self._check_idle(container, "changed")
            if self._write(self._dynamodb.update_item, container, values):
                return container
            time.sleep(_PAUSE * 2**attempt)
        raise _busy(container_id)

    def _write(self, send: Callable[..., Any], container: Container, values: Values) -> bool:
        """Send a write that requires the container as read. Return whether it was accepted."""
        condition = as_read(container, None)
        used = ["generation", "log_count", "operation"]
        request: dict[str, Any] = {}
        given = dict[str, Any]()
        if values:
            values |= {"generation": container.generation + 1, "updated_at": to_text(self._clock.now())}
            kept = {name: value for name, value in values.items() if value is not None}
            removed = [f"#{name}" for name in values if name not in kept]
            request["UpdateExpression"] = "SET " + ", ".join(f"#{name} = :{name}" for name in kept)
            request["UpdateExpression"] += " REMOVE " + ", ".join(removed) if removed else ""
            given = serialize_item({f":{name}": value for name, value in kept.items()})
        try:
            send(
                TableName=self._table,
                Key={"id": {"S": container.id}},
                ConditionExpression=condition.expression,
                ExpressionAttributeNames={f"#{name}": name for name in {*used, *values}},
                ExpressionAttributeValues=given | condition.values,
                **request,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in ("ConditionalCheckFailedException", "TransactionConflictException"):
                return False
            raise _unknown(error) from None
        except BotoCoreError as error:
            raise _unknown(error) from None
        return True

    def _read(self, container_id: str) -> Container | None:
        answer = self._dynamodb.get_item(TableName=self._table, Key={"id": {"S": container_id}}, ConsistentRead=True)
        if "Item" not in answer:
            return None
        container = container_of(plain(answer["Item"]))
        if not isinstance(container, Container):
            raise AdminError(f"The container {container_id} cannot be read: {container.message}.")
        return container


def _busy(container_id: str) -> AdminError:
    return UnavailableError(f"The container {container_id} kept changing, and was not changed: repeat the command.")


def _unknown(error: ClientError | BotoCoreError) -> AdminError:
    return UnavailableError(f"{explained(error)} The container may or may not have been changed: repeat the command.")
