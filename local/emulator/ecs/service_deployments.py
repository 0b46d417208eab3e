"""Service deployments and their lifecycle stages, as DescribeServiceDeployments returns them.

    PENDING ──► IN_PROGRESS ──► SUCCESSFUL
                     ├──► STOP_REQUESTED ──► STOPPED             replaced, or without a rollback
                     └──► ROLLBACK_REQUESTED ──► ROLLBACK_IN_PROGRESS ──► ROLLBACK_SUCCESSFUL or ROLLBACK_FAILED

Source: "View service history using Amazon ECS service deployments" in the ECS Developer Guide, and ServiceDeployment in
the ECS API reference: "The service deployment stops when any of the following actions happen: A user manually stops the
deployment. The rollback option is not in use for the failure detection mechanism (the circuit breaker or alarm-based)
and the service fails." AWS does not document the status of a deployment that another one replaces.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

STAGES = (
    "RECONCILE_SERVICE",
    "PRE_SCALE_UP",
    "SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
    "BAKE_TIME",
    "CLEAN_UP",
)
"""The stages of the strategies BLUE_GREEN, LINEAR and CANARY, in order."""

ONGOING = ("PENDING", "IN_PROGRESS", "STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
_ROLLING_BACK = ("ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")
_HOOK_TIMEOUT = 1440  # minutes


@dataclass
class Hook:
    """A lifecycle hook with the target PAUSE that a deployment has reached.

    Source: "Pause hooks for Amazon ECS service deployments" in the ECS Developer Guide: "Pause hooks pause an Amazon
    ECS service deployment at a specific lifecycle stage and wait for you to call ContinueServiceDeployment before the
    deployment proceeds." Without an answer, the timeout action follows: "Default: 1440 (24 hours)" and "Default:
    ROLLBACK" in DeploymentLifecycleHookTimeoutConfiguration.
    """

    id: str
    expires_at: datetime
    timeout_action: str
    status: str = "AWAITING_ACTION"

    @classmethod
    def of(cls, configured: Mapping[str, Any], identity: str, at: datetime) -> "Hook":
        """Create the hook that a deployment reaches at a time, from its configuration."""
        timeout = configured.get("timeoutConfiguration") or {}
        expires_at = at + timedelta(minutes=int(timeout.get("timeoutInMinutes") or _HOOK_TIMEOUT))
        return cls(identity, expires_at, str(timeout.get("action") or "ROLLBACK"))

    def to_api(self) -> dict[str, Any]:
        return {
            "hookId": self.id,
            "targetType": "PAUSE",
            "status": self.status,
            "expiresAt": self.expires_at,
            "timeoutAction": self.timeout_action,
        }


@dataclass
class ServiceDeployment:
    """A service deployment: the replacement of a service revision by another one, until its end.

    Attributes:
        deployment_id: The id of the deployment in `deployments` of DescribeServices.
        target: The ARN of the service revision that is deployed.
        sources: The ARNs of the service revisions that it replaces.
        configuration: The deployment configuration at the start.
        stage: One of STAGES, or empty with the strategy ROLLING.
        stage_until: When the stage ends, or production traffic shifts next; None if no time is set.
        weight: The percentage of production traffic that the target receives.
        failed_tasks: How many tasks of the target the circuit breaker has counted.
    """

    arn: str
    service_arn: str
    cluster_arn: str
    deployment_id: str
    target: str
    sources: list[str]
    configuration: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    status: str = "PENDING"
    status_reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    stopped_at: datetime | None = None
    rollback: dict[str, Any] | None = None
    stage: str = ""
    stage_until: datetime | None = None
    weight: float = 0.0
    hooks: list[Hook] = field(default_factory=list)
    failed_tasks: int = 0
    triggered: bool = False

    @property
    def ongoing(self) -> bool:
        return self.status in ONGOING

    @property
    def rolling_back(self) -> bool:
        return self.status in _ROLLING_BACK

    @property
    def staged(self) -> bool:
        """Whether the deployment follows STAGES: the tasks that it replaces run until the last one."""
        return bool(self.stage) and self.status == "IN_PROGRESS"

    @property
    def waiting(self) -> Hook | None:
        """The hook that waits for a person."""
        return next((hook for hook in self.hooks if hook.status == "AWAITING_ACTION"), None)

    def to_brief(self) -> dict[str, Any]:
        """Return the ServiceDeploymentBrief of the ECS API."""
        return _present(
            serviceDeploymentArn=self.arn,
            serviceArn=self.service_arn,
            clusterArn=self.cluster_arn,
            createdAt=self.created_at,
            startedAt=self.started_at,
            finishedAt=self.finished_at,
            targetServiceRevisionArn=self.target,
            status=self.status,
            statusReason=self.status_reason,
        )

    def to_api(self, threshold: int, counts: Mapping[str, dict[str, int]]) -> dict[str, Any]:
        """Return the ServiceDeployment of the ECS API.

        Args:
            threshold: The number of failed tasks at which the circuit breaker ends the deployment.
            counts: The members of ServiceRevisionSummary that count tasks, by the ARN of the revision.
        """
        brief = self.to_brief()
        target = {"arn": brief.pop("targetServiceRevisionArn"), **counts.get(self.target, {})}
        breaker = self.configuration.get("deploymentCircuitBreaker") or {}
        state = "TRIGGERED" if self.triggered else "MONITORING" if self.ongoing else "MONITORING_COMPLETE"
        return _present(
            **brief,
            stoppedAt=self.stopped_at,
            updatedAt=self.updated_at,
            sourceServiceRevisions=[{"arn": arn, **counts.get(arn, {})} for arn in self.sources],
            targetServiceRevision=target | ({"requestedProductionTrafficWeight": self.weight} if self.stage else {}),
            lifecycleStage=self.stage or None,
            lifecycleHookDetails=[hook.to_api() for hook in self.hooks] or None,
            deploymentConfiguration=self.configuration,
            rollback=self.rollback,
            deploymentCircuitBreaker={
                "status": state if breaker.get("enable") else "DISABLED",
                "failureCount": self.failed_tasks,
                "threshold": threshold,
            },
        )

    def change(self, status: str, reason: str | None, at: datetime) -> None:
        """Change the status, and the times that depend on it."""
        self.status, self.updated_at = status, at
        self.status_reason = reason or self.status_reason
        if status == "IN_PROGRESS":
            self.started_at = at
        if status == "STOPPED":
            self.stopped_at = at
        if not self.ongoing:
            self.finished_at = at
            self.stage_until = None

    def next_weight(self) -> tuple[float, timedelta]:
        """Return the next percentage of production traffic, and the time to wait after it.

        Source: LinearConfiguration ("The default value is 10.0", "The default value is 6. This bake time is not applied
        after reaching 100 percent traffic.") and CanaryConfiguration ("The default value is 5.0", "The default value is
        10.") in the ECS API reference.
        """
        weight, minutes = 100.0, 0
        if self.configuration.get("strategy") == "LINEAR":
            linear = self.configuration.get("linearConfiguration") or {}
            weight = min(100.0, self.weight + float(linear.get("stepPercent", 10.0)))
            minutes = int(linear.get("stepBakeTimeInMinutes", 6))
        elif self.configuration.get("strategy") == "CANARY" and self.weight == 0:
            canary = self.configuration.get("canaryConfiguration") or {}
            weight, minutes = float(canary.get("canaryPercent", 5.0)), int(canary.get("canaryBakeTimeInMinutes", 10))
        return weight, timedelta(minutes=minutes if weight < 100 else 0)


def _present(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
