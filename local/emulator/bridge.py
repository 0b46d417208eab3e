"""Access to moto's internal objects: reads, corrections, replaced methods, and the reset of its state."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any, NamedTuple

from moto.core.base_backend import BackendDict
from moto.core.common_models import BaseModel
from moto.core.model_instances import reset_model_data
from moto.core.utils import utcnow
from moto.dynamodb.models import dynamodb_backends
from moto.ecs.models import ContainerInstance, EC2ContainerServiceBackend, ecs_backends
from moto.events.models import Rule, events_backends
from moto.scheduler.models import scheduler_backends
from moto.ssm.models import ssm_backends

from local.emulator import moto_tables
from local.emulator.ecs import ACCOUNT, Cluster, Instance, TaskDefinition, TaskSimulation


def reset() -> None:
    """Delete all of moto's state, which is global to the process."""
    BackendDict.reset()
    reset_model_data()


def _ecs(region: str) -> EC2ContainerServiceBackend:
    return ecs_backends[ACCOUNT][region]


class Webhook(NamedTuple):
    """An HTTP endpoint, and the headers that a request to it needs."""

    method: str
    url: str
    headers: dict[str, str]


class MotoCatalog:
    """The clusters, task definitions and container instances that were created through moto."""

    def __init__(self) -> None:
        self._capacity_providers: dict[str, str] = {}

    def cluster(self, reference: str, region: str) -> Cluster | None:
        found = _ecs(region).clusters.get(reference.rpartition("/")[2])
        return None if found is None else Cluster(found.name, found.arn)

    def task_definition(self, reference: str, region: str) -> TaskDefinition | None:
        family, _, revision = reference.rpartition("/")[2].partition(":")
        revisions = _ecs(region).task_definitions.get(family) or {}
        if not revision:
            active = [number for number, found in revisions.items() if found.status == "ACTIVE"]
            revision = str(max(active, default=0))
        found = revisions.get(int(revision)) if revision.isdecimal() else None
        if found is None:
            return None
        # moto adds FARGATE and awsvpc to every definition that is not EC2 only. The requested values are used instead.
        wanted = tuple(found.requires_compatibilities or ("EC2",))
        forced_awsvpc = wanted != ("EC2",) and "FARGATE" not in wanted
        return TaskDefinition(
            arn=found.arn,
            family=found.family,
            containers=tuple(found.container_definitions),
            active=found.status == "ACTIVE",
            network_mode="bridge" if forced_awsvpc else found.network_mode or "bridge",
            compatibilities=wanted,
            cpu=int(found.cpu) if found.cpu else None,
            memory=int(found.memory) if found.memory else None,
        )

    def instances(self, region: str) -> list[Instance]:
        backend = _ecs(region)
        return [
            Instance(
                arn=found.container_instance_arn,
                ec2_instance_id=found.ec2_instance_id,
                cluster_arn=cluster.arn,
                cpu=_resource(found.registered_resources, "CPU"),
                memory=_resource(found.registered_resources, "MEMORY"),
                status=found.status,
                agent_connected=found.agent_connected,
                attributes=dict(found.attributes),
            )
            for name, cluster in list(backend.clusters.items())
            for found in list((backend.container_instances.get(name) or {}).values())
        ]

    def add_instance(self, instance: Instance, region: str) -> None:
        backend = _ecs(region)
        found = _InstanceWithoutEc2(instance, backend)
        backend.container_instances.setdefault(found.cluster_name, {})[found.id] = found
        backend.clusters[found.cluster_name].registered_container_instances_count += 1

    def remove_instance(self, instance: Instance, region: str) -> None:
        backend = _ecs(region)
        name = instance.cluster_arn.rpartition("/")[2]
        if backend.container_instances.get(name, {}).pop(instance.arn.rpartition("/")[2], None) is not None:
            backend.clusters[name].registered_container_instances_count -= 1

    def capacity_providers(self, region: str) -> dict[str, str]:
        return dict.fromkeys(_ecs(region).capacity_providers, "EC2_AUTOSCALING") | self._capacity_providers

    def add_capacity_provider(self, name: str, kind: str) -> None:
        self._capacity_providers[name] = kind


