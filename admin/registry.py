"""Registration of containers: writes the item and the first history row in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from longshore.aws.items import container_item, container_of, log_item
from longshore.domain.clock import SystemClock
from longshore.domain.facts import facts_of
from longshore.domain.history import Entry, append
from longshore.domain.ids import new_id
from longshore.domain.lifecycle import LaunchType, Platform, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger

from admin.errors import AdminError, UnavailableError, explained
from admin.items import plain
from admin.target import Target
from admin.values import check_id, check_pattern

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import TransactWriteItemTypeDef
    from types_boto3_ecs import ECSClient

_INSTANCE = r"i-[0-9a-f]{8,17}"
_EXTERNAL_INSTANCE = r"mi-[0-9a-f]{8,17}"
_COMPATIBILITIES = {Platform.HOST: "EC2", Platform.FARGATE: "FARGATE", Platform.MANAGED: "MANAGED_INSTANCES"}
_CONFLICT_TRIES = 5
_BATCH = 100  # the maximum of BatchGetItem


@dataclass(frozen=True)
class Registration:
    """A container as specified by the operator."""

    id: str
    project_id: str
    name: str
    runtime: Runtime
    server_instance_id: str | None = None

    def checked(self, target: Target, *, is_server_new: bool = True) -> Registration:
        """Return itself if ECS can run it for the stack.

        Args:
            target: The stack.
            is_server_new: Whether to check that the server belongs to the cluster.

        Raises:
            AdminError: A value is invalid, or ECS would reject every start of the container.
            botocore.exceptions.ClientError: ECS failed or denied access.
            botocore.exceptions.BotoCoreError: ECS did not respond.
        """
        check_id(self.id, "the id")
        check_id(self.project_id, "the project")
        check_pattern(self.runtime.subnets, r"subnet-[0-9a-f]{8,17}", "A subnet")
        check_pattern(self.runtime.security_groups, r"sg-[0-9a-f]{8,17}", "A security group")
        if self.server_instance_id is not None:
            self._check_server(self.server_instance_id)
            if is_server_new:
                self._check_in_cluster(target.ecs(), self.server_instance_id)
        definition = _task_definition(target.ecs(), self.runtime.task_definition)
        self._check_launch(definition)
        role = _role_not_passed(target, definition)
        if role is not None:
            raise AdminError(
                f"The task definition {self.runtime.task_definition} has the role {role}, which the stack"
                f" {target.name} may not pass: add it to the stack's parameter TaskRoleArns and deploy."
            )
        return self

    def _check_server(self, server: str) -> None:
        if self.runtime.platform is not Platform.HOST:
            task = "A Fargate task" if self.runtime.platform is Platform.FARGATE else "A task on ECS Managed Instances"
            raise AdminError(f"{task} cannot be bound to a server: omit --server.")
        external = self.runtime.launch_type is LaunchType.EXTERNAL
        check_pattern([server], _EXTERNAL_INSTANCE if external else _INSTANCE, "The server")

    def _check_in_cluster(self, ecs: ECSClient, server: str) -> None:
        found = ecs.list_container_instances(cluster=self.runtime.cluster, filter=f"ec2InstanceId == '{server}'")
        if not found["containerInstanceArns"]:
            raise AdminError(f"The server {server} is not an instance of the cluster {self.runtime.cluster}.")

    def _check_launch(self, definition: Any) -> None:
        runtime, name = self.runtime, self.runtime.task_definition
        if definition["status"] != "ACTIVE":
            status = definition["status"].lower()
            raise AdminError(f"The task definition {name} is {status}: specify an active revision.")
        compatible = definition.get("requiresCompatibilities") or definition.get("compatibilities") or []
        needed = runtime.launch_type.value if runtime.launch_type else _COMPATIBILITIES[runtime.platform]
        if compatible and needed not in compatible:
            raise AdminError(f"The task definition {name} supports {', '.join(compatible)}, not {needed}.")
        awsvpc = definition.get("networkMode") == "awsvpc"
        network = bool(runtime.subnets or runtime.security_groups or runtime.assign_public_ip)
        if awsvpc and not runtime.subnets:
            raise AdminError(f"The task definition {name} has network mode awsvpc: specify at least one --subnet.")
        if network and not awsvpc:
            raise AdminError(
                f"The task definition {name} does not have network mode awsvpc:"
                " omit --subnet, --security-group and --assign-public-ip."
            )
        fargate = runtime.platform is Platform.FARGATE
        if runtime.assign_public_ip and not fargate:
            raise AdminError("Only a Fargate task can be assigned a public IP address: omit --assign-public-ip.")
        if runtime.placement_constraints and fargate:
            raise AdminError("A Fargate task cannot have placement constraints: omit --placement-constraint.")


def role_not_passed(target: Target, task_definition: str) -> str | None:
    """Return a role of the task definition that the stack may not pass, so that RunTask would fail.

    Returns:
        The ARN of the role, or None if there is no such role, the stack does not restrict roles, or the task definition
        no longer exists.
    """
    if target.roles is None:
        return None
    try:
        definition = _task_definition(target.ecs(), task_definition)
    except AdminError:
        return None
    return _role_not_passed(target, definition)


def _role_not_passed(target: Target, definition: Any) -> str | None:
    roles: list[str] = [definition[name] for name in ("taskRoleArn", "executionRoleArn") if definition.get(name)]
    return next((role for role in roles if not target.may_pass(role)), None)


def _task_definition(ecs: ECSClient, name: str) -> Any:
    try:
        return ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ClientException":
            raise AdminError(f"The task definition {name} does not exist.") from None
        raise


class Registry:
    """Writes new containers to the containers table and the history table."""

    def __init__(self, dynamodb: DynamoDBClient, *, containers: str, status_logs: str, retention: int) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._status_logs = status_logs
        self._retention = retention

    @classmethod
    def of(cls, target: Target) -> Registry:
        """Create the registry for a stack."""
        return cls(
            target.dynamodb(),
            containers=target.containers,
            status_logs=target.status_logs,
            retention=target.history_retention,
        )

    def register(self, wanted: Registration) -> bool:
        """Register a container as stopped.

        Returns:
            False if the same container is already registered, for example after a lost response.

        Raises:
            AdminError: The id belongs to another container.
            UnavailableError: DynamoDB failed. The container may or may not be registered.
        """
        container, entry = first_row(wanted, Status.STOPPED, {"reason": "Registered"})
        if not self.known([wanted.id]) and self.has_rows(wanted.id):
            raise AdminError(f"The id {wanted.id} belongs to a container that was unregistered: choose another id.")
        try:
            present = self.create(container, entry)
        except (ClientError, BotoCoreError) as error:
            raise UnavailableError(
                f"{explained(error)} The container may or may not be registered:"
                f" repeat the command with --id {wanted.id}."
            ) from None
        if present is None:
            return True
        same = Registration(present.id, present.project_id, present.name, present.runtime, present.server_instance_id)
        if same == wanted:
            return False
        raise AdminError(f"The id {wanted.id} belongs to another container, {present.name}.")

    def create(self, container: Container, entry: Entry) -> Container | None:
        """Write a container and its first row. If a container with its id exists, return that and write nothing.

        Raises:
            botocore.exceptions.ClientError: DynamoDB failed or denied access.
            botocore.exceptions.BotoCoreError: DynamoDB did not respond.
        """
        container = container.model_copy(update={"history_retention": self._retention or None})
        row = log_item(entry, self._retention)
        new = "attribute_not_exists(id)"
        first = "attribute_not_exists(container_id)"
        items: list[TransactWriteItemTypeDef] = [
            {
                "Put": {
                    "TableName": self._containers,
                    "Item": container_item(container),
                    "ConditionExpression": new,
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            },
            {"Put": {"TableName": self._status_logs, "Item": row, "ConditionExpression": first}},
        ]
        for attempt in range(_CONFLICT_TRIES):
            try:
                self._dynamodb.transact_write_items(TransactItems=items)
            except ClientError as error:
                reasons: list[Any] = error.response.get("CancellationReasons", [])
                if reasons and reasons[0].get("Code") == "ConditionalCheckFailed":
                    return container_of(plain(reasons[0]["Item"]))
                conflict = any(reason.get("Code") == "TransactionConflict" for reason in reasons)
                if not conflict or attempt == _CONFLICT_TRIES - 1:
                    raise
                time.sleep(0.05 * 2**attempt)
            else:
                return None
        raise AssertionError("unreachable")

    def named(self, project_id: str, name: str) -> set[str]:
        """Return the ids of the project's containers with a name, from an index that may lag by about a second."""
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=self._containers,
            IndexName="by-project",
            KeyConditionExpression="project_id = :project AND #name = :name",
            ExpressionAttributeNames={"#name": "name"},
            ExpressionAttributeValues={":project": {"S": project_id}, ":name": {"S": name}},
            ProjectionExpression="id",
        )
        return {item["id"]["S"] for page in pages for item in page["Items"]}

    def has_rows(self, container_id: str) -> bool:
        """Return whether the history of a container has rows. They stay when the container is unregistered."""
        answer = self._dynamodb.query(
            TableName=self._status_logs,
            KeyConditionExpression="container_id = :id",
            ExpressionAttributeValues={":id": {"S": container_id}},
            Limit=1,
            ConsistentRead=True,
        )
        return bool(answer["Items"])

    def known(self, container_ids: Sequence[str]) -> set[str]:
        """Return the ids that belong to existing containers."""
        found: set[str] = set()
        ids = list(dict.fromkeys(container_ids))
        for start in range(0, len(ids), _BATCH):
            wanted: Any = {
                self._containers: {
                    "Keys": [{"id": {"S": each}} for each in ids[start : start + _BATCH]],
                    "ProjectionExpression": "id",
                    "ConsistentRead": True,
                }
            }
            while wanted:
                answer = self._dynamodb.batch_get_item(RequestItems=wanted)
                found |= {item["id"]["S"] for item in answer["Responses"].get(self._containers, [])}
                wanted = answer.get("UnprocessedKeys")
        return found


def first_row(wanted: Registration, status: Status, metadata: dict[str, Any], **change: Any) -> tuple[Container, Entry]:
    """Return a new container and its first row.

    Args:
        wanted: The container to create.
        status: Its first status.
        metadata: The metadata of the row.
        change: Further fields of the row's Change, such as the attributes of the container.
    """
    now = SystemClock().now()
    container = Container(
        id=wanted.id,
        project_id=wanted.project_id,
        name=wanted.name,
        server_instance_id=wanted.server_instance_id,
        status=status,
        status_since=now,
        runtime=wanted.runtime,
        created_at=now,
        updated_at=now,
    )
    requested, observed = facts_of(metadata)
    seen = Change(
        **{"observed_at": now, **change},
        to_status=status,
        triggered_by=Trigger.SYSTEM,
        requested=requested,
        observed=observed,
    )
    return append(container, seen, new_id(), now)
