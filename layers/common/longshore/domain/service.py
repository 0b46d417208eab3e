"""A service of Amazon ECS with its scalable target, as AWS describes them, and what a container stores about it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from longshore.domain.base import Model, Timestamp
from longshore.domain.task import time_of, without_arns

_IMPAIRED = ("unable to consistently start tasks", "unable to place a task")
"""What the messages of a service's events contain when its tasks do not start. The names of these events,
SERVICE_TASK_START_IMPAIRED and SERVICE_TASK_PLACEMENT_FAILURE, occur in EventBridge only."""


_FAILURES = {
    "STOPPED": "The deployment was stopped",
    "ROLLBACK_SUCCESSFUL": "The deployment was rolled back",
    "ROLLBACK_FAILED": "The deployment failed, and so did its rollback",
}
"""The statuses of service deployments that have ended without success, and words for them if ECS names no reason."""


class Scaling(Model):
    """The minimum and the suspensions of a service's scalable target, which a stop changes."""

    minimum: int
    dynamic_scaling_in_suspended: bool = False
    dynamic_scaling_out_suspended: bool = False
    scheduled_scaling_suspended: bool = False

    @property
    def is_suspended(self) -> bool:
        """Whether nothing changes the count of the service."""
        suspensions = (self.dynamic_scaling_in_suspended, self.dynamic_scaling_out_suspended)
        return all(suspensions) and self.scheduled_scaling_suspended

    @property
    def is_of_stop(self) -> bool:
        """Whether this is the scaling of a stopped service: nothing raises its count."""
        return self.minimum == 0 and self.is_suspended

    @classmethod
    def of(cls, target: Mapping[str, Any]) -> "Scaling":
        """Convert a scalable target in the shape that DescribeScalableTargets returns."""
        state = target.get("SuspendedState", {})
        return cls(
            minimum=target["MinCapacity"],
            dynamic_scaling_in_suspended=state.get("DynamicScalingInSuspended", False),
            dynamic_scaling_out_suspended=state.get("DynamicScalingOutSuspended", False),
            scheduled_scaling_suspended=state.get("ScheduledScalingSuspended", False),
        )


class ScalableTarget(NamedTuple):
    """The scalable target of a service. Longshore changes its `scaling`, but never its `maximum`."""

    scaling: Scaling
    maximum: int


def held_by_stop(held: Scaling | None, target: ScalableTarget) -> Scaling | None:
    """Return what Longshore owes to the owner of the target from the moment when a stop suspends it.

    The values of a stop never become those of the owner. A minimum that somebody has set since replaces the one that
    is held. Suspensions do not: RegisterScalableTarget keeps those that it does not name, which are those of the stop.

    Args:
        held: What is held already. None: nothing.
        target: The target as it is now.
    """
    current = target.scaling
    if held is None:
        return None if current.is_of_stop else current
    return held.model_copy(update={"minimum": current.minimum or held.minimum})


def owed_to_owner(held: Scaling | None, target: ScalableTarget | None) -> Scaling | None:
    """Return the scaling to restore. None if there is nothing to restore, or it has been restored.

    Application Auto Scaling refuses a minimum above the maximum, which the owner may have lowered.
    """
    if held is None or target is None:
        return None
    minimum = target.scaling.minimum or held.minimum
    owed = held.model_copy(update={"minimum": min(minimum, target.maximum)})
    return None if owed == target.scaling else owed


class ServiceState(Model):
    """What a container's item holds about its service. All attributes are None if the container stands for a task."""

    desired_count: int | None = None  # the number of tasks that a start restores
    running_count: int | None = None  # the number of running tasks as last observed
    scaling: Scaling | None = None  # what is held of the target, until it has been restored; None: nothing is owed
    count_stored_at: Timestamp | None = None  # when a stop has stored the count that the next start restores
    calls_end_at: Timestamp | None = None  # when the last calls that change the service are over and shown
    apply_count_at: Timestamp | None = None  # when a sweep applies a changed `desired_count` that ECS may not have


class Deployment(NamedTuple):
    """A deployment of a service: a set of its tasks, which replaces the previous one."""

    id: str
    is_primary: bool
    has_failed: bool = False  # the circuit breaker has ended it, and ECS starts no task of it any more


class ServiceDeployment(NamedTuple):
    """A service deployment: the replacement of the tasks of a service, from its beginning to its end.

    Attributes:
        status: A ServiceDeploymentStatus of the ECS API.
        reason: Why it has this status, as ECS says.
    """

    arn: str
    created_at: datetime
    status: str
    reason: str | None

    @property
    def has_succeeded(self) -> bool:
        return self.status == "SUCCESSFUL"

    @property
    def failure(self) -> str | None:
        """Why it has ended without success. None: it has not."""
        words = _FAILURES.get(self.status)
        return None if words is None else self.reason or words

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "ServiceDeployment":
        """Convert a service deployment in the shape that ListServiceDeployments returns."""
        created_at, reason = time_of(described["createdAt"]), described.get("statusReason")
        assert created_at is not None
        return cls(
            arn=described["serviceDeploymentArn"],
            created_at=created_at,
            status=described["status"],
            reason=without_arns(reason) if reason else None,
        )


class Service(NamedTuple):
    """A service as ECS describes it.

    Attributes:
        desired: The number of tasks that ECS keeps running.
        running: The number of running tasks.
        pending: The number of tasks that are on their way to running.
        current: The ARN of its newest service deployment. None: ECS names none.
        troubles: The times and messages of the events that say that tasks do not start, newest first.
    """

    name: str
    arn: str
    is_active: bool
    desired: int
    running: int
    pending: int
    deployments: tuple[Deployment, ...]
    troubles: tuple[tuple[datetime, str], ...] = ()
    current: str | None = None

    @property
    def is_steady(self) -> bool:
        """Whether there is one deployment, and as many tasks run as desired."""
        return len(self.deployments) == 1 and self.running == self.desired

    @property
    def runs(self) -> bool:
        """Whether tasks run that are to run. Tasks that stop after a stop are none."""
        return self.desired > 0 and self.running > 0

    @property
    def is_empty(self) -> bool:
        """Whether no task runs or is to run."""
        return self.desired == self.running == self.pending == 0

    @property
    def primary(self) -> Deployment | None:
        """The newest deployment."""
        return next((deployment for deployment in self.deployments if deployment.is_primary), None)

    def trouble_since(self, since: datetime) -> str | None:
        """Return why tasks do not start, if ECS has said so since a time (UTC)."""
        return next((message for at, message in self.troubles if at >= since), None)

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> "Service":
        """Convert a service in the shape that DescribeServices and UpdateService return."""
        events = [(time_of(event.get("createdAt")), str(event.get("message", ""))) for event in described["events"]]
        troubles = [(at, without_arns(text)) for at, text in events if at and any(sign in text for sign in _IMPAIRED)]
        return cls(
            name=described["serviceName"],
            arn=described["serviceArn"],
            is_active=described["status"] == "ACTIVE",
            desired=described["desiredCount"],
            running=described["runningCount"],
            pending=described["pendingCount"],
            deployments=tuple(
                Deployment(each["id"], each["status"] == "PRIMARY", each.get("rolloutState") == "FAILED")
                for each in described["deployments"]
            ),
            troubles=tuple(sorted(troubles, reverse=True)),
            current=described.get("currentServiceDeployment"),
        )


def service_arn(cluster_arn: str, name: str) -> str:
    """Return the ARN of a service in the cluster."""
    return f"{cluster_arn.replace(':cluster/', ':service/', 1)}/{name}"
