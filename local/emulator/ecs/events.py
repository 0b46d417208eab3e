"""The events in which ECS tells EventBridge of a task."""

import json
from datetime import datetime
from typing import Any

from local.emulator.ecs.tasks import SimulatedTask


def task_state_change(task: SimulatedTask, at: datetime, event_id: str, account: str) -> dict[str, Any]:
    """The "ECS Task State Change" of a task as it is now, its times as text."""
    return {
        "version": "0",
        "id": event_id,
        "detail-type": "ECS Task State Change",
        "source": "aws.ecs",
        "account": account,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": task.region,
        "resources": [task.arn],
        "detail": json.loads(json.dumps({**task.to_api(), "updatedAt": at}, default=_iso)),
    }


def _iso(value: Any) -> str:
    """Times as ECS has them in events: UTC with milliseconds."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    raise TypeError(f"{type(value).__name__} has no JSON form")
