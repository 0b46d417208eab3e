"""The service scheduler: it starts and stops tasks until each service has its desired count.

    a change of a service or of one of its tasks ──► after `service_delay` ──► the scheduler looks at the service
        stops what is too much, starts what is missing, ends a deployment that has failed or is complete

Source: "Amazon ECS services" in the ECS Developer Guide. Unlike on AWS, the scheduler knows nothing of load balancers
and health checks, it does not repeat the events of a steady state, and it looks only at services that have changed.
"""

from datetime import datetime, timedelta

from local.emulator.ecs.rollout import Plan, plan, staged, stalled
from local.emulator.ecs.service_deployments import STAGES
from local.emulator.ecs.service_rollouts import Rollouts
from local.emulator.ecs.services import Deployment, SimulatedService
from local.emulator.ecs.tasks import SimulatedTask
from local.emulator.errors import AwsError

# "Service throttle logic" in the ECS Developer Guide: the time between restarts grows up to 27 minutes.
_LONGEST_WAIT = timedelta(minutes=27)
_IMPAIRED = 3  # failures in a row; AWS does not document the number
_BATCH = 10  # tasks per RunTask
_HELP = "For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
_REFUSALS = {
    "RESOURCE:MEMORY": "has insufficient memory available",
    "RESOURCE:CPU": "has insufficient CPU units available",
}


