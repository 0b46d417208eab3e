"""Tasks on Amazon ECS: run, stop and look at them.

RunTask is safe to repeat: its `clientToken` is the operation's id, and within a day ECS answers a repeat with the task
that the first one started. StopTask is so by itself. ECS is eventually consistent: a task that was just started may be
unknown for a moment, and a stopped one is forgotten after an hour.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from longshore.domain.errors import ExternalServiceError
from longshore.domain.models import Runtime
from longshore.domain.task import Task

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

T = TypeVar("T")

# ECS's words for why it could not place a task, in plain ones.
_PLACEMENT = {
    "RESOURCE:CPU": "No instance of the cluster has enough CPU left",
    "RESOURCE:MEMORY": "No instance of the cluster has enough memory left",
    "RESOURCE:PORTS": "No instance of the cluster has the task's ports free",
    "RESOURCE:PORTS_TCP": "No instance of the cluster has the task's ports free",
    "RESOURCE:PORTS_UDP": "No instance of the cluster has the task's ports free",
    "RESOURCE:ENI": "No instance of the cluster has a network interface left",
    "RESOURCE:GPU": "No instance of the cluster has enough GPUs left",
    "AGENT": "The agent of the instance is not connected",
    "ATTRIBUTE": "No instance of the cluster has the attributes that the task needs",
    "MEMBEROF": "No instance of the cluster satisfies the placement constraint",
    "LOCATION": "No instance of the cluster is in the right availability zone",
    "CAPACITY": "There is no capacity for the task",
    "INACTIVE": "The instance is not active",
}

# The request may have taken effect, or will be let through later.
_UNCERTAIN = frozenset(
    {"ServerException", "ThrottlingException", "RequestTimeout", "ServiceUnavailable", "ConflictException"}
)

_REASONS = {
    "AccessDeniedException": "Longshore is not permitted to do this on the cluster",
    "ClusterNotFoundException": "The cluster does not exist",
    "ClientException": "ECS refused the request: check the container's task definition",
    "InvalidParameterException": "ECS refused the request: check the container's cluster, network and task definition",
    "PlatformUnknownException": "The Fargate platform version does not exist",
    "ThrottlingException": "ECS is receiving too many requests",
    "ConflictException": "ECS has run a task with other parameters for the same operation",
}


class EcsError(ExternalServiceError):
    """ECS failed after retries.

    Attributes:
        no_effect: ECS refused the request. Otherwise it is not known whether the request took effect.
        throttled: The request exceeded ECS's quotas; the same request is accepted later.
        conflict: The client token was used before with other parameters, so a task of it may exist.
    """

    def __init__(self, reason: str, *, no_effect: bool, throttled: bool = False, conflict: bool = False) -> None:
        super().__init__(reason)
        self.no_effect = no_effect
        self.throttled = throttled
        self.conflict = conflict


class PlacementError(EcsError):
    """ECS could not place the task: no task of this client token exists."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, no_effect=True)


