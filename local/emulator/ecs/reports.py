"""What an engine tells of the containers that it runs."""

from local.emulator.ecs.life import TaskLife
from local.emulator.ecs.tasks import SimulatedContainer, SimulatedTask


class EngineReports(TaskLife):
    """Takes what the engine tells, from any thread."""

    def started(self, task_arn: str, docker_ids: dict[str, str]) -> bool:
        """All containers of the task were started; their Docker ids by name. False: they are not wanted any more."""
        with self._lock:
            now = self._tick()
            task = self._tasks.get(task_arn)
            if task is None or not task.live:
                return False
            if task.desired_status == "STOPPED":
                # It was asked to stop before it ran.
                self._stopped(task, now)
                return False
            self._running(task, now, docker_ids)
            self._changed(task, now)
            for container in task.containers:
                if container.early_exit is not None:
                    self.exited(task_arn, container.name, *container.early_exit)
            return True

    def not_started(self, task_arn: str, container: str, reason: str) -> None:
        """A container of the task could not be started, and none of them runs."""
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
        """The process of a container has ended."""
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
        """A container was paused or unpaused."""
        with self._lock:
            task = self._tasks.get(task_arn)
            if task is not None:
                self._named(task, container).paused = paused

    @staticmethod
    def _named(task: SimulatedTask, name: str) -> SimulatedContainer:
        return next(container for container in task.containers if container.name == name)
