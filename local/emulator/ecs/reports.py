"""The reports of an engine on the containers that it runs."""

from local.emulator.ecs.life import TaskLife
from local.emulator.ecs.tasks import SimulatedContainer, SimulatedTask


class EngineReports(TaskLife):
    """Handles the reports of the engine. Thread-safe."""

    def started(self, task_arn: str, docker_ids: dict[str, str]) -> bool:
        """Report that all containers of a task have started, with their Docker ids by name.

        Returns:
            False if the task has ended in the meantime, so that the containers must be removed.
        """
        with self._lock:
            now = self._tick()
            task = self._tasks.get(task_arn)
            if task is None or not task.live:
                return False
            if task.desired_status == "STOPPED":
                # The task was asked to stop before it was running.
                self._stopped(task, now)
                return False
            self._running(task, now, docker_ids)
            self._changed(task, now)
            for container in task.containers:
                if container.early_exit is not None:
                    self.exited(task_arn, container.name, *container.early_exit)
            return True

    def not_started(self, task_arn: str, container: str, reason: str) -> None:
        """Report that a container of a task could not be started, and that none of its containers is running."""
        with self._lock:
            now = self._tick()
            task = self._tasks.get(task_arn)
            if task is None or not task.live:
                return
            if task.desired_status == "RUNNING":
                task.desired_status = "STOPPED"
                task.stop_code, task.stopped_reason = "TaskFailedToStart", "Task failed to start"
                task.stopping_at = now
            self._named(task, container).reason = reason
            self._stopped(task, now)

    def exited(self, task_arn: str, container: str, exit_code: int, reason: str | None = None) -> None:
        """Record the exit of a container."""
        with self._lock:
            now = self._tick()
            task = self._tasks.get(task_arn)
            if task is None or not task.live:
                return
            found = self._named(task, container)
            if found.running:
                found.reason = reason
                self._end(task, found, exit_code, now)
            elif task.started_at is None:
                found.early_exit = (exit_code, reason)

    def frozen(self, task_arn: str, container: str, paused: bool) -> None:
        """Report that a container was paused or unpaused."""
        with self._lock:
            task = self._tasks.get(task_arn)
            if task is not None:
                self._named(task, container).paused = paused

    @staticmethod
    def _named(task: SimulatedTask, name: str) -> SimulatedContainer:
        return next(container for container in task.containers if container.name == name)