class Ecs:
    """The tasks of containers. Every method raises `EcsError`."""

    def __init__(self, client: "ECSClient") -> None:
        self._client = client

    def run(self, runtime: Runtime, server_instance_id: str | None, started_by: str, client_token: str) -> Task:
        """Run a task, or with a token that was used before get the task that it ran.

        Raises PlacementError too.
        """
        constraints = [{"type": "memberOf", "expression": text} for text in runtime.placement_constraints]
        if server_instance_id is not None:
            constraints.append({"type": "memberOf", "expression": f"ec2InstanceId == '{server_instance_id}'"})
        request: dict[str, Any] = {
            "cluster": runtime.cluster,
            "taskDefinition": runtime.task_definition,
            "launchType": runtime.launch_type.value,
            "startedBy": started_by,
            "clientToken": client_token,
            "placementConstraints": constraints,
            "platformVersion": runtime.platform_version,
        }
        if runtime.subnets:
            request["networkConfiguration"] = {
                "awsvpcConfiguration": {
                    "subnets": runtime.subnets,
                    "securityGroups": runtime.security_groups,
                    "assignPublicIp": "ENABLED" if runtime.assign_public_ip else "DISABLED",
                }
            }
        answer = self._call(lambda: self._client.run_task(**{k: v for k, v in request.items() if v}))
        if answer["tasks"]:
            return Task.of(answer["tasks"][0])
        failure = answer["failures"][0].get("reason", "") if answer["failures"] else ""
        raise PlacementError(_PLACEMENT.get(failure, "The task could not be placed on the cluster"))

    def stop(self, runtime: Runtime, task_arn: str, reason: str) -> Task | None:
        """Ask a task to stop: SIGTERM, and after its grace SIGKILL. None when ECS does not know it."""
        try:
            answer = self._client.stop_task(cluster=runtime.cluster, task=task_arn, reason=reason)
        except ClientError as error:
            if _is_unknown_task(error):
                return None
            raise _ecs_error(error) from error
        except BotoCoreError as error:
            raise EcsError("ECS did not answer", no_effect=False) from error
        return Task.of(answer["task"])

    def describe(self, runtime: Runtime, task_arn: str) -> Task | None:
        """The task as ECS knows it now. None when it does not (or not yet, or no longer)."""
        answer = self._call(lambda: self._client.describe_tasks(cluster=runtime.cluster, tasks=[task_arn]))
        return Task.of(answer["tasks"][0]) if answer["tasks"] else None

    def describe_many(self, cluster: str, task_arns: list[str]) -> dict[str, Task]:
        """Up to 100 tasks by their ARNs, without those that ECS does not know."""
        answer = self._call(lambda: self._client.describe_tasks(cluster=cluster, tasks=task_arns))
        return {described["taskArn"]: Task.of(described) for described in answer["tasks"]}

    def all_running(self, cluster: str) -> Iterator[list[Task]]:
        """The cluster's tasks that are not stopping, a hundred at a time."""
        for arns in self._list(cluster=cluster):
            if arns:
                yield list(self.describe_many(cluster, arns).values())

    def started_by(
        self, runtime: Runtime, container_id: str, desired: Sequence[str] = ("RUNNING", "STOPPED")
    ) -> tuple[list[Task], bool]:
        """List the container's tasks.

        ECS lists tasks late: a task that was run within the last five minutes may be missing.

        Args:
            runtime: Names the cluster.
            container_id: The container, which its tasks have as `startedBy`.
            desired: The tasks' desired statuses; STOPPED are those that are stopping, or stopped within the last hour.

        Returns:
            The tasks, and whether ECS has described each that it lists.
        """
        arns = [
            arn
            for status in desired
            for page in self._list(cluster=runtime.cluster, startedBy=container_id, desiredStatus=status)
            for arn in page
        ]
        batches = [arns[start : start + 100] for start in range(0, len(arns), 100)]
        tasks = [task for batch in batches for task in self.describe_many(runtime.cluster, batch).values()]
        return tasks, len(tasks) == len(set(arns))

    def _list(self, **request: Any) -> Iterator[list[str]]:
        while True:
            answer = self._call(partial(self._client.list_tasks, **request))
            yield answer["taskArns"]
            if not answer.get("nextToken"):
                return
            request["nextToken"] = answer["nextToken"]

    def host(self, runtime: Runtime, container_instance_arn: str) -> str | None:
        """The id of the EC2 or managed instance that a container instance is. None when ECS does not know it."""
        answer = self._call(
            lambda: self._client.describe_container_instances(
                cluster=runtime.cluster, containerInstances=[container_instance_arn]
            )
        )
        instances = answer["containerInstances"]
        return instances[0].get("ec2InstanceId") if instances else None

    def _call(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except ClientError as error:
            raise _ecs_error(error) from error
        except BotoCoreError as error:
            raise EcsError("ECS did not answer", no_effect=False) from error


def _ecs_error(error: ClientError) -> EcsError:
    code = error.response["Error"]["Code"]
    answer = error.response["ResponseMetadata"]
    # A refusal of a repeat says nothing of the attempt before it.
    no_effect = answer["HTTPStatusCode"] < 500 and code not in _UNCERTAIN and not answer.get("RetryAttempts")
    return EcsError(
        _REASONS.get(code, "ECS returned an error"),
        no_effect=no_effect,
        throttled=code == "ThrottlingException",
        conflict=code == "ConflictException",
    )


def _is_unknown_task(error: ClientError) -> bool:
    # ECS has no code of its own for it.
    details = error.response["Error"]
    return details["Code"] == "InvalidParameterException" and "task was not found" in details.get("Message", "")
