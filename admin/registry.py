"""Puts containers into the tables: the item and the first row of its history, both or neither."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from longshore.aws.items import container_item, log_item
from longshore.domain.clock import SystemClock
from longshore.domain.history import Entry, append
from longshore.domain.ids import new_id
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime, Trigger

from admin.errors import AdminError, UnavailableError, explained
from admin.items import plain
from admin.target import Target
from admin.values import check_id, check_pattern

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import TransactWriteItemTypeDef
    from types_boto3_ecs import ECSClient

_SERVERS = {LaunchType.EC2: r"i-[0-9a-f]{8,17}", LaunchType.EXTERNAL: r"mi-[0-9a-f]{8,17}"}
_LONGEST_NAME = 255
_CONFLICT_TRIES = 5
_BATCH = 100  # what BatchGetItem takes


@dataclass(frozen=True)
class Registration:
    """A container as the operator describes it."""

    id: str
    project_id: str
    name: str
    runtime: Runtime
    server_instance_id: str | None = None

    def checked(self, target: Target) -> Registration:
        """Itself. AdminError for what the stack could never have ECS run."""
        check_id(self.id, "the id")
        check_id(self.project_id, "the project")
        if not self.name.strip() or len(self.name) > _LONGEST_NAME or not self.name.isprintable():
            raise AdminError(f"The name must have 1 to {_LONGEST_NAME} printable characters.")
        check_pattern(self.runtime.subnets, r"subnet-[0-9a-f]{8,17}", "A subnet")
        check_pattern(self.runtime.security_groups, r"sg-[0-9a-f]{8,17}", "A security group")
        if self.server_instance_id is not None:
            self._check_server(self.server_instance_id)
        definition = _task_definition(target.ecs(), self.runtime.task_definition)
        self._check_launch(definition)
        role = _role_not_passed(target, definition)
        if role is not None:
            raise AdminError(
                f"The task definition {self.runtime.task_definition} names the role {role}, which the stack"
                f" {target.name} may not pass: add it to the stack's parameter TaskRoleArns, and deploy."
            )
        return self

    def _check_server(self, server: str) -> None:
        if self.runtime.launch_type not in _SERVERS:
            raise AdminError("A Fargate task runs on no server: leave --server out.")
        check_pattern([server], _SERVERS[self.runtime.launch_type], "The server")

    def _check_launch(self, definition: Any) -> None:
        runtime, name = self.runtime, self.runtime.task_definition
        if definition["status"] != "ACTIVE":
            raise AdminError(f"The task definition {name} is {definition['status'].lower()}: name an active revision.")
        compatible = definition.get("requiresCompatibilities") or definition.get("compatibilities") or []
        if compatible and runtime.launch_type not in compatible:
            raise AdminError(
                f"The task definition {name} runs on {', '.join(compatible)} only, not on {runtime.launch_type.value}."
            )
        awsvpc = definition.get("networkMode") == "awsvpc"
        network = bool(runtime.subnets or runtime.security_groups or runtime.assign_public_ip)
        if awsvpc and not runtime.subnets:
            raise AdminError(f"The task definition {name} has network mode awsvpc: give at least one --subnet.")
        if network and not awsvpc:
            raise AdminError(
                f"The task definition {name} does not have network mode awsvpc:"
                " leave --subnet, --security-group and --assign-public-ip out."
            )
        fargate = runtime.launch_type is LaunchType.FARGATE
        if runtime.assign_public_ip and not fargate:
            raise AdminError("Only a Fargate task can be given a public address: leave --assign-public-ip out.")
        if runtime.placement_constraints and fargate:
            raise AdminError("A Fargate task cannot be placed: leave --placement-constraint out.")


def role_not_passed(target: Target, task_definition: str) -> str | None:
    """A role of the task definition that the stack may not pass, so that ECS would refuse to run it.

    None when there is none, or nothing is known: of roles that nobody asks for, or of a definition that was deleted.
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
            raise AdminError(f"There is no task definition {name}.") from None
        raise


class Registry:
    """The containers' table and that of their history, for new containers."""

    def __init__(self, dynamodb: DynamoDBClient, *, containers: str, status_logs: str) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._status_logs = status_logs

    @classmethod
    def of(cls, target: Target) -> Registry:
        return cls(target.dynamodb(), containers=target.containers, status_logs=target.status_logs)

    def register(self, wanted: Registration) -> bool:
        """Register a container as stopped. False when this very one is registered already, as after a lost reply.

        AdminError when its id is another container's.
        """
        container, entry = first_row(wanted, Status.STOPPED, {"reason": "Registered"})
        try:
            present = self.create(container, entry)
        except (ClientError, BotoCoreError) as error:
            raise UnavailableError(
                f"{explained(error)} It is not known whether the container is registered:"
                f" repeat the command with --id {wanted.id}."
            ) from None
        if present is None:
            return True
        same = Registration(present.id, present.project_id, present.name, present.runtime, present.server_instance_id)
        if same == wanted:
            return False
        raise AdminError(f"The id {wanted.id} is that of another container, {present.name}.")

    def create(self, container: Container, entry: Entry) -> Container | None:
        """Write a container and its first row, unless there is a container of its id, which is then returned."""
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
            {"Put": {"TableName": self._status_logs, "Item": log_item(entry), "ConditionExpression": first}},
        ]
        for attempt in range(_CONFLICT_TRIES):
            try:
                self._dynamodb.transact_write_items(TransactItems=items)
            except ClientError as error:
                reasons: list[Any] = error.response.get("CancellationReasons", [])
                if reasons and reasons[0].get("Code") == "ConditionalCheckFailed":
                    return Container.model_validate(plain(reasons[0]["Item"]))
                conflict = any(reason.get("Code") == "TransactionConflict" for reason in reasons)
                if not conflict or attempt == _CONFLICT_TRIES - 1:
                    raise
                time.sleep(0.05 * 2**attempt)
            else:
                return None
        raise AssertionError("unreachable")

    def known(self, container_ids: Sequence[str]) -> set[str]:
        """Those of the ids that containers have."""
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
    """A container that has had no other status, and the row that says so. `change` has further fields of a Change."""
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
    seen = Change(**{"observed_at": now, **change}, to_status=status, triggered_by=Trigger.SYSTEM, metadata=metadata)
    return append(container, seen, new_id(), now)
