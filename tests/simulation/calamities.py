"""Failures that last for minutes or hours: lost hosts, stuck and absent tasks, refused calls, malformed items."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from local.emulator.ecs import SimulatedTask
from simulation.setup import CLUSTER, HOSTS

if TYPE_CHECKING:
    from simulation.world import World

SWEEPS = (*(timedelta(minutes=10),) * 6, *(timedelta(minutes=2),) * 13)
"""The times between sweeps in the phase of hours. It is long enough for a step on whose task ECS works to be given up:
ten attempts after an hour."""


class Calamities:
    """Changes the cluster and the items while callers send requests. `containers` are the ids that callers use."""

    def __init__(self, world: "World", containers: list[str], rng: random.Random) -> None:
        self.world = world
        self._containers = containers
        self._rng = rng

    def schedule(self, start: datetime, span: float) -> None:
        """Schedule what happens during the requests of callers."""
        settings, rng, scheduler = self.world.hostility, self._rng, self.world.scheduler
        happens: list[Callable[[], None]] = []
        if settings.refused_call:
            happens.append(self._refuses)
        if settings.hosts_lost:
            happens.append(self._host_is_lost)
        happens += [self._task_is_absent] * settings.absences
        for one in happens:
            scheduler.at(start + timedelta(seconds=rng.choice((0.0, rng.uniform(0, span)))), one)
        for _ in range(30 if settings.malformed else 0):
            scheduler.at(start + timedelta(seconds=rng.uniform(0, span + 60)), self._item_is_damaged)

    def calm_down(self) -> None:
        """Let all hosts come back, all tasks end that were asked to, and all calls be answered."""
        self.world.ecs.recover()
        for host in HOSTS:
            self.world.ssm.connect(host)
        self.world.refusing = False
        self.world.after_effect()

    def _live(self) -> list[SimulatedTask]:
        return [task for task in self.world.ecs.live() if task.started_by in self._containers]

    def _refuses(self) -> None:
        self.world.refusing = True
        self.world.note("world", f"calls are refused from now on: {self.world.hostility.refused_call}")

    def _host_is_lost(self) -> None:
        hosts = [task.instance.ec2_instance_id for task in self._live() if task.instance is not None]
        host = self._rng.choice(hosts or HOSTS)
        self.world.ecs.lose(host)
        self.world.ssm.disconnect(host)
        self.world.note("world", f"the host {host} is lost")
        self.world.after_effect()

    def _task_is_absent(self) -> None:
        """Hide a known task for minutes, so that it counts as gone."""
        if not self.world.faults.on:
            return
        # The drift sweep lists the tasks of this cluster only.
        live = [task for task in self._live() if task.started_at is not None and task.cluster.name == CLUSTER]
        if not live:
            return
        task, seconds = self._rng.choice(live), self._rng.uniform(60, 600)
        self.world.hostile_ecs.hide(task.arn, seconds)
        self.world.note("world", f"no answer contains the task {task.id[-6:]} for {round(seconds)} s")

    def _item_is_damaged(self) -> None:
        """Make the attribute that names the last command to a host unreadable, as another version might."""
        for container_id in self.world.ledger.pending():
            item = self.world.dynamodb.tables["containers"].items[(container_id,)]
            operation = item["operation"]["M"]
            if "sent_command" in operation and "S" in operation["sent_command"]:
                # Replaced, not changed in place: the ledger and the journal of the table keep the item before.
                damaged = {"M": operation | {"sent_command": {"S": "malformed"}}}
                self.world.dynamodb.tables["containers"].items[(container_id,)] = item | {"operation": damaged}
                self.world.malformed.add(container_id)
                self.world.note("world", f"the pending operation of {container_id[-2:]} is damaged")
