"""The hosts of tasks: the effects of commands on them, and hosts and processes that do not react for hours."""

import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from local.emulator.ecs import SimulatedContainer, SimulatedTask, TaskSimulation
from simulation.hostility import Reached


class Effects(TaskSimulation):
    """The simulated tasks. Reports the changes that commands make on hosts.

    A task on a lost host neither starts nor stops until the host is back. A stuck task does not stop either, although
    its host is reachable: its processes do not even end by SIGKILL.

    Attributes:
        changed: Called with each task that a command has changed, and the change.
        stuck_rate: The probability that a task that is asked to stop is stuck.
        lost: The ids of lost hosts.
        stuck: The ARNs of stuck tasks.
    """

    changed: Callable[[SimulatedTask, str], None] = lambda *_: None
    reached: Callable[[Reached], None] = lambda *_: None
    stuck_rate = 0.0
    chances: random.Random

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.lost: set[str] = set()
        self.stuck: set[str] = set()
        self.chances = random.Random(0)

    def host_command(self, *arguments: Any, **named: Any) -> Any:
        """Change processes like the base class, and call `changed` with each task and the change."""
        before = {arn: _state(task) for arn, task in self._tasks.items()}
        result = super().host_command(*arguments, **named)
        for arn, state in before.items():
            task = self._tasks.get(arn)
            if task is not None and (now := _state(task)) != state:
                if now[0] < state[0]:
                    self.changed(task, "kill")
                elif now[1] != state[1]:
                    self.changed(task, "pause" if now[1] > state[1] else "unpause")
        return result

    # --- tasks that do not stop --------------------------------------------------------------------------------------

    def lose(self, ec2_instance_id: str) -> None:
        """Lose a host: its agent is disconnected, and its tasks stay as they are."""
        self.lost.add(ec2_instance_id)
        self.set_agent_connected(ec2_instance_id, connected=False)
        for task in self._tasks.values():
            if self._is_lost(task) and task.live:
                self._hold_still(task)

    def recover(self) -> None:
        """Let all lost hosts come back, and all stuck processes end."""
        for host in self.lost:
            self.set_agent_connected(host, connected=True)
        held = [task for task in self._tasks.values() if self._stays(task) and task.live]
        self.lost.clear()
        self.stuck.clear()
        self.stuck_rate = 0.0
        now = self._tick()
        for task in held:
            if task.desired_status != "STOPPED":
                task.step_at = now if task.last_status in ("PROVISIONING", "PENDING") else None
                if any(container.start == "never" for container in task.containers):
                    task.step_at = None
            elif task.started_at is None:
                task.stopped_unstarted_at = now
            else:
                for container in task.containers:
                    container.killed_at = now if container.running else None
            self._schedule(task)

    def _is_lost(self, task: SimulatedTask) -> bool:
        return task.instance is not None and task.instance.ec2_instance_id in self.lost

    def _stays(self, task: SimulatedTask) -> bool:
        return self._is_lost(task) or task.arn in self.stuck

    def _hold_still(self, task: SimulatedTask) -> None:
        if task.desired_status != "STOPPED" or task.last_status != "RUNNING":
            task.step_at = None
        task.stopped_unstarted_at = None
        for container in task.containers:
            container.killed_at = container.terminates_at = container.exits_at = None

    def _begin_stop(self, task: SimulatedTask, code: str, reason: str, at: datetime) -> None:
        asks = task.live and task.desired_status != "STOPPED"
        if asks and task.started_at is not None and self.stuck_rate and self.chances.random() < self.stuck_rate:
            self.stuck.add(task.arn)
        super()._begin_stop(task, code, reason, at)
        if asks and self._stays(task):
            self._hold_still(task)
            self._schedule(task)
            self.reached(Reached.HOST_LOST if self._is_lost(task) else Reached.STUCK_STOPPING)

    def _apply(self, action: str, task: SimulatedTask, container: SimulatedContainer, at: datetime) -> bool:
        if self._stays(task) and action == "kill":
            return False
        return super()._apply(action, task, container, at)

    def _unpause(self, container: SimulatedContainer, at: datetime) -> None:
        super()._unpause(container, at)
        for task in self._tasks.values():
            if container in task.containers and self._stays(task):
                self._hold_still(task)


def _state(task: SimulatedTask) -> tuple[int, int]:
    """Return the number of running processes and the number of paused ones."""
    running = [process for process in task.containers if process.running]
    return len(running), sum(process.paused for process in running)
