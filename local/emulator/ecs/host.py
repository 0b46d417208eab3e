"""What a command on a host does to the containers there."""

from datetime import datetime

from local.emulator.ecs.life import TaskLife
from local.emulator.ecs.tasks import SIGKILLED, SimulatedContainer


class HostCommands(TaskLife):
    """Pauses, unpauses and kills containers, as `docker` on their host would."""

    def host_command(
        self, ec2_instance_id: str, action: str, runtime_ids: list[str], at: datetime | None = None
    ) -> str | None:
        """Pause, unpause or kill containers on one host, all of them or none; None, or what is wrong.

        Repeats are harmless. To pause or unpause, each container must run; one to kill may be gone already.
        at: when, by default now.
        """
        with self._lock:
            self.advance(at or self._now())
            assert self._time is not None
            found = {
                container.runtime_id: (task, container)
                for task in self._tasks.values()
                if task.instance is not None and task.instance.ec2_instance_id == ec2_instance_id
                for container in task.containers
                if container.running
            }
            for runtime_id in runtime_ids:
                if runtime_id not in found and action != "kill":
                    return f"Error response from daemon: container {runtime_id} is not running"
            chosen = [found[runtime_id] for runtime_id in dict.fromkeys(runtime_ids) if runtime_id in found]
            for task, container in chosen:
                match action:
                    case "pause":
                        self._pause(container, self._time)
                    case "unpause":
                        self._unpause(container, self._time)
                    case "kill":
                        if container.running:
                            self._end(task, container, SIGKILLED, self._time)
                    case _:
                        return f"unknown action: {action}"
                self._schedule(task)
            return None

    def _pause(self, container: SimulatedContainer, at: datetime) -> None:
        if container.paused:
            return
        container.paused = True
        if container.exits_at is not None:
            container.exit_left = container.exits_at - at
        container.exits_at = container.terminates_at = None

    def _unpause(self, container: SimulatedContainer, at: datetime) -> None:
        if not container.paused:
            return
        container.paused = False
        if container.exit_left is not None:
            container.exits_at, container.exit_left = at + container.exit_left, None
        # The SIGTERM that was sent while it was frozen arrives now.
        if container.killed_at is not None and not container.ignores_sigterm:
            container.terminates_at = at + self._stop_delay
