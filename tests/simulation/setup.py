"""The containers, tasks and hosts at the start of a run."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeSerializer
from longshore.aws.items import container_item, log_item
from longshore.domain.history import append
from longshore.domain.ledger import ledger_of
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger

from simulation.hostility import Reached
from simulation.service_setup import add_services

if TYPE_CHECKING:
    import random

    from simulation.world import World

CLUSTER = "default"
OTHER_CLUSTER = "other"
PROJECT = "507f1f77bcf86cd799439033"
OTHER_PROJECT = "507f1f77bcf86cd799439044"
USERS = ("ann", "bob")
HOSTS = ("i-0a1b2c3d4e5f60718", "i-0b1b2c3d4e5f60718")
_OTHER_HOST = "i-0c1b2c3d4e5f60718"

# The behaviour of a process, by labels that the emulator reads. Most processes exit on SIGTERM.
_BEHAVIOURS: tuple[dict[str, str], ...] = (
    {},
    {},
    {},
    {},
    {"simulate.ignore-sigterm": "true"},
    {"simulate.start": "fail"},
    {"simulate.start": "never"},
    {"simulate.exit-after": "1"},
    {"simulate.exit-after": "40", "simulate.exit-code": "1"},
)
_HISTORIES = (
    ("stopped",),
    ("stopped",),
    ("stopped", "running"),
    ("stopped", "running", "paused"),
    ("stopped", "failed"),
)


class Setup:
    """Fills a world. `containers` are the ids that callers use."""

    def __init__(self, world: "World", rng: "random.Random") -> None:
        self.world = world
        self._rng = rng
        self.containers: list[str] = []

    def fill(self) -> None:
        """Create hosts, users, containers, and in some runs items that could hinder the others."""
        rng, world = self._rng, self.world
        for host in HOSTS:
            world.ecs.add_instance(CLUSTER, host, cpu=1 << 20, memory=1 << 20)
        role = "owner" if world.hostility.lifetimes or world.hostility.services else "operator"
        for user in USERS:
            for project in (PROJECT, OTHER_PROJECT):
                self._put("access", {"user_id": user, "scope": f"project#{project}", "role": role})
        for number in range(rng.choice((1, 1, 2, 3))):
            # Commands act on the processes of a host.
            commands = world.hostility.commands_differ or world.hostility.deployed_during in ("pause", "resume")
            running = rng.random() < (0.8 if commands else 0.4 if world.hostility.twins else 0)
            history = rng.choice(_HISTORIES[2:4] if running else _HISTORIES)
            alive = rng.random() < world.hostility.failed_alive
            if alive:
                history = ("stopped", "running", "failed")
            self.containers.append(
                self.add(f"507f1f77bcf86cd7994390{number + 11}", history, on_host=running, alive=alive)
            )
        if world.hostility.other_clusters:
            self._add_other_clusters()
        for number in range(world.hostility.unreadable):
            self._add_unreadable(number)
        if world.hostility.history_room is not None:
            full = rng.choice(self.containers)
            world.dynamodb.sizes[full] = 10.0 - world.hostility.history_room
        if world.hostility.services is not None:
            # Several times, so that more requests are for services than for tasks.
            self.containers += add_services(world, rng, cluster=CLUSTER, project=PROJECT) * rng.choice((1, 2, 4))
        # Changes before the run cause no events.
        world.ecs.drain_events()

    def _put(self, table: str, item: dict[str, Any]) -> None:
        self.world.dynamodb.handle("PutItem", {"TableName": table, "Item": _serialized(item)})

    def add(
        self,
        container_id: str,
        statuses: tuple[str, ...],
        cluster: str = CLUSTER,
        *,
        on_host: bool = False,
        alive: bool = False,
    ) -> str:
        """Register a container with a history, and its task if it is live or `alive` is set. Returns its id."""
        rng = self._rng
        fargate = rng.random() < 0.15 and not on_host
        behaviour = rng.choice(_BEHAVIOURS[:5] if on_host else _BEHAVIOURS)
        family = f"web-{container_id[-2:]}"
        self._define(family, behaviour, fargate=fargate)
        server = None if fargate or rng.random() < 0.5 or cluster != CLUSTER else rng.choice(HOSTS)
        if fargate:
            statuses = tuple(status for status in statuses if status != "paused")
        runtime = Runtime(
            cluster=cluster,
            task_definition=family,
            launch_type=LaunchType.FARGATE if fargate else LaunchType.EC2,
            subnets=["subnet-0a1b2c3d"] if fargate else [],
        )
        container = self._with_history(container_id, statuses, runtime, server)
        arn = None
        if (container.is_live or alive) and cluster in (CLUSTER, OTHER_CLUSTER):
            launch_type = "FARGATE" if fargate else "EC2"
            task = self.world.ecs.adopt_running(cluster, family, container_id, server, launch_type)
            for process in task.containers:
                process.paused = container.status is Status.PAUSED
            arn = task.arn
        elif container.is_live:
            arn = f"arn:aws:ecs:us-east-1:123456789012:task/{cluster}/{rng.getrandbits(128):032x}"
        container = container.model_copy(update={"tasks": ledger_of(arn) if arn else {}})
        item = self.world.versions.as_first_writes(container_item(container))
        self.world.dynamodb.handle("PutItem", {"TableName": "containers", "Item": item})
        where = server or ("fargate" if fargate else "any")
        self.world.note("setup", f"container {container_id[-2:]}: {'/'.join(statuses)} {behaviour} on {where}")
        return container_id

    def _define(self, family: str, behaviour: dict[str, str], *, fargate: bool) -> None:
        definition = {
            "name": "app",
            "image": "busybox:local",
            "memory": 128,
            "essential": True,
            "stopTimeout": self._rng.choice((2, 10, 30)),
            "dockerLabels": behaviour,
        }
        self.world.catalog.add_task_definition(
            family,
            [definition] * self._rng.choice((1, 1, 2)),
            network_mode="awsvpc" if fargate else "bridge",
            compatibilities=("FARGATE",) if fargate else ("EC2",),
        )

    def _with_history(
        self, container_id: str, statuses: tuple[str, ...], runtime: Runtime, server: str | None
    ) -> Container:
        moment = self.world.scheduler.now - timedelta(minutes=10)
        container = Container(
            id=container_id,
            project_id=PROJECT,
            name="demo",
            server_instance_id=server,
            status=Status(statuses[0]),
            status_since=moment,
            runtime=runtime,
            created_at=moment,
            updated_at=moment,
        )
        for position, status in enumerate(statuses):
            change = Change(to_status=Status(status), observed_at=moment, triggered_by=Trigger.SYSTEM)
            container, entry = append(container, change, f"{self._rng.getrandbits(96):024x}", moment)
            row = self.world.versions.as_first_writes(log_item(entry))
            self.world.dynamodb.handle("PutItem", {"TableName": "status-logs", "Item": row})
            moment += timedelta(seconds=50 + position)
        return container

    # --- items that must not hinder the others -----------------------------------------------------------------------

    def _add_other_clusters(self) -> None:
        """Add a container of another cluster, and a container of a cluster that does not exist."""
        world, rng = self.world, self._rng
        world.catalog.add_cluster(OTHER_CLUSTER)
        world.ecs.add_instance(OTHER_CLUSTER, _OTHER_HOST, cpu=1 << 20, memory=1 << 20)
        other = self.add("507f1f77bcf86cd799439021", rng.choice(_HISTORIES[2:4]), OTHER_CLUSTER)
        missing = self.add("507f1f77bcf86cd799439000", ("stopped", "running"), "gone")
        world.odd |= {other: Reached.OTHER_CLUSTER, missing: Reached.MISSING_CLUSTER}
        world.ledger.without_tasks.add(missing)
        self.containers.append(other)

    def _add_unreadable(self, number: int) -> None:
        """Add an item with an unknown status that is live, bound to a server, and overdue."""
        world, like = self.world, self.containers[number % len(self.containers)]
        # In the shard of a container of the run, and overdue for longer.
        container_id = f"{'0' * 18}{number:02d}{like[-4:]}"
        past = (world.scheduler.now - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        item = {
            "id": container_id,
            "project_id": PROJECT,
            "name": "unreadable",
            "status": "hibernating",
            "live_project_id": PROJECT,
            "server_instance_id": HOSTS[number % len(HOSTS)],
            "pending_shard": str(int(container_id[-4:], 16) % 8),
            "pending_deadline": past,
            "operation": {"id": f"{number:024x}", "operation": "hibernate", "deadline": past},
        }
        world.odd[container_id] = Reached.UNREADABLE
        # Written without the ledger, which can check nothing about it.
        world.dynamodb.tables["containers"].items[(container_id,)] = _serialized(item)


def _serialized(item: dict[str, Any]) -> dict[str, Any]:
    return {name: TypeSerializer().serialize(value) for name, value in item.items()}
