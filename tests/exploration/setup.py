"""The state of the container and its cluster when the run starts."""

from datetime import timedelta
from functools import cache
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from longshore.aws.items import container_item, log_item
from longshore.domain.history import append
from longshore.domain.ledger import ledger_of
from longshore.domain.lifecycle import LaunchType, Operation, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger
from simulation.dynamodb import Item
from simulation.scheduler import Actor, Crash
from simulation.setup import CLUSTER
from simulation.trace import START

from exploration import outside
from exploration.starts import Start
from exploration.world import ExploredWorld

CONTAINER = "507f1f77bcf86cd799439011"
PROJECT = "507f1f77bcf86cd799439033"
HOST = "i-0a1b2c3d4e5f60718"
USERS = ("ann", "bob")
DEADLINE = 61.0
"""The seconds until the operation of a crashed or stalled actor is overdue."""

_TASK = f"{'0' * 31}1"
_ABSENT = 3600.0  # seconds


def set_up(world: ExploredWorld, start: Start) -> None:
    definition = {"name": "app", "image": "busybox:local", "memory": 128, "essential": True}
    if start.breaks:
        definition["dockerLabels"] = {"simulate.start": "fail"}
    world.catalog.add_task_definition("web", [definition])
    world.ecs.add_instance(CLUSTER, HOST, cpu=1 << 20, memory=1 << 20)
    for table, item in _items(start):
        if table == "access" or not start.service:
            written = world.versions.as_first_writes(item) if table != "access" else item
            world.dynamodb.handle("PutItem", {"TableName": table, "Item": written})
    world.target = CONTAINER
    if start.service:
        world.target = outside.add(world, start.history, PROJECT)
    if start.live and not start.service:
        task = world.ecs.adopt_running(CLUSTER, "web", CONTAINER, HOST, task_id=_TASK)
        for process in task.containers:
            process.paused = start.status is Status.PAUSED
    world.ecs.drain_events()
    _limit(world, start)
    _prepare(world, start)


def _prepare(world: ExploredWorld, start: Start) -> None:
    """Perform the requests that crash, and the sweeps that continue them."""
    for number, (operation, call) in enumerate(start.crashed):
        _crash(world, f"before-{number}", operation, call)
    if not start.capacity:
        world.ecs.set_capacity(HOST, memory=0)
    if start.damaged:
        item = world.dynamodb.tables["containers"].items[(CONTAINER,)]
        operation_item = {"M": item["operation"]["M"] | {"sent_command": {"S": "malformed"}}}
        world.dynamodb.tables["containers"].items[(CONTAINER,)] = item | {"operation": operation_item}
    if start.crashed:
        world.scheduler.run(world.scheduler.now + timedelta(seconds=DEADLINE))
    for number in range(start.swept):
        if start.stuck and number == 2:
            world.scheduler.run(world.scheduler.now + timedelta(hours=1))
        _sweep(world, number)
    world.hostile_ecs.absent = dict.fromkeys(world.hostile_ecs.absent, world.scheduler.now)


def _limit(world: ExploredWorld, start: Start) -> None:
    """Limit what is possible in the run."""
    if start.refused_once:
        world.refused = lambda: world.ecs.set_capacity(HOST)
    if start.room is not None:
        world.dynamodb.sizes[CONTAINER] = 10.0 - (start.room + 0.5) * world.dynamodb.row_size
    if start.absent:
        world.hostile_ecs.hide(next(iter(world.ecs._tasks)), _ABSENT)
    world.ecs.stuck_rate = float(start.stuck)


def _sweep(world: ExploredWorld, number: int) -> None:
    world.act(Actor(f"before-sweep-{number}", timedelta(), None), world.recovery.sweep)
    world.scheduler.run(world.scheduler.now + timedelta(seconds=DEADLINE))


@cache
def _items(start: Start) -> list[tuple[str, Item]]:
    """Return the items of a container in the start state. The items are never changed in place."""
    access = {"scope": f"project#{PROJECT}", "role": "owner" if start.limits or start.service else "operator"}
    items: list[tuple[str, Item]] = [
        ("access", {name: TypeSerializer().serialize(value) for name, value in ({"user_id": user} | access).items()})
        for user in USERS
    ]
    moment = START - timedelta(minutes=10)
    container = Container(
        id=CONTAINER,
        project_id=PROJECT,
        name="demo",
        server_instance_id=HOST,
        status=start.history[0],
        status_since=moment,
        runtime=Runtime(cluster=CLUSTER, task_definition="web", launch_type=LaunchType.EC2),
        created_at=moment,
        updated_at=moment,
    )
    for position, status in enumerate(start.history):
        change = Change(to_status=status, observed_at=moment, triggered_by=Trigger.SYSTEM)
        container, entry = append(container, change, f"{position:024x}", moment)
        items.append(("status-logs", log_item(entry)))
        moment += timedelta(seconds=50)
    if start.live:
        arn = f"arn:aws:ecs:us-east-1:123456789012:task/{CLUSTER}/{_TASK}"
        container = container.model_copy(update={"tasks": ledger_of(arn, 2)})
    limits: dict[str, Any] = dict(start.limits)
    if "stop_at" in limits:
        limits["stop_at"] = START + timedelta(seconds=limits["stop_at"])
    if "idle_timeout" in limits:
        limits["idle_timeout_at"] = START
    return [*items, ("containers", container_item(container.model_copy(update=limits)))]


def _crash(world: ExploredWorld, name: str, operation: Operation, call: str) -> None:
    """Perform an operation that crashes after its first call to one of the named AWS operations."""
    actor = Actor(name, timedelta(), None)
    calls = call.split()
    request = world.request

    def crashing(service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = request(service, operation, parameters)
        if operation in calls:
            raise Crash
        return answer

    world.request = crashing  # type: ignore[method-assign]
    world.ask(actor, operation, world.target, USERS[0], None)
    while not actor.ended:
        world.scheduler.run(world.scheduler.now + timedelta(milliseconds=100))
    del world.request
    assert actor.crashed, f"{operation} has not called {call}"
