"""Services and their deployments, as DescribeServices returns them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from local.emulator.ecs.catalog import Cluster
from local.emulator.ecs.service_deployments import ServiceDeployment
from local.emulator.ecs.tasks import SimulatedTask

MAX_EVENTS = 100
# The parameters whose change starts a deployment, and with which the tasks of a deployment are run.
SETTINGS = (
    "taskDefinition",
    "launchType",
    "capacityProviderStrategy",
    "platformVersion",
    "networkConfiguration",
    "enableExecuteCommand",
)
_UNSET: Mapping[str, Any] = {
    "deploymentCircuitBreaker": {"enable": False, "rollback": False},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
}


class Counts(NamedTuple):
    """The numbers of tasks of deployments.

    Attributes:
        wanted: Tasks that have not been asked to stop.
        healthy: Those of them that run.
        pending: All tasks in PROVISIONING or PENDING.
        running: All tasks in RUNNING, including those that have been asked to stop.
    """

    wanted: int
    healthy: int
    pending: int
    running: int

    @classmethod
    def of(cls, tasks: Iterable[SimulatedTask]) -> "Counts":
        live = [task for task in tasks if task.live]
        wanted = [task for task in live if task.desired_status == "RUNNING"]
        return cls(
            len(wanted),
            sum(task.last_status == "RUNNING" for task in wanted),
            sum(task.last_status in ("PROVISIONING", "PENDING") for task in live),
            sum(task.last_status == "RUNNING" for task in live),
        )

    @property
    def active(self) -> int:
        return self.pending + self.running


@dataclass
class Deployment:
    """A deployment of a service. Its tasks have its id as `startedBy`.

    `proven` means that one of its tasks has run, which ends the monitoring by the circuit breaker.
    """

    id: str
    settings: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    status: str = "PRIMARY"
    rollout_state: str = "IN_PROGRESS"
    rollout_state_reason: str = ""
    failed_tasks: int = 0
    proven: bool = False
    revision: str = ""

    def to_api(self, desired: int, counts: Counts, *, rolling: bool = True) -> dict[str, Any]:
        """Return the Deployment of the ECS API.

        Source: Deployment in the ECS API reference: "The rolloutState of a service is only returned for services that
        use the rolling update (ECS) deployment type".
        """
        rollout = {"rolloutState": self.rollout_state, "rolloutStateReason": self.rollout_state_reason}
        return {
            **self.settings,
            "id": self.id,
            "status": self.status,
            "desiredCount": desired,
            "pendingCount": counts.pending,
            "runningCount": counts.running,
            "failedTasks": self.failed_tasks,
            "createdAt": self.created_at,
            "updatedAt": self.updated_at,
            **(rollout if rolling else {}),
        }


@dataclass
class SimulatedService:
    """A service with the scheduling strategy REPLICA and the deployment controller ECS.

    Attributes:
        settings: The values of SETTINGS for the next deployment.
        configuration: The deployment configuration, as far as it was given.
        details: Other members of the API's Service, which have no effect here.
        deployments: The current deployments, the PRIMARY one first.
        history: All service deployments, newest first.
        events: The events of the service, newest first.
        completed: The last deployment that completed, to which a failed deployment is rolled back.
        due: When the scheduler looks at the service next; None until something changes.
        not_before: When the scheduler may start tasks again after failures.
        failures: How many tasks in a row could not be placed or started.
        complaints: The reported failures, which are not reported again until their causes are resolved.
        steady: Whether the service has reached a steady state since its last change.
        blocked: Whether no task of the service can be placed; set by tests.
    """

    arn: str
    name: str
    region: str
    cluster: Cluster
    desired_count: int
    created_at: datetime
    settings: dict[str, Any]
    configuration: dict[str, Any]
    placement_constraints: list[dict[str, str]] = field(default_factory=list)
    propagate_tags: str = "NONE"
    tags: list[dict[str, str]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    client_token: str | None = None
    status: str = "ACTIVE"
    deployments: list[Deployment] = field(default_factory=list)
    history: list[ServiceDeployment] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    completed: Deployment | None = None
    due: datetime | None = None
    not_before: datetime | None = None
    failures: int = 0
    complaints: set[str] = field(default_factory=set)
    steady: bool = False
    blocked: bool = False

    @property
    def group(self) -> str:
        return f"service:{self.name}"

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    @property
    def current(self) -> ServiceDeployment:
        """The newest service deployment."""
        return self.history[0]

    @property
    def strategy(self) -> str:
        return str(self.configuration.get("strategy") or "ROLLING")

    @property
    def replaced(self) -> list[Deployment]:
        """The deployments that the PRIMARY one replaces."""
        return self.deployments[1:]

    @property
    def deployment_configuration(self) -> dict[str, Any]:
        return {**_UNSET, **self.configuration}

    def deployment(self, identity: str | None) -> Deployment | None:
        return next((each for each in self.deployments if each.id == identity), None)

    def look_by(self, due: datetime) -> None:
        """Let the scheduler look at the service at this time or earlier."""
        self.due = due if self.due is None else min(self.due, due)

    def forgive(self) -> None:
        """Forget failures, so that the scheduler starts tasks without delay."""
        self.failures, self.not_before = 0, None

    def say(self, message: str, identity: str, at: datetime) -> None:
        """Add an event. `identity` is its id."""
        event = {"id": identity, "createdAt": at, "message": f"(service {self.name}) {message}"}
        self.events = [event, *self.events][:MAX_EVENTS]

    def run_parameters(self, deployment: Deployment, count: int) -> dict[str, Any]:
        """Return the parameters of RunTask that start tasks of a deployment."""
        return {
            **deployment.settings,
            "cluster": self.cluster.arn,
            "count": count,
            "group": self.group,
            "startedBy": deployment.id,
            "placementConstraints": self.placement_constraints,
            "tags": self.tags if self.propagate_tags == "SERVICE" else [],
        }

    def to_api(self, tasks: Iterable[SimulatedTask], include_tags: bool = False) -> dict[str, Any]:
        """Return the Service of the ECS API. `tasks` are those of the service."""
        mine = list(tasks)
        total = Counts.of(mine)
        deployments = []
        for deployment in self.deployments:
            counts = Counts.of(task for task in mine if task.started_by == deployment.id)
            desired = self.desired_count if deployment is self.primary else counts.wanted
            deployments.append(deployment.to_api(desired, counts, rolling=self.strategy == "ROLLING"))
        return {
            **self.details,
            **self.settings,
            "serviceArn": self.arn,
            "serviceName": self.name,
            "clusterArn": self.cluster.arn,
            "status": self.status,
            "desiredCount": self.desired_count,
            "runningCount": total.running,
            "pendingCount": total.pending,
            "deploymentConfiguration": self.deployment_configuration,
            "deployments": deployments,
            **({"currentServiceDeployment": self.current.arn} if self.history else {}),
            "currentServiceRevisions": [{"arn": each.revision} for each in self.deployments],
            "events": list(self.events),
            "createdAt": self.created_at,
            "placementConstraints": self.placement_constraints,
            "schedulingStrategy": "REPLICA",
            "deploymentController": {"type": "ECS"},
            "propagateTags": self.propagate_tags,
            **({"tags": self.tags} if include_tags else {}),
        }