class _InstanceWithoutEc2(ContainerInstance):  # type: ignore[misc]  # moto is not type-checked
    """A container instance without an EC2 instance in moto, such as an external instance."""

    def __init__(self, instance: Instance, backend: EC2ContainerServiceBackend) -> None:
        self.ec2_instance_id = instance.ec2_instance_id
        self.agent_connected = instance.agent_connected
        self.status = instance.status
        self.registered_resources = [_amount("CPU", instance.cpu), _amount("MEMORY", instance.memory)]
        self.remaining_resources = copy.deepcopy(self.registered_resources)
        self.pending_tasks_count = self.running_tasks_count = 0
        self.version_info = {"agentVersion": "1.80.0", "agentHash": "00000000", "dockerVersion": "25.0.3"}
        self.attributes = dict(instance.attributes)
        self.registered_at = utcnow()
        self.region_name = backend.region_name
        self.id = instance.arn.rpartition("/")[2]
        self.cluster_name = instance.cluster_arn.rpartition("/")[2]
        self._account_id = backend.account_id
        self._backend = backend


def _amount(name: str, value: int) -> dict[str, Any]:
    return {"name": name, "type": "INTEGER", "doubleValue": 0.0, "longValue": 0, "integerValue": value}


def _resource(resources: list[dict[str, Any]], name: str) -> int:
    return next((int(resource["integerValue"]) for resource in resources if resource["name"] == name), 0)


def show_tasks(tasks: TaskSimulation, region: str) -> None:
    """Update moto's clusters and container instances with the counts and resources of the simulated tasks and services.

    moto's own services are not used: they run no tasks, and lose their deployment configuration.
    """
    backend = _ecs(region)
    for name, cluster in list(backend.clusters.items()):
        # moto's DescribeContainerInstances fails on a cluster that has never had a container instance.
        backend.container_instances.setdefault(name, {})
        mine = [task for task in tasks.live() if task.cluster.arn == cluster.arn]
        running = sum(1 for task in mine if task.last_status not in ("PROVISIONING", "PENDING"))
        cluster.running_tasks_count = running
        cluster.pending_tasks_count = len(mine) - running
        cluster.active_services_count = len(tasks.services(cluster.arn))
    for instance in tasks.instances(region):
        name = instance.cluster_arn.rpartition("/")[2]
        found = backend.container_instances[name].get(instance.arn.rpartition("/")[2])
        if found is None:
            continue
        cpu, memory, found.running_tasks_count, found.pending_tasks_count = tasks.usage(instance)
        found.agent_connected = instance.agent_connected
        for resource in found.remaining_resources:
            if resource["name"] == "CPU":
                resource["integerValue"] = max(0, instance.cpu - cpu)
            elif resource["name"] == "MEMORY":
                resource["integerValue"] = max(0, instance.memory - memory)


def document(name: str, region: str) -> dict[str, Any] | None:
    """Return the content of a document's default version, by name or ARN, or None if there is no such document."""
    backend = ssm_backends[ACCOUNT][region]
    try:
        # A private method: the public ones convert the content.
        documents = backend._get_documents(name.rpartition("/")[2])  # noqa: SLF001
    except Exception:  # moto raises several classes of errors for a document that does not exist
        return None
    content = documents.get_default_version().content_json
    return content if isinstance(content, dict) else None


def rules(region: str) -> list[dict[str, Any]]:
    """Return the rules of all event buses, each as the properties of an AWS::Events::Rule."""
    buses = list(events_backends[ACCOUNT][region].event_buses.values())
    return [_rule_properties(rule) for bus in buses for rule in list(bus.rules.values())]


