"""What runs the containers of tasks for real."""

from typing import Protocol

from local.emulator.ecs.tasks import SimulatedContainer, SimulatedTask


class NotStartedError(Exception):
    """A container of a task could not be started; the message is Docker's reason, as ECS words it."""

    def __init__(self, container: str, reason: str) -> None:
        super().__init__(reason)
        self.container = container


class Engine(Protocol):
    """Runs the containers of tasks for real.

    Called with the simulation locked, so only `launch` waits. What comes of the others is told to the simulation, from
    any thread: `started` or `not_started`, then `exited` for each container.
    """

    def start(self, task: SimulatedTask) -> None:
        """Create and start the task's containers."""

    def launch(self, task: SimulatedTask, paused: bool) -> dict[str, str]:
        """The same, but wait, and then pause them if asked; their Docker ids by name. Raises NotStartedError."""

    def stop(self, task: SimulatedTask, container: SimulatedContainer) -> None:
        """Send a container SIGTERM, and SIGKILL after its stopTimeout."""

    def remove(self, task: SimulatedTask) -> None:
        """Kill what still runs of the task, and remove its containers. Nothing is told of it any more."""
