"""A simulated service of ECS, its deployments and its scalable target, as `services` changes them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from local.emulator.ecs import ACCOUNT, REGION

FLAGS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}:service"


@dataclass
class Target:
    """A scalable target."""

    minimum: int
    maximum: int
    suspended: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(FLAGS, False))

    @property
    def state(self) -> tuple[int, int, tuple[bool, ...]]:
        return self.minimum, self.maximum, tuple(self.suspended.values())

    def to_api(self, service: "SimulatedService") -> dict[str, Any]:
        """Return the target of a service in the shape that DescribeScalableTargets returns."""
        return {
            "ServiceNamespace": "ecs",
            "ResourceId": f"service/{service.cluster}/{service.name}",
            "ScalableDimension": "ecs:service:DesiredCount",
            "MinCapacity": self.minimum,
            "MaxCapacity": self.maximum,
            "SuspendedState": dict(self.suspended),
        }


@dataclass
class Rollout:
    """A service deployment, as ListServiceDeployments returns it."""

    arn: str
    deployment: str  # its id in DescribeServices
    created_at: datetime
    status: str = "PENDING"
    reason: str | None = None

    @property
    def ongoing(self) -> bool:
        return self.status in ("PENDING", "IN_PROGRESS", "ROLLBACK_IN_PROGRESS")

    def to_api(self, service_arn: str) -> dict[str, Any]:
        """Return it in the shape that ListServiceDeployments returns."""
        return {
            "serviceDeploymentArn": self.arn,
            "serviceArn": service_arn,
            "createdAt": self.created_at,
            "status": self.status,
            **({"statusReason": self.reason} if self.reason else {}),
        }


@dataclass
class SimulatedService:
    """A service. `blocked`: no task of it can start. `rolls_back`: the circuit breaker rolls its deployments back."""

    cluster: str
    name: str
    family: str
    launch_type: str
    desired: int
    status: str = "ACTIVE"
    target: Target | None = None
    blocked: bool = False
    due: datetime | None = None
    steady: bool = False
    waits: int = 0  # looks since the last change
    seen: tuple[Any, ...] = ()  # what the scheduler has last left
    rolls_back: bool = False
    completed: str | None = None  # the last deployment that has completed, which can be rolled back to
    history: list[Rollout] = field(default_factory=list)  # the newest first
    deployments: list[str] = field(default_factory=list)  # the newest first
    failures: dict[str, str] = field(default_factory=dict)  # deployment: why the circuit breaker has ended it
    breaks: set[str] = field(default_factory=set)  # deployments that the circuit breaker ends
    messages: list[dict[str, Any]] = field(default_factory=list)  # the newest first

    @property
    def arn(self) -> str:
        return f"{_ARN}/{self.cluster}/{self.name}"

    @property
    def group(self) -> str:
        return f"service:{self.name}"
