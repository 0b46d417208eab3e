"""The deployments of services: how they begin, what ends them, and the rollback to the deployment before.

Source: "View service history using Amazon ECS service deployments" in the ECS Developer Guide, and
DeploymentCircuitBreaker in the ECS API reference: "If rollback is on, when a service deployment
fails, the service is rolled back to the last deployment that completed successfully." That deployment is PRIMARY again,
with its id.

The strategies BLUE_GREEN, LINEAR and CANARY pass the lifecycle stages of `service_deployments`. The emulator shifts no
traffic, and every Lambda hook succeeds.
"""

from datetime import datetime, timedelta
from typing import Any

from local.emulator.ecs.api import TaskApi
from local.emulator.ecs.events import deployment_state_change, hook_state_change, service_action
from local.emulator.ecs.rollout import failure_threshold
from local.emulator.ecs.service_deployments import STAGES, Hook, ServiceDeployment
from local.emulator.ecs.services import Counts, Deployment, SimulatedService
from local.emulator.ecs.tasks import SimulatedTask

_BREAKER = "ECS deployment circuit breaker"


class Rollouts(TaskApi):
    """Deployments of services, and the events of services."""

    def _tasks_of(self, service: SimulatedService) -> list[SimulatedTask]:
        """Return the tasks of a service, oldest first."""
        return [
            task for task in self._tasks.values() if task.group == service.group and task.cluster == service.cluster
        ]

    def _counts(self, service: SimulatedService) -> tuple[Counts, Counts | None]:
        """Return the tasks of the PRIMARY deployment and those of the others, if there are others."""
        mine = self._tasks_of(service)
        new = Counts.of(task for task in mine if task.started_by == service.primary.id)
        others = Counts.of(task for task in mine if task.started_by != service.primary.id)
        return new, others if service.replaced else None

    # ── beginnings ──

    def _deploy(self, service: SimulatedService, at: datetime) -> None:
        """Start a deployment with the current settings of a service."""
        identity = f"ecs-svc/{self._rng.randrange(10**18, 10**19)}"
        path = f"{service.cluster.name}/{service.name}"
        prefix = f"arn:aws:ecs:{service.region}:{self._account}"
        revision = f"{prefix}:service-revision/{path}/{self._rng.randrange(10**18, 10**19)}"
        deployment = Deployment(identity, dict(service.settings), created_at=at, updated_at=at, revision=revision)
        for other in service.history:
            if other.ongoing:
                self._replace(service, other, at)
        current = ServiceDeployment(
            arn=f"{prefix}:service-deployment/{path}/{self._hex(22)}",
            service_arn=service.arn,
            cluster_arn=service.cluster.arn,
            deployment_id=identity,
            target=revision,
            sources=[each.revision for each in service.deployments],
            configuration=service.deployment_configuration,
            created_at=at,
            updated_at=at,
        )
        service.history.insert(0, current)
        self._make_primary(service, deployment)
        self._set_rollout(service, deployment, "IN_PROGRESS", f"ECS deployment {identity} in progress.", at)

    def _replace(self, service: SimulatedService, other: ServiceDeployment, at: datetime) -> None:
        """Request the stop of a deployment that another one replaces. A rollback that is replaced has failed."""
        other.change("ROLLBACK_FAILED" if other.rolling_back else "STOP_REQUESTED", "A deployment replaces it.", at)
        self._wake(service, at)

    def _make_primary(self, service: SimulatedService, deployment: Deployment) -> None:
        others = [each for each in service.deployments if each is not deployment]
        for other in others:
            other.status = "ACTIVE"
        deployment.status = "PRIMARY"
        service.deployments = [deployment, *others]
        service.steady = False
        service.complaints.clear()
        service.forgive()

    def _progress(self, service: SimulatedService, at: datetime) -> None:
        """Carry out what the statuses of service deployments request, and advance their stages."""
        for other in service.history:
            if other.status == "STOP_REQUESTED":
                other.change("STOPPED", None, at)
        current = service.current
        if current.status == "PENDING":
            current.change("IN_PROGRESS", None, at)
            if service.strategy != "ROLLING" and service.completed is not None:
                self._enter(service, current, STAGES[0], at)
        if current.status == "ROLLBACK_REQUESTED":
            reason = current.status_reason or "A rollback was requested."
            self._roll_back(service, reason, at)
        while current.staged and self._stage_is_over(service, current, at):
            self._enter(service, current, STAGES[STAGES.index(current.stage) + 1], at)

    # ── stages ──

    def _enter(self, service: SimulatedService, current: ServiceDeployment, stage: str, at: datetime) -> None:
        current.stage, current.stage_until, current.updated_at = stage, None, at
        service.steady = False
        if stage == "PRODUCTION_TRAFFIC_SHIFT":
            self._shift(current, at)
        elif stage == "BAKE_TIME":
            current.stage_until = at + timedelta(minutes=int(current.configuration.get("bakeTimeInMinutes") or 0))
        for configured in current.configuration.get("lifecycleHooks") or []:
            if configured.get("targetType") == "PAUSE" and stage in (configured.get("lifecycleStages") or []):
                hook = Hook.of(configured, f"ecs-pause-{self._hex(43)}", at)
                current.hooks.append(hook)
                self._events.append(hook_state_change(service, current, hook, at, self._uuid(), self._account))

    def _stage_is_over(self, service: SimulatedService, current: ServiceDeployment, at: datetime) -> bool:
        """Return whether the next stage begins. Otherwise the scheduler looks again when it may."""
        for hook in current.hooks:
            if hook.status == "AWAITING_ACTION" and hook.expires_at <= at:
                hook.status = "TIMED_OUT"
                if hook.timeout_action == "ROLLBACK":
                    self._roll_back(service, "A lifecycle hook timed out.", at)
                    return False
        if (waiting := current.waiting) is not None:
            service.look_by(waiting.expires_at)
            return False
        if current.stage == "SCALE_UP":
            return self._counts(service)[0].healthy >= service.desired_count
        if current.stage_until is not None and at < current.stage_until:
            service.look_by(current.stage_until)
            return False
        if current.stage == "PRODUCTION_TRAFFIC_SHIFT" and current.weight < 100:
            self._shift(current, at)
            return self._stage_is_over(service, current, at)
        return current.stage != "CLEAN_UP"

    @staticmethod
    def _shift(current: ServiceDeployment, at: datetime) -> None:
        current.weight, wait = current.next_weight()
        current.stage_until, current.updated_at = at + wait, at

    # ── ends ──

    def _count_failed_task(self, service: SimulatedService, deployment: Deployment, at: datetime) -> None:
        deployment.failed_tasks += 1
        deployment.updated_at = at
        if service.current.deployment_id == deployment.id:
            service.current.failed_tasks = deployment.failed_tasks

    def _end_failed_deployment(self, service: SimulatedService, at: datetime) -> None:
        """End a deployment with too many failed tasks, if the circuit breaker is enabled."""
        breaker = service.deployment_configuration["deploymentCircuitBreaker"]
        primary = service.primary
        monitored = breaker.get("enable") and primary.rollout_state == "IN_PROGRESS" and not primary.proven
        if not monitored or service.current.staged or primary.failed_tasks < self._threshold(service):
            return
        service.current.triggered = True
        self._fail(service, f"{_BREAKER}: tasks failed to start.", at, rollback=bool(breaker.get("rollback")))

    @staticmethod
    def _threshold(service: SimulatedService) -> int:
        return failure_threshold(service.desired_count)

    def _fail(self, service: SimulatedService, reason: str, at: datetime, *, rollback: bool) -> None:
        """End the PRIMARY deployment, and roll it back if that is possible."""
        primary, current = service.primary, service.current
        if rollback and service.completed is not None and not current.rolling_back:
            self._roll_back(service, reason, at)
            return
        self._say(service, f"(deployment {primary.id}) deployment failed: tasks failed to start.", at)
        self._set_rollout(service, primary, "FAILED", reason, at)
        current.change("ROLLBACK_FAILED" if current.rolling_back else "STOPPED", reason, at)

    def _roll_back(self, service: SimulatedService, reason: str, at: datetime) -> None:
        """Return to the last completed deployment. Without one, the deployment is stopped."""
        primary, current, completed = service.primary, service.current, service.completed
        if completed is None or completed is primary:
            current.change("STOPPED", reason, at)
            self._set_rollout(service, primary, "FAILED", reason, at)
            return
        self._say(service, f"(deployment {primary.id}) deployment failed: {reason.removeprefix(f'{_BREAKER}: ')}", at)
        self._set_rollout(service, primary, "FAILED", reason, at)
        self._say(service, f"rolling back to deployment {completed.id}.", at)
        current.change("ROLLBACK_IN_PROGRESS", reason, at)
        current.rollback = {"reason": reason, "startedAt": at, "serviceRevisionArn": completed.revision}
        current.weight = 0.0
        # The deployment is not eligible for another rollback until it completes again.
        service.completed = None
        service.settings = dict(completed.settings)
        completed.failed_tasks, completed.proven = 0, False
        self._make_primary(service, completed)
        rolling = f"{_BREAKER}: rolling back to deploymentId {completed.id}."
        self._set_rollout(service, completed, "IN_PROGRESS", rolling, at)

    def _conclude(self, service: SimulatedService, at: datetime) -> None:
        """Remove deployments without tasks, and report a deployment that is complete and a steady state."""
        mine, primary, current = self._tasks_of(service), service.primary, service.current
        busy = {task.started_by for task in mine if task.last_status in ("PROVISIONING", "PENDING", "RUNNING")}
        service.deployments = [each for each in service.deployments if each is primary or each.id in busy]
        counts, replaced = self._counts(service)
        settled = replaced is None and counts.wanted == counts.healthy == counts.active == service.desired_count
        if current.staged and current.stage != "CLEAN_UP":
            settled = False
        if current.rollback is not None and current.rollback["startedAt"] == at:
            # The rollback is seen in progress, although the tasks that it returns to still run.
            settled = False
            self._wake(service, at)
        if settled and primary.rollout_state == "IN_PROGRESS":
            self._say(service, f"(deployment {primary.id}) deployment completed.", at)
            self._set_rollout(service, primary, "COMPLETED", f"ECS deployment {primary.id} completed.", at)
            current.change("ROLLBACK_SUCCESSFUL" if current.rolling_back else "SUCCESSFUL", None, at)
            service.completed = primary
        if settled and primary.rollout_state == "COMPLETED" and not service.steady:
            service.steady = True
            service.complaints.clear()
            self._say(service, "has reached a steady state.", at)
            self._report(service, "INFO", "SERVICE_STEADY_STATE", at)

    # ── events ──

    def _wake(self, service: SimulatedService, at: datetime) -> None:
        """Let the scheduler look at a service soon."""
        service.look_by(at + self._service_delay)

    def _set_rollout(
        self, service: SimulatedService, deployment: Deployment, state: str, reason: str, at: datetime
    ) -> None:
        deployment.rollout_state, deployment.rollout_state_reason, deployment.updated_at = state, reason, at
        self._events.append(deployment_state_change(service, deployment, at, self._uuid(), self._account))

    def _say(self, service: SimulatedService, message: str, at: datetime) -> None:
        service.say(message, self._uuid(), at)

    def _complain(
        self, service: SimulatedService, message: str, kind: str, name: str, at: datetime, **more: Any
    ) -> None:
        """Report a failure, unless it has been reported and its cause is not resolved."""
        if message not in service.complaints:
            service.complaints.add(message)
            self._say(service, message, at)
            self._report(service, kind, name, at, **more)

    def _report(self, service: SimulatedService, kind: str, name: str, at: datetime, **more: Any) -> None:
        self._events.append(service_action(service, kind, name, at, self._uuid(), self._account, **more))
