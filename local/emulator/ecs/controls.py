"""Controls of the simulation for tests, in addition to the ECS API."""

from local.emulator.ecs.catalog import REGION, Instance
from local.emulator.ecs.engine import NotStartedError
from local.emulator.ecs.placement import Placement
from local.emulator.ecs.tasks import SimulatedTask
from local.emulator.errors import AwsError


class Controls(Placement):
    """Inspects and ends tasks, and changes container instances."""

    def tasks(self, cluster: str | None = None) -> list[SimulatedTask]:
        """Return the tasks that are not forgotten, in order of creation, optionally of one cluster (name or ARN)."""
        with self._lock:
            self._tick()
            return [
                task
                for task in self._tasks.values()
                if cluster is None or cluster in (task.cluster.name, task.cluster.arn)
            ]

    def live(self, started_by: str | None = None) -> list[SimulatedTask]:
        """Return the tasks that have not stopped, optionally of one startedBy."""
        return [task for task in self.tasks() if task.live and started_by in (None, task.started_by)]

    def task(self, task_arn: str) -> SimulatedTask:
        """Return a task by its ARN. Raises KeyError for a task that is unknown or forgotten."""
        with self._lock:
            self._tick()
            return self._tasks[task_arn]

    def exit(self, task_arn: str, exit_code: int, container: str | None = None) -> None:
        """Let a running container exit now: the named container, or the first essential container."""
        with self._lock:
            now = self._tick()
            task = self._tasks[task_arn]
            for candidate in task.containers:
                if candidate.running and (candidate.name == container if container else candidate.essential):
                    self._end(task, candidate, exit_code, now)
                    return
            raise ValueError(f"no such container is running in {task_arn}")

    def come_up(self, task_arn: str) -> None:
        """Make the next step of a task's start due now."""
        with self._lock:
            now = self._tick()
            task = self._tasks[task_arn]
            if task.step_at is not None:
                task.step_at = now
                self._schedule(task)
                self._tick()

    def interrupt(self, task_arn: str) -> None:
        """Interrupt a Spot task: it is asked to stop."""
        with self._lock:
            now = self._tick()
            reason = "Your Spot Task was interrupted."
            self._begin_stop(self._tasks[task_arn], "SpotInterruption", reason, now)

    def add_capacity_provider(self, name: str, kind: str) -> None:
        """Add a capacity provider of the type EC2_AUTOSCALING or MANAGED_INSTANCES to all clusters."""
        self._catalog.add_capacity_provider(name, kind)

    def forget(self, task_arn: str) -> None:
        """Forget a task, as ECS does an hour after it stopped. A live task disappears too, without an event."""
        with self._lock:
            self._tick()
            self._forget(self._tasks[task_arn])

    def hide(self, task_arn: str) -> None:
        """Hide a task from DescribeTasks and StopTask, as eventual consistency may. The task continues."""
        with self._lock:
            self._hidden.add(task_arn)

    def show(self, task_arn: str) -> None:
        """Show a hidden task to DescribeTasks and StopTask again."""
        with self._lock:
            self._hidden.discard(task_arn)

    def set_capacity(self, ec2_instance_id: str, memory: int | None = None, cpu: int | None = None) -> None:
        """Change the total resources of an instance (MiB, CPU units). None restores the registered resources."""
        with self._lock:
            self._capacity[ec2_instance_id] = (cpu, memory)

    def set_agent_connected(self, ec2_instance_id: str, connected: bool) -> None:
        """Connect or disconnect the agent of an instance. An instance with a disconnected agent accepts no tasks."""
        with self._lock:
            (self._agents_lost.discard if connected else self._agents_lost.add)(ec2_instance_id)

    def add_instance(
        self,
        cluster: str,
        ec2_instance_id: str | None = None,
        cpu: int = 4096,
        memory: int = 7482,
        region: str = REGION,
        attributes: dict[str, str] | None = None,
    ) -> str:
        """Register a container instance and return its EC2 id. An id of the form mi-… makes it an external instance."""
        with self._lock:
            found = self._cluster({"cluster": cluster}, region)
            ec2_instance_id = ec2_instance_id or f"i-{self._hex(17)}"
            arn = f"arn:aws:ecs:{region}:{self._account}:container-instance/{found.name}/{self._hex(32)}"
            known = {"ecs.availability-zone": f"{region}a", "ecs.os-type": "linux", **(attributes or {})}
            instance = Instance(arn, ec2_instance_id, found.arn, cpu, memory, attributes=known)
            self._catalog.add_instance(instance, region)
            return ec2_instance_id

    def terminate_instance(self, ec2_instance_id: str, region: str = REGION) -> None:
        """Terminate an instance: it leaves its cluster, and its tasks stop immediately, without exit codes."""
        with self._lock:
            now = self._tick()
            for instance in self._catalog.instances(region):
                if instance.ec2_instance_id == ec2_instance_id:
                    self._catalog.remove_instance(instance, region)
            for task in list(self._tasks.values()):
                if task.live and task.instance and task.instance.ec2_instance_id == ec2_instance_id:
                    task.stop_code = "TerminationNotice"
                    task.stopped_reason = f"Host EC2 (instance {ec2_instance_id}) terminated."
                    task.stopping_at = task.stopping_at or now
                    self._stopped(task, now)
                    self._remove_for_real(task)

    def adopt_running(
        self,
        cluster: str,
        task_definition: str,
        started_by: str | None = None,
        ec2_instance_id: str | None = None,
        launch_type: str = "EC2",
        region: str = REGION,
        task_id: str | None = None,
        tags: list[dict[str, str]] | None = None,
        paused: bool = False,
    ) -> SimulatedTask:
        """Create a task that is RUNNING immediately, without events, as if it had existed before.

        Raises AwsError, and NotStartedError if an engine cannot start it.
        ec2_instance_id: The host; by default the first instance of the cluster, even if it is full.
        """
        with self._lock:
            now = self._tick()
            found = self._cluster({"cluster": cluster}, region)
            definition = self._definition({"taskDefinition": task_definition}, region)
            instance = None
            if launch_type != "FARGATE":
                hosts = [
                    host
                    for host in self.instances(region)
                    if host.cluster_arn == found.arn and ec2_instance_id in (None, host.ec2_instance_id)
                ]
                if not hosts:
                    raise AwsError("InvalidParameterException", "No Container Instances were found in your cluster.")
                instance = hosts[0]
            parameters = {"startedBy": started_by, "tags": tags}
            task = self._create(found, definition, launch_type, instance, parameters, region, now, task_id)
            task.step_at = None
            task.pull_started_at = task.connectivity_at = now
            try:
                docker_ids = self._engine.launch(task, paused) if self._engine else None
            except NotStartedError:
                del self._tasks[task.arn]
                raise
            self._running(task, now, docker_ids)
            for container in task.containers:
                container.paused = paused
            # The number of changes of a task that becomes RUNNING.
            task.version = 3 if launch_type == "FARGATE" else 2
            self._schedule(task)
            return task
