"""The life cycle of tasks: their state changes over time, and the resulting events.

A task that ends passes states in which it is alive and in none of the counts of its service:

    RUNNING ──► DEACTIVATING ──► STOPPING ──► DEPROVISIONING ──► STOPPED

Source: "Amazon ECS task lifecycle" in the ECS Developer Guide. DEACTIVATING: "for tasks that are part of a service that
is configured to use multiple Elastic Load Balancing target groups, the target group deregistration occurs during this
state." DEPROVISIONING: "for tasks that use the awsvpc network mode, the elastic network interface needs to be detached
and deleted." Service in the ECS API reference: `runningCount` is "the number of tasks in the cluster that are in the
RUNNING state", and `pendingCount` of those "in the PENDING state".
"""

from datetime import datetime, timedelta
from typing import Any

from local.emulator.ecs.agenda import Agenda
from local.emulator.ecs.catalog import Cluster, Instance, TaskDefinition
from local.emulator.ecs.events import task_state_change
from local.emulator.ecs.tasks import SimulatedContainer, SimulatedTask, container_of


class TaskLife(Agenda):
    """Tasks that start, run and stop. `Agenda` describes the parameters of the constructor."""

    # ── steps ──

    def _create(
        self,
        cluster: Cluster,
        definition: TaskDefinition,
        launch_type: str,
        instance: Instance | None,
        parameters: dict[str, Any],
        region: str,
        now: datetime,
        task_id: str | None = None,
    ) -> SimulatedTask:
        task_id = task_id or self._hex(32)
        prefix = f"arn:aws:ecs:{region}:{self._account}"
        fargate = launch_type == "FARGATE"
        overrides = dict(parameters.get("overrides") or {})
        overrides.setdefault("containerOverrides", [])
        task = SimulatedTask(
            arn=f"{prefix}:task/{cluster.name}/{task_id}",
            region=region,
            cluster=cluster,
            definition=definition,
            launch_type=launch_type,
            instance=instance,
            created_at=now,
            group=str(parameters.get("group") or f"family:{definition.family}"),
            started_by=parameters.get("startedBy"),
            tags=list(parameters.get("tags") or []),
            overrides=overrides,
            attachments=self._network(parameters) if definition.network_mode == "awsvpc" else [],
            containers=[
                container_of(container, f"{prefix}:container/{cluster.name}/{task_id}/{self._hex(32)}")
                for container in definition.containers
            ],
            platform_version="1.4.0" if fargate else None,
            enable_execute_command=bool(parameters.get("enableExecuteCommand", False)),
            last_status="PROVISIONING" if fargate else "PENDING",
            step_at=now + (self._run_delay / 2 if fargate else self._run_delay),
        )
        if not fargate:
            task.pull_started_at = task.connectivity_at = now
            self._hold(task)
        self._tasks[task.arn] = task
        return task

    def _network(self, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        network = (parameters.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
        details = {
            "subnetId": next(iter(network.get("subnets") or []), "subnet-0"),
            "networkInterfaceId": f"eni-{self._hex(17)}",
            "privateIPv4Address": f"10.0.{self._rng.randrange(256)}.{self._rng.randrange(4, 255)}",
        }
        return [
            {
                "id": self._uuid(),
                "type": "ElasticNetworkInterface",
                "status": "ATTACHED",
                "details": [{"name": name, "value": value} for name, value in details.items()],
            }
        ]

    def _hold(self, task: SimulatedTask) -> None:
        """Keep a task PENDING: it never starts, or an engine will report its start."""
        if self._engine is not None or any(container.start == "never" for container in task.containers):
            task.step_at = None

    def _start_for_real(self, task: SimulatedTask) -> None:
        if self._engine is not None and task.last_status == "PENDING":
            self._engine.start(task)

    def _step(self, task: SimulatedTask, at: datetime) -> None:
        if not task.live:
            self._forget(task)
        elif task.stopped_unstarted_at is not None and task.stopped_unstarted_at <= at:
            self._stopped(task, at)
        elif task.step_at is not None and task.step_at <= at:
            self._next_status(task, at)
        else:
            for container in task.containers:
                end = container.next_end() if container.running else None
                if end is not None and end[0] <= at:
                    self._end(task, container, end[1], at)
                    return

    def _next_status(self, task: SimulatedTask, at: datetime) -> None:
        task.step_at = None
        if task.desired_status == "STOPPED" and task.last_status == "DEACTIVATING":
            task.last_status = "STOPPING"
            self._terminate_containers(task, at)
            self._changed(task, at)
        elif task.desired_status == "STOPPED" and (deregistration := self._deregistration(task)):
            task.last_status, task.step_at = "DEACTIVATING", at + deregistration
            self._changed(task, at)
        elif task.desired_status == "STOPPED":
            task.last_status = "DEACTIVATING" if task.launch_type == "FARGATE" else "STOPPING"
            self._changed(task, at)
        elif task.last_status == "PROVISIONING":
            task.last_status = "PENDING"
            task.pull_started_at = task.connectivity_at = at
            task.step_at = at + self._run_delay / 2
            self._hold(task)
            self._changed(task, at)
            self._start_for_real(task)
        elif failed := [container for container in task.containers if container.start == "fail"]:
            reason = (
                "CannotPullContainerError: Error response from daemon: "
                f"pull access denied for {failed[0].image}, repository does not exist or may require 'docker login'"
            )
            failed[0].reason = reason
            task.desired_status = "STOPPED"
            task.stop_code, task.stopped_reason = "TaskFailedToStart", reason
            task.stopping_at = at
            self._stopped(task, at)
        else:
            self._running(task, at)
            self._changed(task, at)

    def _running(self, task: SimulatedTask, at: datetime, docker_ids: dict[str, str] | None = None) -> None:
        """The task runs. docker_ids: of its containers by name, when they are real."""
        task.last_status = "RUNNING"
        task.pull_stopped_at = task.started_at = at
        for container in task.containers:
            container.last_status = "RUNNING"
            # Runtime ids on Fargate are not Docker ids, and have a different format.
            if task.launch_type == "FARGATE":
                container.runtime_id = f"{task.id}-{self._rng.randrange(10**9, 10**10)}"
            else:
                container.runtime_id = docker_ids[container.name] if docker_ids else self._hex(64)
            if container.exit_after is not None and docker_ids is None:
                container.exits_at = at + container.exit_after

    def _begin_stop(self, task: SimulatedTask, code: str, reason: str, at: datetime) -> None:
        """Ask a task to stop. A task that is stopping or has stopped keeps its first reason."""
        if not task.live or task.desired_status == "STOPPED":
            return
        task.desired_status = "STOPPED"
        task.stop_code, task.stopped_reason = code, reason
        task.stopping_at = at
        if task.last_status == "RUNNING":
            task.step_at = at + self._stop_delay / 2
            if not self._deregistration(task):
                self._terminate_containers(task, at)
        else:
            task.step_at = None
            # A start in progress cannot be cancelled. The task ends when the engine reports the result.
            if self._engine is None or task.last_status == "PROVISIONING":
                task.stopped_unstarted_at = at + self._stop_delay
        self._changed(task, at)

    def _deregistration(self, task: SimulatedTask) -> timedelta:  # noqa: ARG002  (tasks of services override it)
        """Return how long the processes of a task that is asked to stop run on, because it is deregistered first."""
        return timedelta()

    def _terminate_containers(self, task: SimulatedTask, at: datetime) -> None:
        """Send SIGTERM to the running containers, and SIGKILL after the stopTimeout."""
        for container in task.containers:
            if container.running and self._engine is not None:
                self._engine.stop(task, container)
            elif container.running:
                container.killed_at = at + container.stop_timeout
                # A frozen process handles the signal when it is thawed.
                if not container.ignores_sigterm and not container.paused:
                    container.terminates_at = at + self._stop_delay

    def _end(self, task: SimulatedTask, container: SimulatedContainer, code: int, at: datetime) -> None:
        """Record the exit of a container."""
        container.last_status = "STOPPED"
        container.exit_code = code
        container.paused = False
        container.exits_at = container.exit_left = container.terminates_at = container.killed_at = None
        if container.essential and task.desired_status == "RUNNING":
            task.desired_status = "STOPPED"
            task.stop_code = "EssentialContainerExited"
            task.stopped_reason = "Essential container in task exited"
            task.stopping_at = at
            self._terminate_containers(task, at)
        if any(other.running for other in task.containers):
            self._changed(task, at)
        else:
            task.execution_stopped_at = at
            if task.attachments and self._deprovision_delay:
                task.last_status, task.step_at = "DEPROVISIONING", None
                task.stopped_unstarted_at = at + self._deprovision_delay
                self._changed(task, at)
            else:
                self._stopped(task, at)

    def _stopped(self, task: SimulatedTask, at: datetime) -> None:
        task.last_status = task.desired_status = "STOPPED"
        task.step_at = task.stopped_unstarted_at = None
        task.stopped_at = at
        task.execution_stopped_at = task.execution_stopped_at or at
        for container in task.containers:
            container.last_status = "STOPPED"
        for attachment in task.attachments:
            attachment["status"] = "DELETED"
        self._changed(task, at)

    def _forget(self, task: SimulatedTask) -> None:
        del self._tasks[task.arn]
        self._remove_for_real(task)

    def _remove_for_real(self, task: SimulatedTask) -> None:
        if self._engine is not None:
            self._engine.remove(task)

    def _changed(self, task: SimulatedTask, at: datetime) -> None:
        """Increment the version of the task, and add its event to the outbox."""
        task.version += 1
        self._schedule(task)
        self._events.append(task_state_change(task, at, self._uuid(), self._account))
