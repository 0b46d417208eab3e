"""A local stack that records its events and waits only one second, and helpers for its tests.

An event or a sweep completes every operation that takes longer than the wait.
"""

from __future__ import annotations

import copy
from typing import Any, Self

from api_client import Api
from conftest import QUICK
from settling import eventually

from local.seed import Seeder
from local.stack import LocalStack

PARAMETERS = {"WaitSeconds": "1", "ThrottleRate": "100000", "ThrottleBurst": "100000"}
TASKS: dict[str, dict[str, Any]] = {
    "never": {"labels": {"simulate.start": "never"}},
    "unpullable": {"labels": {"simulate.start": "fail"}},
    # Takes longer to stop than the wait.
    "stubborn": {"labels": {"simulate.ignore-sigterm": "true"}, "stopTimeout": 3},
}


class RecordingStack(LocalStack):
    """A local stack with a wait of one second.

    Attributes:
        recorded: Every event of ECS and of Systems Manager, each in its order.
    """

    def __init__(self) -> None:
        self.recorded: list[dict[str, Any]] = []
        super().__init__(port=0, parameters=PARAMETERS, emulator_options={**QUICK, "on_event": self.recorded.append})

    def start(self) -> Self:
        super().start()
        for family, settings in TASKS.items():
            Seeder(self).task_definition(family, **settings)
        return self


def settled(api: Api, container: str, status: str) -> dict[str, Any]:
    """Wait until the container has the status and no pending operation. Returns its data."""
    return eventually(
        lambda: api.get(container).json()["data"],
        lambda seen: seen["status"] == status and seen["pending_operation"] is None,
    )


def accepted(api: Api, container: str, operation: str, status: str) -> dict[str, Any]:
    """Request an operation. Check that it is accepted and that GET shows it. Returns the data of the response."""
    response = api.post(container, operation)
    assert response.status_code == 202, response.text
    body = response.json()
    assert body["message"] == "Container operation accepted"
    data: dict[str, Any] = body["data"]
    assert (data["status"], data["pending_operation"]["operation"]) == (status, operation)
    shown = api.get(container).json()["data"]
    assert (shown["status"], shown["pending_operation"]) == (status, data["pending_operation"])
    assert shown["allowed_operations"] == ["force-stop"]
    return data


def running(stack: LocalStack, seeder: Seeder, container: str) -> str:
    """Add a running container. Returns its task's ARN."""
    seeder.add(container, ["stopped", "running"])
    (task,) = stack.emulator.ecs.live(started_by=container)
    return task.arn


def events_of(stack: RecordingStack, container: str) -> list[dict[str, Any]]:
    return [event for event in list(stack.recorded) if event["detail"].get("startedBy") == container]


def stopped_event(stack: RecordingStack, container: str) -> dict[str, Any]:
    """Wait for the STOPPED event of the container's task, and return a copy."""
    events = eventually(
        lambda: [event for event in events_of(stack, container) if event["detail"]["lastStatus"] == "STOPPED"],
    )
    return copy.deepcopy(events[0])
