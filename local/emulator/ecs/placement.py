"""Task placement: capacity, agents and constraints."""

import re
from typing import Any

from local.emulator.ecs.catalog import REGION, Cluster, Instance, TaskDefinition
from local.emulator.ecs.life import TaskLife
from local.emulator.ecs.tasks import SimulatedTask
from local.emulator.errors import AwsError

_CLAUSE = re.compile(r"^\s*(?P<subject>[\w:.\-]+)\s*(?P<operator>==|!=|not_equals|equals|in)\s*(?P<value>.+?)\s*$")


def satisfies(expression: str, instance: Instance) -> bool:
    """Return whether an instance satisfies an expression of the cluster query language.

    Supports ec2InstanceId, agentConnected and attribute:NAME with ==, !=, `in [...]` and `and`.

    Raises:
        AwsError: The expression is not supported (InvalidParameterException).
    """
    for clause in re.split(r"\s+and\s+|\s*&&\s*", expression):
        match = _CLAUSE.match(clause)
        if match is None:
            raise AwsError("InvalidParameterException", "Invalid expression.")
        subject = match["subject"]
        if subject == "ec2InstanceId":
            actual: str | None = instance.ec2_instance_id
        elif subject == "agentConnected":
            actual = str(instance.agent_connected).lower()
        elif subject.startswith("attribute:"):
            actual = instance.attributes.get(subject.removeprefix("attribute:"))
        else:
            raise AwsError("InvalidParameterException", "Invalid expression.")
        wanted = {part.strip().strip("'\"") for part in match["value"].strip("[]").split(",")}
        if (actual in wanted) == match["operator"].startswith(("!", "not")):
            return False
    return True


class Placement(TaskLife):
    """Finds an instance for a task."""

    def instances(self, region: str = REGION) -> list[Instance]:
        """Return the container instances with the changes made by the controls."""
        with self._lock:
            result = []
            for instance in self._catalog.instances(region):
                cpu, memory = self._capacity.get(instance.ec2_instance_id, (None, None))
                connected = instance.agent_connected and instance.ec2_instance_id not in self._agents_lost
                result.append(
                    Instance(
                        instance.arn,
                        instance.ec2_instance_id,
                        instance.cluster_arn,
                        instance.cpu if cpu is None else cpu,
                        instance.memory if memory is None else memory,
                        instance.status,
                        connected,
                        instance.attributes,
                    )
                )
            return result

    def usage(self, instance: Instance) -> tuple[int, int, int, int]:
        """Return the CPU units and MiB in use on an instance, and its numbers of running and pending tasks."""
        with self._lock:
            tasks = [task for task in self._tasks.values() if task.live and task.instance is not None]
            mine = [task for task in tasks if task.instance and task.instance.arn == instance.arn]
            pending = sum(1 for task in mine if task.last_status in ("PROVISIONING", "PENDING"))
            return (
                sum(task.definition.cpu_units() for task in mine),
                sum(task.definition.memory_mib() for task in mine),
                len(mine) - pending,
                pending,
            )

    def _place(
        self,
        cluster: Cluster,
        definition: TaskDefinition,
        launch_type: str,
        parameters: dict[str, Any],
        region: str,
        placed: list[SimulatedTask],
    ) -> tuple[Instance | None, list[dict[str, str]]]:
        """Return an instance with enough capacity for the task, or the failure of each instance."""
        candidates = [
            instance
            for instance in self.instances(region)
            if instance.cluster_arn == cluster.arn
            and instance.status == "ACTIVE"
            and instance.external == (launch_type == "EXTERNAL")
        ]
        if not candidates:
            raise AwsError("InvalidParameterException", "No Container Instances were found in your cluster.")
        refusals = []
        for instance in candidates:
            reason = self._refusal(instance, definition, parameters.get("placementConstraints") or [], placed)
            if reason is None:
                return instance, []
            refusals.append({"arn": instance.arn, "reason": reason})
        return None, refusals

    def _refusal(
        self,
        instance: Instance,
        definition: TaskDefinition,
        constraints: list[dict[str, str]],
        placed: list[SimulatedTask],
    ) -> str | None:
        for constraint in constraints:
            if constraint.get("type") == "memberOf":
                if not satisfies(constraint.get("expression", ""), instance):
                    return "MemberOf placement constraint unsatisfied."
            elif any(task.instance and task.instance.arn == instance.arn for task in placed):
                return "DistinctInstance placement constraint unsatisfied."
        if not instance.agent_connected:
            return "AGENT"
        cpu, memory, _, _ = self.usage(instance)
        if memory + definition.memory_mib() > instance.memory:
            return "RESOURCE:MEMORY"
        if cpu + definition.cpu_units() > instance.cpu:
            return "RESOURCE:CPU"
        return None
