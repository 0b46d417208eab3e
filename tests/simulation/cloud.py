"""The simulated AWS of a run: tables, tasks and commands, and their answers."""

import random
import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from local import template
from local.emulator.ecs import SimulatedTask, StaticCatalog
from local.emulator.errors import AwsError
from local.emulator.ssm import CommandSimulation
from simulation import lifetime_checks
from simulation.alive import Call
from simulation.commands import CommandPlans
from simulation.dynamodb import DynamoDb, Item
from simulation.faults import Faults
from simulation.hostile_ecs import HostileEcs
from simulation.hostile_services import HostileServices, SlowServices, SlowTargets
from simulation.hostility import Hostility, Reached, ServiceHostility
from simulation.ledger import Ledger
from simulation.scheduler import Actor, Scheduler
from simulation.service_checks import ServiceChecks
from simulation.services import Services
from simulation.setup import CLUSTER
from simulation.wiring import DOCUMENT

TABLES = {
    "ContainersTable": "containers",
    "StatusLogsTable": "status-logs",
    "AccessTable": "access",
    "IdempotencyTable": "idempotency",
}


@cache
def _stack() -> template.Stack:
    return template.load()


@cache
def table_properties() -> dict[str, Any]:
    """Return the keys and indexes of the tables as the template declares them."""
    return {name: _stack().tables[logical_id] for logical_id, name in TABLES.items()}


