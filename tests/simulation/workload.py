"""What callers ask for, and what happens in the cluster meanwhile. All of it is drawn from the run's seed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from longshore.history import append
from longshore.lifecycle import LaunchType, Operation, Status, allowed_operations
from longshore.models import (
    Change,
    Container,
    OperationRequest,
    Outcome,
    Runtime,
    StatusLogsPage,
    StatusLogsQuery,
    Trigger,
)
from longshore.schedules import StopInput
from longshore.store import container_item, log_item

from local.emulator.ecs import SimulatedTask
from simulation.checks import Asked, check_page
from simulation.scheduler import Actor
from simulation.world import CLUSTER, World

PROJECT = "507f1f77bcf86cd799439033"
USERS = ("ann", "bob")
FUNCTION_SECONDS = 29.0
SWEEP_EVERY = timedelta(minutes=1)
DRIFT_EVERY = 3  # sweeps

# How a process behaves, by the labels that the emulator goes by. Most are well-behaved.
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
_EXIT_CODES = (0, 1, 137)


class Workload:
    """The containers of a run, its callers, and its misfortunes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[Asked] = []
        self.gone: set[str] = set()
        self._rng = world.rng("workload")
        self._delivery = world.rng("delivery")
        self._hosts = ["i-0a1b2c3d4e5f60718", "i-0b1b2c3d4e5f60718"]
        self._span = self._rng.choice((3.0, 20.0, 120.0, 600.0))  # seconds in which callers ask
        self._late = self._rng.choice((0.0, 0.0, 0.05, 0.3))  # of the events come late,
        self._twice = self._rng.choice((0.0, 0.1))  # or twice,
        self._never = self._rng.choice((0.0, 0.0, 0.05, 0.5))  # or never
        self.containers: list[str] = []
        self._setup()

    # --- before ----------------------------------------------------------------------------------------------------

    def _setup(self) -> None:
        rng, world = self._rng, self.world
        for host in self._hosts:
            world.ecs.add_instance(CLUSTER, host, cpu=1 << 20, memory=1 << 20)
        for user in USERS:
            scope = f"project#{PROJECT}"
            self._put("access", {"user_id": user, "scope": scope, "role": "operator"})
        for number in range(rng.choice((1, 1, 2, 3))):
            self._add(f"507f1f77bcf86cd7994390{number + 11}", rng.choice(_HISTORIES))
        # What was there before is no news.
        world.ecs.drain_events()
        world.deliver = self._deliver

    def _put(self, table: str, item: dict[str, Any]) -> None:
        serialized = {name: TypeSerializer().serialize(value) for name, value in item.items()}
        self.world.dynamodb.handle("PutItem", {"TableName": table, "Item": serialized})

    def _add(self, container_id: str, statuses: tuple[str, ...]) -> None:
        rng, ecs = self._rng, self.world.ecs
        fargate = rng.random() < 0.15
        behaviour = rng.choice(_BEHAVIOURS)
        definition = {
            "name": "app",
            "image": "busybox:local",
            "memory": 128,
            "essential": True,
            "stopTimeout": rng.choice((2, 10, 30)),
            "dockerLabels": behaviour,
        }
        family = f"web-{container_id[-2:]}"
        self.world.catalog.add_task_definition(
            family,
            [definition] * rng.choice((1, 1, 2)),
            network_mode="awsvpc" if fargate else "bridge",
            compatibilities=("FARGATE",) if fargate else ("EC2",),
        )
        server = None if fargate or rng.random() < 0.5 else rng.choice(self._hosts)
        if fargate:
            statuses = tuple(status for status in statuses if status != "paused")
        moment = self.world.scheduler.now - timedelta(minutes=10)
        container = Container(
            id=container_id,
            project_id=PROJECT,
            name="demo",
            server_instance_id=server,
            status=Status(statuses[0]),
            status_since=moment,
            runtime=Runtime(
                cluster=CLUSTER,
                task_definition=family,
                launch_type=LaunchType.FARGATE if fargate else LaunchType.EC2,
                subnets=["subnet-0a1b2c3d"] if fargate else [],
            ),
            created_at=moment,
            updated_at=moment,
        )
        arn = None
        for position, status in enumerate(statuses):
            change = Change(to_status=Status(status), observed_at=moment, triggered_by=Trigger.SYSTEM)
            container, entry = append(container, change, f"{rng.getrandbits(96):024x}", moment)
            self.world.dynamodb.handle("PutItem", {"TableName": "status-logs", "Item": log_item(entry)})
            moment += timedelta(seconds=50 + position)
        if container.is_live:
            task = ecs.adopt_running(CLUSTER, family, container_id, server, "FARGATE" if fargate else "EC2")
            for process in task.containers:
                process.paused = container.status is Status.PAUSED
            arn = task.arn
        container = container.model_copy(update={"task_arn": arn})
        self.containers.append(container_id)
        self.world.dynamodb.handle("PutItem", {"TableName": "containers", "Item": container_item(container)})
        told = f"{'/'.join(statuses)} {behaviour} on {server or ('fargate' if fargate else 'any')}"
        self.world.note("setup", f"container {container_id[-2:]}: {told}")

    # --- callers ---------------------------------------------------------------------------------------------------

    def begin(self) -> datetime:
        """Put everything that will happen on the agenda. Returns when the last of it begins."""
        rng, world = self._rng, self.world
        start = world.scheduler.now
        for number in range(rng.randint(2, 9)):
            moment = start + timedelta(seconds=rng.uniform(0, self._span))
            self._schedule_request(number, moment)
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            happens = rng.choice(
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
            world.scheduler.at(start + timedelta(seconds=rng.uniform(0, self._span)), happens)
        for number in range(rng.choice((0, 1, 3))):
            moment = start + timedelta(seconds=rng.uniform(0, self._span))
            world.scheduler.at(moment, lambda number=number: self._read(number))  # type: ignore[misc]
        end = start + timedelta(seconds=self._span)
        moment, number = start + timedelta(seconds=rng.uniform(0, 60)), 0
        while moment < end + timedelta(minutes=1):
            number += 1
            world.scheduler.at(moment, lambda number=number: self.sweep(number))  # type: ignore[misc]
            moment += SWEEP_EVERY
        return end + timedelta(seconds=5)

    def _schedule_request(self, number: int, moment: datetime) -> None:
        rng = self._rng
        container_id, user = rng.choice(self.containers), rng.choice(USERS)
        key = f"key-{number}" if rng.random() < 0.4 else None
        name = f"request-{number}"
        chosen: list[Operation] = []
        times = [moment]
        if key is not None:
            # A caller that has had no answer, or does not wait for one, repeats the request.
            for _ in range(rng.choice((0, 1, 1, 2))):
                times.append(times[-1] + timedelta(seconds=rng.choice((0.01, 0.5, 5, 30, 90))))
        for repeat, at in enumerate(times):
            self.world.scheduler.at(
                at,
                lambda repeat=repeat: self._ask(f"{name}{'abc'[repeat]}", container_id, user, key, chosen),  # type: ignore[misc]
            )

    def _ask(self, name: str, container_id: str, user: str, key: str | None, chosen: list[Operation]) -> None:
        world = self.world
        if not chosen:
            chosen.append(self._choose(world.container(container_id)))
        request = OperationRequest(
            container_id=container_id, operation=chosen[0], actor=user, request_id=name, idempotency_key=key
        )
        asked = Asked(name, request, world.scheduler.now)
        self.asked.append(asked)

        def ended(actor: Actor, answer: Outcome | None) -> None:
            asked.ended = True
            asked.answer = answer
            if not actor.crashed:
                world.ledger.answered(asked, self.asked)

        world.note(name, f"asks for {chosen[0]} of {container_id[-2:]}{f' with {key} of {user}' if key else ''}")
        world.invoke(name, lambda: world.operations.perform(request), seconds=FUNCTION_SECONDS, ended=ended)

    def _read(self, number: int) -> None:
        """Somebody reads a page of the history meanwhile."""
        rng = self._rng
        query = StatusLogsQuery(
            page=rng.choice((1, 1, 2)),
            limit=rng.choice((1, 2, 3, 10)),
            sort_by=rng.choice(("transition_time", "created_at", "to_status", "from_status")),
            sort_order=rng.choice(("asc", "desc")),
        )
        user, container_id = rng.choice(USERS), rng.choice(self.containers)

        def ended(_: Actor, page: Any) -> None:
            if isinstance(page, dict):
                check_page(query, StatusLogsPage.model_validate(page))
                self.world.stats["pages read"] += 1

        read = self.world.reader.status_logs
        self.world.invoke(f"reader-{number}", lambda: read(user, container_id, query), seconds=10, ended=ended)

    def _choose(self, container: Container) -> Operation:
        """Mostly what the status allows once nothing is pending any more; force-stop more often when something is."""
        if container.operation is not None and self._rng.random() < 0.3:
            return Operation.FORCE_STOP
        allowed = allowed_operations(container.status, None, container.runtime.launch_type)
        return self._rng.choice(allowed if allowed and self._rng.random() < 0.7 else list(Operation))

    # --- misfortunes -----------------------------------------------------------------------------------------------

    def _live(self) -> list[SimulatedTask]:
        return self.world.ecs.live()

    def _happened(self, told: str, *more: Any) -> None:
        self.world.note("world", told, *more)
        self.world.stats[f"world: {told}"] += 1
        self.world.after_effect()

    def _task_exits(self) -> None:
        running = [task for task in self._live() if any(c.running and c.essential for c in task.containers)]
        if running:
            task, code = self._rng.choice(running), self._rng.choice(_EXIT_CODES)
            self.world.ecs.exit(task.arn, code)
            self._happened("a task exits", f"{task.id[-6:]} with {code}")

    def _task_is_interrupted(self) -> None:
        if live := self._live():
            task = self._rng.choice(live)
            self.world.ecs.interrupt(task.arn)
            self._happened("a task is interrupted", task.id[-6:])

    def _capacity_is_gone(self) -> None:
        for host in self._hosts:
            self.world.ecs.set_capacity(host, memory=0)
        self._happened("the capacity is gone")
        self._later(self._restore_capacity)

    def _restore_capacity(self) -> None:
        for host in self._hosts:
            self.world.ecs.set_capacity(host)

    def _host_is_out_of_reach(self) -> None:
        host = self._rng.choice(self._hosts)
        self.world.ssm.disconnect(host)
        self._happened("a host is out of SSM's reach")
        self._later(lambda: self.world.ssm.connect(host))

    def _agent_is_lost(self) -> None:
        host = self._rng.choice(self._hosts)
        self.world.ecs.set_agent_connected(host, connected=False)
        self._happened("a host's agent is lost")
        self._later(lambda: self.world.ecs.set_agent_connected(host, connected=True))

    def _command_fails(self) -> None:
        status = self._rng.choice(("Failed", "Failed", "TimedOut", "DeliveryTimedOut", "Undeliverable"))
        code = self._rng.choice((1, 2))
        # The script undoes what it has done before it exits with 1, and what was not delivered has no effect.
        may_act = (status == "Failed" and code != 1) or status == "TimedOut"
        self.world.ssm.fail_next(1, status, code, after_effect=may_act and self._rng.random() < 0.5)
        self._happened("a command fails", f"{status} {code}")

    def _server_is_terminated(self) -> None:
        host = self._rng.choice(self._hosts)
        if self.gone or host in self.gone:
            return
        self.gone.add(host)
        at = self.world.clock.now()
        self.world.ecs.terminate_instance(host)
        self._happened("a server is terminated", host)
        self._send("server", lambda: self.world.servers.terminated(host, at), may_be_lost=False)

    def _stops_are_scheduled(self) -> None:
        wanted = self._rng.choice((StopInput(all=True), StopInput(project_id=PROJECT)))
        number = self.world.stats["world: stops are scheduled"]
        self._happened("stops are scheduled")
        name = f"schedule-{number}"
        self._send(name, lambda: self.world.schedules.run(wanted, name, self.world.enough_time), may_be_lost=False)

    def _later(self, restore: Callable[[], Any]) -> None:
        self.world.later(self._rng.choice((1.0, 30.0, 300.0)), restore)

    def calm_down(self) -> None:
        """No more faults, and everything that can be restored is."""
        self.world.faults.on = False
        self._restore_capacity()
        for host in self._hosts:
            self.world.ecs.set_agent_connected(host, connected=True)
            self.world.ssm.connect(host)
        self.world.ssm._forced.clear()
        self.world.note("world", "calms down")

    # --- events and schedules --------------------------------------------------------------------------------------

    def _deliver(self, event: dict[str, Any]) -> None:
        """EventBridge's promise is at least once, in any order. Some runs break even that."""
        detail = event["detail"]
        if event["source"] == "aws.ssm":
            name = f"command {detail['command-id'][-6:]}"
            self._send(name, lambda: self.world.commands.apply(detail), may_be_lost=True)
            return
        name = f"event {detail['taskArn'][-6:]}v{detail['version']}"
        self._send(name, lambda: self.world.events.apply(detail), may_be_lost=True)

    def _send(self, name: str, function: Callable[[], Any], *, may_be_lost: bool) -> None:
        rng = self._delivery
        if may_be_lost and self.world.faults.on and rng.random() < self._never:
            self.world.note(name, "is lost")
            self.world.stats["events lost"] += 1
            return
        for copy in range(2 if rng.random() < self._twice else 1):
            late = self.world.faults.on and rng.random() < self._late
            seconds = rng.uniform(1, 200) if late else rng.choice((0.01, 0.05, 0.3, 1.0)) * rng.uniform(0.5, 1.5)
            suffix = "'" if copy else ""
            self.world.later(
                seconds,
                lambda suffix=suffix: self.world.invoke_event(f"{name}{suffix}", function, seconds=30),  # type: ignore[misc]
            )
            self.world.stats["events"] += 1

    def sweep(self, number: int) -> None:
        """What the schedules of `recover` start each minute."""
        self.world.invoke_event(f"sweep-{number}", self.world.recovery.sweep, seconds=55)
        if number % DRIFT_EVERY == 0:
            self.world.invoke_event(f"drift-{number}", lambda: self.world.drift.sweep(CLUSTER), seconds=55)
