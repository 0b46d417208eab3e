"""Tasks on Amazon ECS: run, stop and describe them.

RunTask is safe to repeat with the same `clientToken`: ECS returns the task that the first call started. It forgets a
token after 24 hours, or one hour after its task has ended. StopTask is idempotent. ECS is eventually consistent: it may
not show a new task for up to five minutes, and it forgets a stopped task after about an hour.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from longshore.domain.errors import ExternalServiceError
from longshore.domain.lifecycle import Platform
from longshore.domain.models import Runtime
from longshore.domain.task import Task

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

T = TypeVar("T")

# Failure reasons of RunTask, and the corresponding messages for callers.
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

# Errors after which the request may have taken effect, or may be accepted later.
_UNCERTAIN = frozenset(
    {"ServerException", "ThrottlingException", "RequestTimeout", "ServiceUnavailable", "ConflictException"}
)

_REASONS = {
    "AccessDeniedException": "Longshore is not permitted to do this on the cluster",
    "ClusterNotFoundException": "The cluster does not exist",
    "ClientException": "ECS refused the request: check the container's task definition",
    "InvalidParameterException": (
        "ECS refused the request: check the container's cluster, capacity providers, network and task definition"
    ),
    "PlatformUnknownException": "The Fargate platform version does not exist",
    "ServiceNotFoundException": "The service does not exist",
    "ServiceNotActiveException": "The service is not active",
    "ThrottlingException": "ECS is receiving too many requests",
    "ConflictException": "ECS has run a task with other parameters for the same operation",
}


class Quota(StrEnum):
    """The quotas of ECS for calls per second, per account and region."""

    ACTIONS = "actions"  # RunTask and StopTask
    FARGATE = "fargate"  # RunTask on Fargate, in addition
    READS = "reads"  # DescribeTasks and ListTasks
    SERVICE_UPDATES = "service-updates"  # UpdateService
    SERVICE_READS = "service-reads"  # DescribeServices


class Pacing(Protocol):
    """Limits the rate of the calls of sweeps and scheduled runs."""

    def wait(self, *quotas: Quota) -> None:
        """Wait until a call may be sent that counts towards these quotas."""

    def slow_down(self, *quotas: Quota) -> None:
        """Reduce the rates of these quotas, because ECS has throttled a call."""


class EcsError(ExternalServiceError):
    """ECS refused a request or did not answer.

    Attributes:
        no_effect: Whether ECS refused the request. If false, it is not known whether the request took effect.
        throttled: Whether the request exceeded a quota of ECS. ECS will accept the same request later.
        conflict: Whether the client token was used with other parameters before, so that a task of it may exist.
        invalid: Whether ECS rejected a parameter. Of several tasks in a request, a single one may be the cause.
    """

    def __init__(
        self,
        reason: str,
        *,
        no_effect: bool,
        throttled: bool = False,
        conflict: bool = False,
        invalid: bool = False,
    ) -> None:
        super().__init__(reason)
        self.no_effect = no_effect
        self.throttled = throttled
        self.conflict = conflict
        self.invalid = invalid


class PlacementError(EcsError):
    """ECS could not place the task, so no task of this client token exists."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, no_effect=True)