class Cloud:
    """Answers the requests of actors, and reports their effects to the ledger."""

    _seed: str
    _chances: random.Random
    waiting: int  # scheduled calls of `later` that have not run
    hostility: Hostility
    scheduler: Scheduler
    faults: Faults
    ledger: Ledger
    stats: Counter[str]
    odd: dict[str, Reached]  # id of an item: the behaviour to count when it is read
    document: dict[str, Any]  # the content of the document of host commands
    ssm_down_until: datetime | None = None
    malformed: set[str]  # ids of containers whose pending operation is damaged
    moved: set[str]  # ids of containers that were moved to another project
    processing: Call | None = None  # the RunTask call that is processed now

    def _build_aws(self) -> None:
        settings = self.hostility
        self.dynamodb = DynamoDb(table_properties(), lambda: self.scheduler.now, self._lag, self._written)
        self.dynamodb.refused = self._history_is_full
        self.catalog = StaticCatalog()
        self.catalog.add_cluster(CLUSTER)
        self.ecs = SlowServices(
            self.catalog,
            lambda: self.scheduler.now,
            run_delay=settings.run_delay,
            stop_delay=settings.stop_delay,
            rng=self.rng("ecs"),
        )
        self.ecs.changed = self.ledger.effects.changed
        self.ecs.reached, self.ecs.stuck_rate = self.reached, settings.stuck_stopping
        self.ecs.chances = self.rng("stuck")
        self.hostile_ecs = HostileEcs(
            self.ecs, settings, lambda: self.scheduler.now, self.rng("hostile ecs"), self.reached, self._notes_absence
        )
        self.hostile_ecs.alive = self.ledger.alive
        self.targets = SlowTargets(self.ecs, lambda: self.scheduler.now, delay=0.2)
        self.services = Services(self.ecs, self.targets)
        for part in (self.ecs, self.targets):
            part.of_services = settings.services or ServiceHostility()
            part.service_chances = self.rng("services")
            part.on = settings.services is not None
        self.service_checks = ServiceChecks(self.ledger.world)
        self.targets.moved = self.service_checks.moved
        self.hostile_services = HostileServices(self.ledger.world, self.rng("hostile services"))
        self.plans = CommandPlans(settings, self.rng("commands"), self.reached)
        self.ssm = CommandSimulation(
            self.ecs,
            lambda name, _: self.document if name == DOCUMENT else None,
            lambda: self.scheduler.now,
            command_delay=settings.command_delay,
            rng=self.rng("ssm"),
            plan=self.plans,
        )

    def rng(self, name: str) -> random.Random:
        """Return an independent random stream."""
        return random.Random(f"{self._seed}/{name}")

    def reached(self, what: Reached) -> None:
        """Count a hostile behaviour that has just affected the code under test."""
        self.stats[f"hostile: {what}"] += 1

    def later(self, seconds: float, function: Callable[[], Any]) -> None:
        """Call the function after a delay. The run does not end before."""
        self.waiting += 1

        def run() -> None:
            self.waiting -= 1
            function()

        self.scheduler.at(self.scheduler.now + timedelta(seconds=seconds), run)

    # --- answers ---------------------------------------------------------------------------------------------------

    def _handle(self, actor: Actor, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if service == "dynamodb":
            return self._handle_dynamodb(actor, operation, parameters)
        if service == "ssm":
            if self.faults.on and self.ssm_down_until is not None and self.scheduler.now < self.ssm_down_until:
                raise AwsError("InternalServerError", "Service Unavailable", 500)
            answer = self.ssm.handle(operation, parameters)
            if operation == "SendCommand":
                # In both versions the comment of a command has the operation's id first, then the container's.
                operation_id, container_id = re.findall(r"[0-9a-f]{24}", parameters["Comment"])
                self.ledger.effects.commanded(container_id, parameters["Parameters"]["action"][0], operation_id)
            return answer
        if self.services.handles(operation, parameters):
            return self.hostile_services.handle(actor, operation, parameters)
        task = self.ecs._tasks.get(str(parameters.get("task"))) if operation == "StopTask" else None
        runs = task is not None and task.desired_status == "RUNNING"
        answer = self.hostile_ecs.handle(actor, operation, parameters)
        if operation == "RunTask":
            self.ledger.ran(answer["tasks"], parameters.get("clientToken"), self.processing)
        elif task is not None and runs:
            lifetime_checks.check_stop(self.ledger.world, task)
            self.ledger.effects.stopped(task, str(parameters.get("reason", "")))
        return answer

    def _handle_dynamodb(self, actor: Actor, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        keys: list[dict[str, Any]] = []
        if operation == "GetItem":
            keys = [parameters["Key"]]
        elif operation == "BatchGetItem":
            keys = [key for wanted in parameters["RequestItems"].values() for key in wanted["Keys"]]
        for key in keys:
            name = key.get("id", {}).get("S", "")
            if name in self.odd:
                self.reached(self.odd[name])
            if name in self.malformed and "operation" in self.ledger.containers[name]:
                self.reached(Reached.MALFORMED)
                self.malformed.discard(name)
            if name in self.moved and actor.name.startswith("schedule"):
                self.reached(Reached.PROJECT_LEFT)
        try:
            return self.dynamodb.handle(operation, parameters)
        finally:
            for container_id in _containers_in(operation, parameters, keys):
                self.ledger.alive.looked(actor, container_id)

    def _written(self, table: str, before: Item | None, after: Item | None) -> None:
        self.ledger.written(table, before, after)

    def _notes_absence(self, task: SimulatedTask) -> bool:
        return _notes_absence(self.ledger.containers.get(task.started_by or "", {}))

    def _history_is_full(self, container_id: str) -> None:
        self.ledger.full.add(container_id)
        self.reached(Reached.HISTORY_FULL)

    def _lag(self) -> int:
        return self._chances.randint(0, self.hostility.index_lag) if self.faults.on else 0


def _containers_in(operation: str, parameters: dict[str, Any], keys: list[dict[str, Any]]) -> set[str]:
    """Return the ids of the containers whose items a request reads or writes. `keys` has those that it reads."""
    writes = [write for item in parameters.get("TransactItems", ()) for write in item.values()]
    writes += [parameters] if operation in ("UpdateItem", "PutItem") else []
    keys = [*keys, *(write.get("Key") or write.get("Item") or {} for write in writes)]
    return {key["id"]["S"] for key in keys if "id" in key}


def _notes_absence(value: Any) -> bool:
    """Return whether an item records, in any attribute with such a name, that a lookup has found nothing."""
    if not isinstance(value, dict):
        return False
    return any((each and "absent" in str(name)) or _notes_absence(each) for name, each in value.items())