def webhook(arn: str, region: str) -> Webhook | None:
    """Return the HTTP endpoint of an EventBridge API destination, or None if there is no such API destination."""
    backend = events_backends[ACCOUNT][region]
    found = backend.destinations.get(arn.split("/")[1])
    if found is None:
        return None
    connection = next((each for each in backend.connections.values() if each.arn == found.connection_arn), None)
    key = connection.auth_parameters.get("ApiKeyAuthParameters") if connection is not None else None
    headers = {key["ApiKeyName"]: key["ApiKeyValue"]} if key else {}
    return Webhook(found.http_method, found.invocation_endpoint, headers)


def stream_records(table: str, region: str, start: int) -> list[dict[str, Any]]:
    """Return the records of a table's stream from a position on, as Lambda passes them to a function."""
    shard = dynamodb_backends[ACCOUNT][region].get_table(table).stream_shard
    return [] if shard is None else [_stream_record(record.to_json()) for record in shard.items[start:]]


def _stream_record(record: dict[str, Any]) -> dict[str, Any]:
    written = record["dynamodb"]
    # The time is in UTC, without a time zone.
    seconds = written["ApproximateCreationDateTime"].replace(tzinfo=UTC).timestamp()
    return {**record, "dynamodb": {**written, "ApproximateCreationDateTime": seconds}}


def _rule_properties(rule: Rule) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "Name": rule.name,
        "EventBusName": rule.event_bus_name,
        "State": rule.state,
        "Targets": [dict(target) for target in list(rule.targets)],
    }
    if rule.scheduled_expression:
        properties["ScheduleExpression"] = rule.scheduled_expression
    if rule.event_pattern.get_pattern():
        properties["EventPattern"] = rule.event_pattern.get_pattern()
    return properties


def schedules(region: str) -> list[dict[str, Any]]:
    """Return all schedules of EventBridge Scheduler, each as GetSchedule returns it."""
    groups = list(scheduler_backends[ACCOUNT][region].schedule_groups.values())
    return [copy.deepcopy(schedule.to_dict()) for group in groups for schedule in list(group.schedules.values())]


def age_schedules(seconds: float, region: str) -> None:
    """Move the last modification of all schedules into the past."""
    for group in list(scheduler_backends[ACCOUNT][region].schedule_groups.values()):
        for schedule in list(group.schedules.values()):
            schedule.last_modified_date -= seconds


def delete_schedule(group: str, name: str, region: str) -> None:
    """Delete a schedule of EventBridge Scheduler, if it exists."""
    scheduler_backends[ACCOUNT][region].schedule_groups[group].schedules.pop(name, None)


@contextmanager
def patched() -> Iterator[None]:
    """Replace methods of moto while the context is open."""
    original, remembering = Rule.send_to_targets, BaseModel.__new__

    def forgetting(cls: type[BaseModel], *_: Any, **__: Any) -> BaseModel:
        # moto keeps a reference to every object for its dashboard, which would leak memory.
        return object.__new__(cls)

    def send_to_targets(self: Rule, event: Any, transform_input: bool = True) -> None:
        # moto raises for targets that it does not support, such as functions, and PutEvents then returns 500. The local
        # stack delivers to functions and API destinations.
        rule = copy.copy(self)
        rule.targets = [target for target in self.targets if _deliverable(str(target["Arn"]))]
        if rule.targets:
            # A transformation in moto needs another package, even if there is nothing to transform.
            transformed = any("InputTransformer" in target for target in rule.targets)
            original(rule, event, transform_input=transform_input and transformed)

    Rule.send_to_targets = send_to_targets
    BaseModel.__new__ = forgetting
    try:
        with moto_tables.patched():
            yield
    finally:
        Rule.send_to_targets = original
        BaseModel.__new__ = remembering


def _deliverable(arn: str) -> bool:
    return arn.split(":")[2] in ("logs", "events", "sqs") and ":api-destination/" not in arn