class ServiceScheduler(Rollouts):
    """Services on the clock of the tasks. `Agenda` describes the parameters of the constructor."""

    # ── time ──

    def next_due(self) -> datetime | None:
        """Return the time of the next change of a task or look at a service, or None."""
        with self._lock:
            dues = [self._due_task(), *(service.due for service in self._services.values())]
            return min((due for due in dues if due is not None), default=None)

    def _due_task(self) -> datetime | None:
        return super().next_due()

    def _carry_out(self, due: datetime) -> None:
        if self._due_task() == due:
            super()._carry_out(due)
        else:
            self._look_at(next(each for each in self._services.values() if each.due == due), due)

    def _changed(self, task: SimulatedTask, at: datetime) -> None:
        super()._changed(task, at)
        service = self._service_of(task)
        if service is None:
            return
        deployment = service.deployment(task.started_by)
        if deployment is not None and task.last_status == task.desired_status == "RUNNING":
            deployment.failed_tasks, deployment.proven = 0, True
            service.forgive()
        elif deployment is not None and task.last_status == "STOPPED" and task.stop_code == "TaskFailedToStart":
            self._count_failure(service, deployment, at)
            if service.failures >= _IMPAIRED and deployment is service.primary:
                message = f"is unable to consistently start tasks successfully. {_HELP}"
                self._complain(service, message, "WARN", "SERVICE_TASK_START_IMPAIRED", at)
        self._wake(service, at)

    def _forget(self, task: SimulatedTask) -> None:
        super()._forget(task)
        service = self._service_of(task)
        if service is not None and task.live:
            assert self._time is not None
            self._wake(service, self._time)

    def _deregistration(self, task: SimulatedTask) -> timedelta:
        service = self._service_of(task)
        return self._deregistration_delay if service and service.details.get("loadBalancers") else timedelta()

    def _service_of(self, task: SimulatedTask) -> SimulatedService | None:
        name = task.group.removeprefix("service:")
        return None if name == task.group else self._services.get((task.cluster.arn, name))

    # ── one look at a service ──

    def _look_at(self, service: SimulatedService, at: datetime) -> None:
        service.due = None
        if service.status == "ACTIVE":
            self._end_failed_deployment(service, at)
            self._progress(service, at)
            self._follow(self._plan(service), service, at)
            self._conclude(service, at)
        elif service.status == "DRAINING":
            self._drain(service, at)

    def _plan(self, service: SimulatedService) -> Plan:
        new, replaced = self._counts(service)
        if service.primary.rollout_state == "FAILED":
            return stalled(service.desired_count, new, replaced)
        current = service.current
        if current.staged and current.stage != STAGES[-1]:
            starts = STAGES.index(current.stage) >= STAGES.index("SCALE_UP")
            return staged(service.desired_count, new, replaced, starts=starts)
        limits = service.deployment_configuration
        minimum, maximum = int(limits["minimumHealthyPercent"]), int(limits["maximumPercent"])
        return plan(service.desired_count, minimum, maximum, new, replaced)

    def _follow(self, steps: Plan, service: SimulatedService, at: datetime) -> None:
        wanted = [task for task in self._tasks_of(service) if task.live and task.desired_status == "RUNNING"]
        # Tasks that do not run yet are stopped first.
        wanted.sort(key=lambda task: task.last_status == "RUNNING")
        new = [task for task in wanted if task.started_by == service.primary.id]
        replaced = [task for task in wanted if task.started_by != service.primary.id]
        self._stop_tasks(service, [*new[: steps.stop], *replaced[: steps.stop_replaced]], at)
        if steps.start and service.not_before is not None and at < service.not_before:
            service.look_by(service.not_before)
        elif steps.start:
            self._start_tasks(service, steps.start, at)

    def _stop_tasks(self, service: SimulatedService, tasks: list[SimulatedTask], at: datetime) -> None:
        for task in tasks:
            reason = f"Scaling activity initiated by (deployment {task.started_by})"
            self._begin_stop(task, "ServiceSchedulerInitiated", reason, at)
        if tasks:
            service.steady = False
            self._say(service, f"has stopped {len(tasks)} running tasks: {_listed(tasks)}.", at)

    def _start_tasks(self, service: SimulatedService, count: int, at: datetime) -> None:
        service.steady = False
        if service.blocked:
            self._not_placed(service, "Reason: no capacity is available.", "RESOURCE:MEMORY", at)
            return
        started: list[SimulatedTask] = []
        while count > len(started):
            batch = min(_BATCH, count - len(started))
            try:
                answer = self._run_task(service.run_parameters(service.primary, batch), service.region, at)
            except AwsError as error:
                self._not_placed(service, f"Reason: {error.message}", error.message, at)
                break
            started += [self._tasks[task["taskArn"]] for task in answer["tasks"]]
            if answer["failures"]:
                closest = answer["failures"][0]
                instance, reason = closest["arn"].rpartition("/")[2], closest["reason"]
                why = _REFUSALS.get(reason, f'encountered error "{reason}"')
                self._not_placed(service, f"The closest matching (container-instance {instance}) {why}.", reason, at)
                break
        if started:
            self._say(service, f"has started {len(started)} tasks: {_listed(started)}.", at)

    def _not_placed(self, service: SimulatedService, why: str, reason: str, at: datetime) -> None:
        self._count_failure(service, service.primary, at)
        message = f"was unable to place a task because no container instance met all of its requirements. {why} {_HELP}"
        self._complain(service, message, "ERROR", "SERVICE_TASK_PLACEMENT_FAILURE", at, reason=reason)

    def _count_failure(self, service: SimulatedService, deployment: Deployment, at: datetime) -> None:
        """Count a task that could not be placed or started, and let the scheduler wait before the next one."""
        self._count_failed_task(service, deployment, at)
        service.failures += 1
        wait = self._service_delay * 2 ** min(service.failures, 16)
        service.not_before = at + min(wait, _LONGEST_WAIT)
        service.look_by(service.not_before)

    # ── ends ──

    def _drain(self, service: SimulatedService, at: datetime) -> None:
        """Stop the tasks of a deleted service. The service is INACTIVE when none is left."""
        live = [task for task in self._tasks_of(service) if task.live]
        self._stop_tasks(service, [task for task in live if task.desired_status == "RUNNING"], at)
        if not live:
            # "When you delete a service, Amazon ECS deletes the corresponding service deployments."
            service.status, service.deployments, service.history = "INACTIVE", [], []


def _listed(tasks: list[SimulatedTask]) -> str:
    return " ".join(f"(task {task.id})" for task in tasks)
