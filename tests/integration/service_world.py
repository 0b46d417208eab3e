"""A simulated cluster with a service and its scalable target, on a virtual clock, without HTTP."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.emulator import AwsError, ScalableTargets, StaticCatalog, TaskSimulation
from local.emulator.ecs import SimulatedTask

WEB = "service/main/web"


class World:
    """A cluster with an instance, and the service `web`.

    Args:
        delays: Parameters of the simulation.
        network_mode: The network mode of the task definitions.
        parameters: Parameters of CreateService.
    """

    def __init__(
        self, *, delays: dict[str, Any] | None = None, network_mode: str = "bridge", **parameters: Any
    ) -> None:
        self.time = datetime(2030, 1, 1, tzinfo=UTC)
        catalog = StaticCatalog()
        catalog.add_cluster("main")
        self.labels: dict[str, dict[str, str]] = {"web": {}, "unpullable": {"simulate.start": "fail"}, "large": {}}
        for family, labels in self.labels.items():
            memory = 1000 if family == "large" else 100
            catalog.add_task_definition(
                family,
                [{"name": "app", "image": "app:1", "memory": memory, "dockerLabels": labels}],
                network_mode=network_mode,
            )
        self.ecs = TaskSimulation(catalog, lambda: self.time, rng=random.Random(1), **(delays or {}))
        self.scaling = ScalableTargets(self.ecs, lambda: self.time)
        self.host = self.ecs.add_instance("main", "i-1", memory=4000)
        self.create(**{"desiredCount": 3, **parameters})

    def create(self, name: str = "web", task_definition: str = "web", **parameters: Any) -> dict[str, Any]:
        request = {"cluster": "main", "serviceName": name, "taskDefinition": task_definition, **parameters}
        created: dict[str, Any] = self.ecs.handle("CreateService", request)["service"]
        return created

    def update(self, **parameters: Any) -> dict[str, Any]:
        updated: dict[str, Any] = self.ecs.handle("UpdateService", {"cluster": "main", "service": "web", **parameters})
        return updated

    def describe(self) -> dict[str, Any]:
        answer = self.ecs.handle("DescribeServices", {"cluster": "main", "services": ["web"]})
        assert answer["failures"] == []
        described: dict[str, Any] = answer["services"][0]
        return described

    def advance(self, seconds: float = 60) -> dict[str, Any]:
        self.time += timedelta(seconds=seconds)
        return self.describe()

    def step(self) -> dict[str, Any]:
        """Advance to the next change, and return the service."""
        due = self.ecs.next_due()
        assert due is not None, "nothing changes any more"
        self.time = max(self.time, due)
        return self.describe()

    def events(self) -> list[tuple[str, str]]:
        """Return the types and names of the events of services since the last call."""
        drained = [event for event in self.ecs.drain_events() if event["detail-type"] != "ECS Task State Change"]
        return [(event["detail-type"], event["detail"]["eventName"]) for event in drained]

    def messages(self) -> list[str]:
        return [event["message"] for event in self.describe()["events"]]

    def tasks(self) -> list[SimulatedTask]:
        return [task for task in self.ecs.live() if task.desired_status == "RUNNING"]


def completed(service: dict[str, Any]) -> bool:
    return len(service["deployments"]) == 1 and service["deployments"][0]["rolloutState"] == "COMPLETED"


def counts(service: dict[str, Any]) -> tuple[int, int, int]:
    return service["desiredCount"], service["runningCount"], service["pendingCount"]


def refused(world: World, operation: str, parameters: dict[str, Any]) -> str:
    """Return the code of the error of a request that changes nothing."""
    before = world.ecs.handle("ListServices", {"cluster": "main"}), world.describe()
    with pytest.raises(AwsError) as error:
        world.ecs.handle(operation, {"cluster": "main", **parameters})
    assert (world.ecs.handle("ListServices", {"cluster": "main"}), world.describe()) == before
    return error.value.code
