"""The interface of engines, which run the containers of tasks."""

from typing import Protocol

from local.emulator.ecs.tasks import SimulatedContainer, SimulatedTask


class NotStartedError(Exception):
    """A container of a task could not be started. The message is the reason, in the format of ECS."""

    def __init__(self, container: str, reason: str) -> None:
        super().__init__(reason)
        self.container = container


class Engine(Protocol):
    """Runs the containers of tasks.

    The simulation calls it while holding its lock, so only `launch` blocks. The engine reports results to the
    simulation from any thread: `started` or `not_started`, then `exited` for each container.
    """

    def start(self, task: SimulatedTask) -> None:
        """Create and start the containers of a task in the background."""

    def launch(self, task: SimulatedTask, paused: bool) -> dict[str, str]:
        """Create and start the containers of a task, and optionally pause them.

        Returns:
            The Docker ids by container name.

        Raises:
            NotStartedError: A container could not be started.
        """

    def stop(self, task: SimulatedTask, container: SimulatedContainer) -> None:
        """Send SIGTERM to a container, and SIGKILL after its stopTimeout."""

    def remove(self, task: SimulatedTask) -> None:
        """Kill and remove the containers of a task, without further reports."""
