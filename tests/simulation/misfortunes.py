"""Failures in the cluster during a run, and scheduled stops."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from local.emulator.ecs import SimulatedTask
from simulation.delivery import Delivery
from simulation.hostility import Reached
from simulation.setup import HOSTS, OTHER_PROJECT, PROJECT

if TYPE_CHECKING:
    from simulation.world import World

_EXIT_CODES = (0, 1, 137)


class Misfortunes:
    """Changes the cluster while callers send requests. `containers` are the ids that callers use."""

    def __init__(self, world: "World", delivery: Delivery, containers: list[str], rng: random.Random) -> None:
        self.world = world
        self._delivery = delivery
        self._containers = containers
        self._rng = rng
        self.gone: set[str] = set()

    def schedule(self, start: datetime, span: float) -> None:
        """Schedule the misfortunes of a run."""
        rng, settings = self._rng, self.world.hostility
        happens: list[Callable[[], None]] = [
            rng.choice(
                (
                    self._task_exits,
                    self._task_exits,
                    self._task_is_interrupted,
                    self._capacity_is_gone,
                    self._host_is_out_of_reach,
                    self._agent_is_lost,
                    self._command_fails,
                    self._server_is_terminated,
                    self._stops_are_scheduled,
                )
            )
            for _ in range(rng.choice((0, 0, 1, 1, 2, 4)))
        ]
        if settings.schedules_odd or settings.project_changes:
            happens += [self._stops_are_scheduled] * rng.choice((1, 2))
        if settings.runtime_changes:
            happens += [self._runtime_is_changed] * 4
        if settings.unreadable and rng.random() < 0.3:
            happens.append(self._server_is_terminated)
        if not settings.failures_remembered:
            happens.append(self._capacity_is_gone)
        for one in happens:
            self.world.scheduler.at(start + timedelta(seconds=rng.uniform(0, span)), one)

    def calm_down(self) -> None:
        """Restore everything that can be restored."""
        self.restore_ecs()
        for host in HOSTS:
            self.world.ssm.connect(host)
        self.world.ssm._forced.clear()

    def restore_ecs(self) -> None:
        """Restore capacity and container agents."""
        self._restore_capacity()
        for host in HOSTS:
            self.world.ecs.set_agent_connected(host, connected=True)

    # --- tasks and hosts -------------------------------------------------------------------------------------------

    def _happened(self, event: str, *more: Any) -> None:
        self.world.note("world", event, *more)
        self.world.stats[f"world: {event}"] += 1
        self.world.after_effect()

    def _live(self) -> list[SimulatedTask]:
        return self.world.ecs.live()

    def _task_exits(self) -> None:
        running = [task for task in self._live() if any(c.running and c.essential for c in task.containers)]
        if running:
            task, code = self._rng.choice(running), self._rng.choice(_EXIT_CODES)
            self.world.ecs.exit(task.arn, code)
            self._happened("a task exits", f"{task.id[-6:]} with {code}")

    def all_tasks_exit(self) -> None:
        """Make every running task exit."""
        for task in self._live():
            if any(process.running and process.essential for process in task.containers):
                self.world.ecs.exit(task.arn, self._rng.choice(_EXIT_CODES))
        self._happened("all tasks exit")

    def _task_is_interrupted(self) -> None:
        if live := self._live():
            task = self._rng.choice(live)
            self.world.ecs.interrupt(task.arn)
            self._happened("a task is interrupted", task.id[-6:])

    def _capacity_is_gone(self) -> None:
        for host in HOSTS:
            self.world.ecs.set_capacity(host, memory=0)
        self._happened("no host has capacity left")
        self._later(self._restore_capacity)

    def _restore_capacity(self) -> None:
        for host in HOSTS:
            self.world.ecs.set_capacity(host)

    def _host_is_out_of_reach(self) -> None:
        host = self._rng.choice(HOSTS)
        self.world.ssm.disconnect(host)
        self._happened("a host is disconnected from Systems Manager")
        self._later(lambda: self.world.ssm.connect(host))

    def _agent_is_lost(self) -> None:
        host = self._rng.choice(HOSTS)
        self.world.ecs.set_agent_connected(host, connected=False)
        self._happened("a host's ECS agent is disconnected")
        self._later(lambda: self.world.ecs.set_agent_connected(host, connected=True))

    def _command_fails(self) -> None:
        status = self._rng.choice(("Failed", "Failed", "TimedOut", "DeliveryTimedOut", "Undeliverable"))
        code = self._rng.choice((1, 2))
        # The script reverts its changes before it exits with 1, and an undelivered command has no effect.
        may_act = (status == "Failed" and code != 1) or status == "TimedOut"
        self.world.ssm.fail_next(1, status, code, after_effect=may_act and self._rng.random() < 0.5)
        self._happened("a command fails", f"{status} {code}")

    def ssm_is_down(self) -> None:
        """Make Systems Manager answer with errors for some seconds."""
        self.world.ssm_down_until = self.world.scheduler.now + timedelta(seconds=self._rng.choice((5.0, 20.0, 60.0)))
        self._happened("Systems Manager is unavailable")

    def _server_is_terminated(self) -> None:
        host = self._rng.choice(HOSTS)
        if self.gone or host in self.gone:
            return
        self.gone.add(host)
        at = self.world.clock.now()
        self.world.ecs.terminate_instance(host)
        self._happened("a server is terminated", host)
        self._delivery.send("server", lambda: self.world.servers.terminated(host, at), may_be_lost=False)

    def _later(self, restore: Callable[[], Any]) -> None:
        self.world.later(self._rng.choice((1.0, 30.0, 300.0)), restore)

    # --- manual changes ---------------------------------------------------------------------------------------------

    def _runtime_is_changed(self) -> None:
        """Change the revision of a task definition while an operation is pending, as an administrator might."""
        if not (pending := self.world.ledger.pending()) or self._rng.random() >= self.world.hostility.runtime_changes:
            return
        container_id = self._rng.choice(pending)
        runtime = self.world.ledger.containers[container_id]["runtime"]
        definition = f"{runtime['task_definition'].split(':')[0]}:1"
        self._update(container_id, "SET runtime.task_definition = :text", {":text": {"S": definition}})
        self._happened("a container's task definition is changed", container_id[-2:])

    def _leaves_project(self, container_id: str) -> None:
        container = self.world.ledger.containers[container_id]
        if "operation" in container:
            return
        live = ", live_project_id = :project" if "live_project_id" in container else ""
        values = {":project": {"S": OTHER_PROJECT}, ":generation": {"N": str(container.get("generation", 0) + 1)}}
        self._update(container_id, f"SET project_id = :project, generation = :generation{live}", values)
        self._happened("a container leaves its project", container_id[-2:])
        self.world.moved.add(container_id)

    def _update(self, container_id: str, expression: str, values: dict[str, Any]) -> None:
        self.world.dynamodb.handle(
            "UpdateItem",
            {
                "TableName": "containers",
                "Key": {"id": {"S": container_id}},
                "UpdateExpression": expression,
                "ExpressionAttributeValues": values,
            },
        )

    # --- scheduled stops -------------------------------------------------------------------------------------------

    def _stops_are_scheduled(self) -> None:
        rng, world, settings = self._rng, self.world, self.world.hostility
        number, time = world.stats["world: a stop is scheduled"], world.scheduler.now
        project = rng.choice((None, PROJECT))
        odd = rng.choice(("late", "late", "twice", "twice", "hours")) if rng.random() < settings.schedules_odd else ""
        seconds = 0.0 if odd != "late" else rng.uniform(10, 3000)
        seconds = rng.uniform(1.4, 5) * 3600 if odd == "hours" else seconds
        leaves = rng.random() < settings.project_changes
        self._happened("a stop is scheduled", f"{project} {odd}")
        name = f"schedule-{number}"
        world.ledger.scheduled[name] = (time, project)
        if leaves:
            world.later(seconds + rng.uniform(0, 1.2), lambda: self._leaves_project(rng.choice(self._containers)))
        self._deliver_at(seconds, name, project, time, Reached.SCHEDULE_LATE if odd == "hours" else None)
        if odd == "twice":
            self._deliver_at(rng.choice((0.1, 30, 300, 3000)), name, project, time, Reached.SCHEDULE_TWICE)

    def _deliver_at(
        self, seconds: float, name: str, project: str | None, time: datetime, counts_as: Reached | None
    ) -> None:
        given: dict[str, Any] = {"project_id": project} if project else {"all": True}
        world = self.world

        def run() -> Any:
            if counts_as is not None:
                world.reached(counts_as)
            wanted = world.versions.stop_input(world.library, given | {"time": time})
            return world.schedules.run(wanted, name, world.enough_time, now=world.clock.now())

        world.later(seconds, lambda: self._delivery.send(name, run, may_be_lost=False))