class Ecs:
    """Runs, stops and describes the tasks of containers.

    Args:
        client: The client. It does not retry, because retries use up the quotas, too.
        pacing: Limits the calls; None: no limit.

    Raises:
        EcsError: Every method: ECS refused the request or did not answer.
    """

    def __init__(self, client: "ECSClient", pacing: Pacing | None = None) -> None:
        self._client = client
        self._pacing = pacing

    def run(self, runtime: Runtime, server_instance_id: str | None, started_by: str, client_token: str) -> Task:
        """Run a task, or return the task that was run with the same client token before.

        Args:
            runtime: How to run the task.
            server_instance_id: The id of the instance to place the task on. None: any instance.
            started_by: The container's id, which ECS stores as the task's `startedBy`.
            client_token: Identifies the request when it is repeated.

        Raises:
            PlacementError: ECS could not place the task.
            EcsError: ECS refused the request, or it is not known whether the task was run.
        """
        constraints = [{"type": "memberOf", "expression": text} for text in runtime.placement_constraints]
        if server_instance_id is not None:
            constraints.append({"type": "memberOf", "expression": f"ec2InstanceId == '{server_instance_id}'"})
        request: dict[str, Any] = {
            "cluster": runtime.cluster,
            "taskDefinition": runtime.task_definition,
            "launchType": runtime.launch_type,
            "capacityProviderStrategy": [
                {"capacityProvider": provider.name, "weight": provider.weight, "base": provider.base}
                for provider in runtime.capacity_providers
            ],
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
        fargate = (Quota.FARGATE,) if runtime.platform is Platform.FARGATE else ()
        answer = self._call(
            lambda: self._client.run_task(**{k: v for k, v in request.items() if v}), Quota.ACTIONS, *fargate
        )
        if answer["tasks"]:
            return Task.of(answer["tasks"][0])
        failure = answer["failures"][0].get("reason", "") if answer["failures"] else ""
        raise PlacementError(_PLACEMENT.get(failure, "The task could not be placed on the cluster"))

    def stop(self, runtime: Runtime, task_arn: str, reason: str) -> Task | None:
        """Stop a task: SIGTERM, then SIGKILL after the stop timeout. Returns None when ECS does not know the task."""
        try:
            answer = self._call(
                lambda: self._client.stop_task(cluster=runtime.cluster, task=task_arn, reason=reason), Quota.ACTIONS
            )
        except EcsError as error:
            if isinstance(error.__cause__, ClientError) and _is_unknown_task(error.__cause__):
                return None
            raise
        return Task.of(answer["task"])

    def describe(self, runtime: Runtime, task_arn: str) -> Task | None:
        """Describe a task. Returns None when ECS does not show it, does not show it yet, or has forgotten it."""
        return next(iter(self.describe_many(runtime.cluster, [task_arn]).values()), None)

    def describe_many(self, cluster: str, task_arns: list[str]) -> dict[str, Task]:
        """Describe up to 100 tasks. Returns them by ARN, without those that ECS does not show."""
        answer = self._call(lambda: self._client.describe_tasks(cluster=cluster, tasks=task_arns), Quota.READS)
        return {described["taskArn"]: Task.of(described) for described in answer["tasks"]}

    def all_running(self, cluster: str) -> Iterator[list[Task]]:
        """List the cluster's tasks whose desired status is RUNNING, up to 100 at a time."""
        for arns in self._list(cluster=cluster):
            if arns:
                yield list(self.describe_many(cluster, arns).values())

    def running(self, cluster: str, after: str | None = None) -> tuple[list[str], str | None]:
        """List up to 100 of the cluster's tasks whose desired status is RUNNING.

        Args:
            cluster: The name or ARN of the cluster.
            after: The position that the previous call has returned; None to begin with the first task.

        Returns:
            The tasks' ARNs, and the position of the next page; None after the last page.
        """
        request: dict[str, Any] = {"cluster": cluster, "nextToken": after} if after else {"cluster": cluster}
        answer = self._call(partial(self._client.list_tasks, **request), Quota.READS)
        return answer["taskArns"], answer.get("nextToken")

    def started_by(self, runtime: Runtime, container_id: str) -> list[Task]:
        """Return the container's tasks that are to run, as `listed` finds them."""
        return self.described(runtime.cluster, self.listed(runtime, container_id, "RUNNING"))

    def listed(self, runtime: Runtime, container_id: str, desired: str) -> list[str]:
        """Return the ARNs of the container's tasks with a desired status.

        ECS lists new tasks late: a task that was run within the last five minutes may be missing.

        Args:
            runtime: Contains the cluster.
            container_id: The container, which is the `startedBy` of its tasks.
            desired: RUNNING or STOPPED, which includes tasks that are stopping, and those that stopped within the last
                hour.
        """
        pages = self._list(cluster=runtime.cluster, startedBy=container_id, desiredStatus=desired)
        return [arn for page in pages for arn in page]

    def described(self, cluster: str, arns: list[str]) -> list[Task]:
        """Look up any number of tasks. Returns those that ECS shows."""
        batches = [arns[start : start + 100] for start in range(0, len(arns), 100)]
        return [task for batch in batches for task in self.describe_many(cluster, batch).values()]

    def of_service(self, cluster: str, service: str) -> tuple[list[Task], int]:
        """Look up the tasks of a service that have not stopped, including those that deregister or stop.

        Returns:
            The tasks, and their number with those that ECS lists but does not describe.
        """
        arns = [
            arn
            for desired in ("RUNNING", "STOPPED")
            for page in self._list(cluster=cluster, serviceName=service, desiredStatus=desired)
            for arn in page
        ]
        tasks = self.described(cluster, arns)
        stopped = {task.arn for task in tasks if task.is_stopped}
        return [task for task in tasks if not task.is_stopped], len(set(arns) - stopped)

    def _list(self, **request: Any) -> Iterator[list[str]]:
        while True:
            answer = self._call(partial(self._client.list_tasks, **request), Quota.READS)
            yield answer["taskArns"]
            if not answer.get("nextToken"):
                return
            request["nextToken"] = answer["nextToken"]

    def host(self, runtime: Runtime, container_instance_arn: str) -> str | None:
        """Return the EC2 or managed instance id of a container instance. None when ECS does not know the instance."""
        answer = self._call(
            lambda: self._client.describe_container_instances(
                cluster=runtime.cluster, containerInstances=[container_instance_arn]
            )
        )
        instances = answer["containerInstances"]
        return instances[0].get("ec2InstanceId") if instances else None

    def _call(self, call: Callable[[], T], *quotas: Quota) -> T:
        if self._pacing is not None:
            self._pacing.wait(*quotas)
        try:
            return call()
        except ClientError as error:
            failure = ecs_error(error)
            if self._pacing is not None and failure.throttled:
                self._pacing.slow_down(*quotas)
            raise failure from error
        except BotoCoreError as error:
            raise EcsError("ECS did not answer", no_effect=False) from error


def ecs_error(error: ClientError) -> EcsError:
    """Convert an error of the ECS API."""
    code = error.response["Error"]["Code"]
    answer = error.response["ResponseMetadata"]
    # If botocore has retried, a refusal of the last try proves nothing about the tries before it.
    no_effect = answer["HTTPStatusCode"] < 500 and code not in _UNCERTAIN and not answer.get("RetryAttempts")
    return EcsError(
        _REASONS.get(code, "ECS returned an error"),
        no_effect=no_effect,
        throttled=code == "ThrottlingException",
        conflict=code == "ConflictException",
        invalid=code == "InvalidParameterException",
    )


def _is_unknown_task(error: ClientError) -> bool:
    # ECS has no error code of its own for this.
    details = error.response["Error"]
    return details["Code"] == "InvalidParameterException" and "task was not found" in details.get("Message", "")
