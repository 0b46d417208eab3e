"""The events that ECS sends to EventBridge."""

import json
from datetime import datetime
from typing import Any

from local.emulator.ecs.service_deployments import Hook, ServiceDeployment
from local.emulator.ecs.services import Deployment, SimulatedService
from local.emulator.ecs.tasks import SimulatedTask


def task_state_change(task: SimulatedTask, at: datetime, event_id: str, account: str) -> dict[str, Any]:
    """Return the "ECS Task State Change" event for the current state of a task."""
    detail = {**task.to_api(), "updatedAt": at}
    return _event("ECS Task State Change", task.arn, task.region, detail, at, event_id, account)


def service_action(
    service: SimulatedService, kind: str, name: str, at: datetime, event_id: str, account: str, **more: Any
) -> dict[str, Any]:
    """Return an "ECS Service Action" event. It has no version.

    Source: "Amazon ECS service action events" in the ECS Developer Guide.

    Args:
        service: The service.
        kind: INFO, WARN or ERROR.
        name: The name of the event, such as SERVICE_STEADY_STATE.
        at: The time of the event.
        event_id: The id of the event.
        account: The account.
        more: Further members of the detail.
    """
    detail = {"eventType": kind, "eventName": name, "clusterArn": service.cluster.arn, **more, "createdAt": at}
    return _event("ECS Service Action", service.arn, service.region, detail, at, event_id, account)


def deployment_state_change(
    service: SimulatedService, deployment: Deployment, at: datetime, event_id: str, account: str
) -> dict[str, Any]:
    """Return the "ECS Deployment State Change" event for the current state of a deployment.

    Source: "Amazon ECS service deployment state change events" in the ECS Developer Guide.
    """
    detail = {
        "eventType": "ERROR" if deployment.rollout_state == "FAILED" else "INFO",
        "eventName": f"SERVICE_DEPLOYMENT_{deployment.rollout_state}",
        "deploymentId": deployment.id,
        "updatedAt": deployment.updated_at,
        "reason": deployment.rollout_state_reason,
    }
    return _event("ECS Deployment State Change", service.arn, service.region, detail, at, event_id, account)


def hook_state_change(
    service: SimulatedService, deployment: ServiceDeployment, hook: Hook, at: datetime, event_id: str, account: str
) -> dict[str, Any]:
    """Return the "ECS Hook State Change" event of a hook that waits for a person.

    Source: "Pause hooks for Amazon ECS service deployments" in the ECS Developer Guide, which names the detail type and
    the event name. The other members of the detail are not documented there.
    """
    detail = {
        "eventType": "INFO",
        "eventName": f"HOOK_{hook.status}",
        "serviceDeploymentArn": deployment.arn,
        "hookId": hook.id,
        "updatedAt": at,
    }
    return _event("ECS Hook State Change", service.arn, service.region, detail, at, event_id, account)


def _event(
    detail_type: str, resource: str, region: str, detail: dict[str, Any], at: datetime, event_id: str, account: str
) -> dict[str, Any]:
    return {
        "version": "0",
        "id": event_id,
        "detail-type": detail_type,
        "source": "aws.ecs",
        "account": account,
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [resource],
        "detail": json.loads(json.dumps(detail, default=_iso)),
    }


def _iso(value: Any) -> str:
    """Format times as in ECS events: UTC with milliseconds."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    raise TypeError(f"{type(value).__name__} is not JSON serializable")
