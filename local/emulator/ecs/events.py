"""The events that ECS sends to EventBridge."""

import json
from datetime import datetime
from typing import Any

from local.emulator.ecs.tasks import SimulatedTask


def task_state_change(task: SimulatedTask, at: datetime, event_id: str, account: str) -> dict[str, Any]:
    """Return the "ECS Task State Change" event for the current state of a task."""
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
    """Format times as in ECS events: UTC with milliseconds."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    raise TypeError(f"{type(value).__name__} is not JSON serializable")
