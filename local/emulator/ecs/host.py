"""The effects of host commands on containers."""

from datetime import datetime
from typing import NamedTuple

from local.emulator.ecs.life import TaskLife
from local.emulator.ecs.tasks import SIGKILLED, SimulatedContainer, SimulatedTask


class HostEffect(NamedTuple):
    """The effect of a command on a host: the Docker ids of the changed containers, or the reason if there are none."""

    changed: list[str]
    error: str | None = None


class HostCommands(TaskLife):
    """Pauses, unpauses and kills containers, as `docker` on their host would."""

    def host_command(
        self, ec2_instance_id: str, action: str, runtime_ids: list[str], at: datetime | None = None
    ) -> HostEffect:
        """Pause, unpause or kill the containers of a task on one host.

        A container that has exited or does not exist there is skipped. Repeats are harmless.

        Args:
            ec2_instance_id: The host.
            action: `pause`, `unpause` or `kill`.
            runtime_ids: Docker ids of the containers.
            at: The time of the command; by default now.

        Returns:
            The changed containers, or the reason if none was changed: pause and unpause need a running container.
        """
        with self._lock:
            self.advance(at or self._now())
            assert self._time is not None
            if action not in ("pause", "unpause", "kill"):
                return HostEffect([], f"unknown action: {action}")
            found = {
                container.runtime_id: (task, container)
                for task in self._tasks.values()
                if task.instance is not None and task.instance.ec2_instance_id == ec2_instance_id
                for container in task.containers
                if container.running
            }
            chosen = [runtime_id for runtime_id in dict.fromkeys(runtime_ids) if runtime_id in found]
            if not chosen and action != "kill":
                return HostEffect([], "none of the containers is running")
            changed = []
            for runtime_id in chosen:
                task, container = found[runtime_id]
                if container.running and self._apply(action, task, container, self._time):
                    changed.append(runtime_id)
                self._schedule(task)
            return HostEffect(changed)

    def _apply(self, action: str, task: SimulatedTask, container: SimulatedContainer, at: datetime) -> bool:
        """Act on a running container. Returns whether its state changed."""
        if action == "kill":
            self._end(task, container, SIGKILLED, at)
        elif container.paused == (action == "pause"):
            return False
        elif action == "pause":
            self._pause(container, at)
        else:
            self._unpause(container, at)
        return True

    def _pause(self, container: SimulatedContainer, at: datetime) -> None:
        container.paused = True
        if container.exits_at is not None:
            container.exit_left = container.exits_at - at
        container.exits_at = container.terminates_at = None

    def _unpause(self, container: SimulatedContainer, at: datetime) -> None:
        container.paused = False
        if container.exit_left is not None:
            container.exits_at, container.exit_left = at + container.exit_left, None
        # A SIGTERM that was sent while the container was frozen arrives now.
        if container.killed_at is not None and not container.ignores_sigterm:
            container.terminates_at = at + self._stop_delay
