"""The simulated operations of the ECS API."""

import re
from datetime import datetime
from typing import Any

from local.emulator.ecs import providers
from local.emulator.ecs.catalog import REGION, Cluster, TaskDefinition
from local.emulator.ecs.placement import Placement, satisfies
from local.emulator.ecs.tasks import SimulatedTask
from local.emulator.ecs.tokens import TOKEN_LIFETIME, Token, fingerprint
from local.emulator.errors import AwsError

MAX_DESCRIBED = 100
MAX_COUNT = 10


class TaskApi(Placement):
    """RunTask, StopTask, DescribeTasks, ListTasks, ListContainerInstances and DescribeCapacityProviders."""

    OPERATIONS = frozenset(
        {"RunTask", "StopTask", "DescribeTasks", "ListTasks", "ListContainerInstances", "DescribeCapacityProviders"}
    )

    def handle(self, operation: str, parameters: dict[str, Any], region: str = REGION) -> dict[str, Any]:
        """Perform one of OPERATIONS. Parameters and result are those of the ECS API. Raises AwsError."""
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
                case "DescribeCapacityProviders":
                    names = [_last(str(name)) for name in parameters.get("capacityProviders") or []]
                    return providers.described(names, self._types(region), f"arn:aws:ecs:{region}:{self._account}")
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
        launch_type, provider = launch_type_of(parameters, definition, self._types(region))
        tasks: list[SimulatedTask] = []
        failures: list[dict[str, str]] = []
        for _ in range(count):
            instance, refusals = None, list[dict[str, str]]()
            if launch_type in ("EC2", "EXTERNAL"):
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
            self._tokens[(cluster.arn, str(token))] = Token(
                now, fingerprint(parameters), [task.arn for task in tasks], failures
            )
        return {"tasks": [task.to_api(include_tags=True) for task in tasks], "failures": failures}

    def _types(self, region: str) -> dict[str, str]:
        """Return the types of all capacity providers by name."""
        return providers.FARGATE | self._catalog.capacity_providers(region)

    def _repeat(self, cluster: Cluster, token: str, parameters: dict[str, Any], now: datetime) -> dict[str, Any] | None:
        """Return the response for a clientToken that was used before, or None if it is new or has expired.

        Source: "Ensuring idempotency" in the ECS API reference. A token expires after 24 hours, or one hour after its
        last task has stopped, whichever is sooner. Placement failures are repeated as well.
        """
        known = self._tokens.get((cluster.arn, token))
        if known is None:
            return None
        remembered = [self._tasks[arn] for arn in known.task_arns if arn in self._tasks]
        if now - known.used_at >= TOKEN_LIFETIME or (known.task_arns and not remembered):
            del self._tokens[(cluster.arn, token)]
            return None
        if known.fingerprint != fingerprint(parameters):
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
        instance, service = parameters.get("containerInstance"), parameters.get("serviceName")
        if started_by is not None and (family or instance or service):
            raise AwsError("InvalidParameterException", "startedBy must be the only filter.")
        desired = parameters.get("desiredStatus", "RUNNING")
        arns = [
            task.arn
            for task in self._tasks.values()
            if task.cluster == cluster
            and task.desired_status == desired
            and (started_by is None or task.started_by == started_by)
            and (family is None or task.definition.family == family)
            and (service is None or task.group == f"service:{_last(str(service))}")
            and parameters.get("launchType", task.launch_type) == task.launch_type
            and (instance is None or (task.instance is not None and _last(task.instance.arn) == _last(str(instance))))
        ]
        return page(arns, "taskArns", parameters)

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
        return page(arns, "containerInstanceArns", parameters)


def launch_type_of(
    parameters: dict[str, Any], definition: TaskDefinition, types: dict[str, str]
) -> tuple[str, str | None]:
    """Return the launch type, and the selected capacity provider, if any. Raises AwsError.

    Args:
        parameters: The parameters of RunTask or CreateService.
        definition: The task definition to run.
        types: The types of the capacity providers that exist, by name.
    """
    launch_type = parameters.get("launchType")
    strategy = parameters.get("capacityProviderStrategy") or []
    if launch_type and strategy:
        raise AwsError(
            "InvalidParameterException",
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        )
    provider = providers.selected(strategy, types) if strategy else None
    launch_type = str(providers.LAUNCH_TYPES[types[provider]] if provider else launch_type or "EC2")
    if provider is None and launch_type not in ("EC2", "FARGATE", "EXTERNAL"):
        raise AwsError("InvalidParameterException", f"Unknown launch type {launch_type}.")
    if launch_type == "FARGATE" and "FARGATE" not in definition.compatibilities:
        raise AwsError("InvalidParameterException", "Task definition does not support launch_type FARGATE.")
    if definition.network_mode == "awsvpc" and not parameters.get("networkConfiguration"):
        raise AwsError(
            "InvalidParameterException",
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )
    return launch_type, provider


def page(arns: list[str], key: str, parameters: dict[str, Any], size: int = 100) -> dict[str, Any]:
    """Return a page of ARNs. `size` is the default of maxResults."""
    start = int(parameters.get("nextToken") or 0)
    size = int(parameters.get("maxResults") or size)
    answer: dict[str, Any] = {key: arns[start : start + size]}
    if start + size < len(arns):
        answer["nextToken"] = str(start + size)
    return answer


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]
