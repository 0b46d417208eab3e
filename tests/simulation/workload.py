"""The requests of callers and the schedules of the sweeps, all drawn from the run's seed."""

from datetime import datetime, timedelta
from typing import Any

from longshore.domain.lifecycle import Operation, allowed_operations
from longshore.domain.models import Container, OperationRequest, Outcome
from longshore.domain.pages import StatusLogsQuery
from longshore.domain.views import StatusLogsPage

from simulation import calamities
from simulation.calamities import Calamities
from simulation.changes import Changes
from simulation.checks import check_page
from simulation.delivery import Delivery
from simulation.deployment import FOCUS, Deployment
from simulation.hostility import Reached
from simulation.misfortunes import Misfortunes
from simulation.outsiders import Outsiders
from simulation.records import Asked
from simulation.scheduler import Actor
from simulation.setup import CLUSTER, PROJECT, USERS, Setup
from simulation.world import World

__all__ = ["DRIFT_EVERY", "PROJECT", "SWEEP_EVERY", "USERS", "Workload"]

FUNCTION_SECONDS = 29.0
SWEEP_EVERY = timedelta(minutes=1)
DRIFT_EVERY = 3  # sweeps
_MOST_REQUESTS = 40
_FREEZE = (Operation.PAUSE, Operation.RESUME)
_BEGIN = (Operation.START, Operation.RESTART)
_FOCI = (
    _FREEZE,
    _BEGIN,
    (Operation.START, Operation.FORCE_STOP),
    (Operation.START, Operation.STOP),
    (Operation.RESTART, Operation.FORCE_STOP),
    (Operation.PAUSE, Operation.STOP, Operation.FORCE_STOP),
)
_ENDS = (
    (Operation.START, Operation.FORCE_STOP),
    (Operation.RESTART, Operation.FORCE_STOP),
    (Operation.STOP, Operation.FORCE_STOP, Operation.PAUSE),
    (Operation.PAUSE, Operation.STOP),
)
_TWIN = timedelta(seconds=0.05)


class Workload:
    """The callers of a run, its misfortunes, and the sweeps."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._rng = world.rng("workload")
        self._setup = Setup(world, self._rng)
        self._span = self._rng.choice((3.0, 20.0, 120.0, 600.0))  # the seconds during which callers send requests
        self._focus = self._draw_focus()
        self._setup.fill()
        self._requests = 0
        self._sweeps = 0
        self._drifts = 0
        self.delivery = Delivery(world)
        self.misfortunes = Misfortunes(world, self.delivery, self.containers, world.rng("misfortunes"))
        self.calamities = Calamities(world, self.containers, world.rng("calamities"))
        self._changes = Changes(world, self.containers)
        self._outsiders = Outsiders(world)
        world.deliver = self.delivery.deliver

    @property
    def asked(self) -> list[Asked]:
        return self.world.asked

    @property
    def containers(self) -> list[str]:
        """The ids that callers use."""
        return self._setup.containers

    def _draw_focus(self) -> tuple[Operation, ...]:
        """Draw the operations that callers mostly request. Empty: any operation."""
        settings, rng = self.world.hostility, self._rng
        focus = rng.choice(((), (), *_FOCI))
        if settings.deployed_during:
            return FOCUS[Operation(settings.deployed_during)]
        if settings.commands_differ:
            return focus if rng.random() < 0.3 else _FREEZE
        if settings.twins and rng.random() < 0.4:
            return _FREEZE
        if settings.lasts_hours or settings.failed_alive:
            return focus if rng.random() < 0.3 else rng.choice(_ENDS)
        if settings.outage_hours:
            return focus if rng.random() < 0.4 else _BEGIN
        return focus

    # --- plan of a run ----------------------------------------------------------------------------------------------

    def begin(self) -> datetime:
        """Schedule all requests, misfortunes and sweeps. Returns when the last of them starts."""
        rng, world = self._rng, self.world
        start = world.scheduler.now
        requests = rng.randint(2, 9)
        if self.world.hostility.commands_differ:
            # Commands take up to two minutes, so callers have to send requests for at least that long.
            requests, self._span = rng.randint(5, 14), max(self._span, rng.choice((120.0, 240.0)))
        self._schedule_requests(requests, start, self._span)
        self.misfortunes.schedule(start, self._span)
        self.calamities.schedule(start, self._span)
        self._changes.schedule(start, self._span)
        self._outsiders.schedule(start, self._span)
        for number in range(rng.choice((0, 1, 3))):
            moment = start + timedelta(seconds=rng.uniform(0, self._span))
            world.scheduler.at(moment, lambda number=number: self._read(number))  # type: ignore[misc]
        end = start + timedelta(seconds=self._span)
        down_from = end + timedelta(hours=1)
        if world.hostility.outage_hours:
            down_from = start + timedelta(seconds=rng.choice((0.0, rng.uniform(0, self._span))))
            world.scheduler.at(down_from, self._go_down)
        self._schedule_sweeps(min(end + timedelta(minutes=1), down_from))
        for _ in range(rng.choice((0, 0, 1, 3)) + (4 if world.hostility.unlisted else 0)):
            world.scheduler.at(start + timedelta(seconds=rng.uniform(0, self._span)), self._drift)
        if world.versions.second is not None:
            Deployment(world).schedule(start + timedelta(seconds=rng.uniform(0, self._span)), end)
        return end + timedelta(seconds=5)

    def _go_down(self) -> None:
        self.delivery.down = True
        self.world.note("world", "the sweeps and the event functions stop running")

    def outage(self) -> datetime | None:
        """Let hours pass without sweeps if the run has an outage. Returns the end of the requests that follow it."""
        world, rng, hours = self.world, self._rng, self.world.hostility.outage_hours
        if not hours:
            return None
        pending = world.ledger.pending()
        if pending:
            if rng.random() < 0.3:
                world.later(rng.uniform(1, 600), self.misfortunes.all_tasks_exit)
            world.scheduler.run(world.scheduler.now + timedelta(hours=hours))
            if set(pending) & set(world.ledger.pending()):
                world.reached(Reached.OUTAGE)
        self.delivery.down = False
        world.note("world", "the sweeps and the event functions run again")
        start = world.scheduler.now
        self._schedule_requests(rng.choice((0, 1, 2)), start, 120.0)
        self._schedule_sweeps(start + timedelta(minutes=4))
        return start + timedelta(minutes=3)

    def hours(self) -> datetime | None:
        """Let an hour and a half pass if the run has such a phase. Returns the end of the requests that follow it."""
        world, rng = self.world, self._rng
        if not world.hostility.lasts_hours:
            return None
        for pause in calamities.SWEEPS:
            self.sweep()
            world.scheduler.run(world.scheduler.now + pause)
        start = world.scheduler.now
        self._schedule_requests(rng.choice((1, 2, 3)), start, 120.0)
        self._schedule_sweeps(start + timedelta(minutes=4))
        return start + timedelta(minutes=3)

    def _schedule_sweeps(self, end: datetime) -> None:
        moment = self.world.scheduler.now + timedelta(seconds=self._rng.uniform(0, 60))
        while moment < end:
            self.world.scheduler.at(moment, self.sweep)
            moment += SWEEP_EVERY

    # --- callers ---------------------------------------------------------------------------------------------------

    def _schedule_requests(self, number: int, start: datetime, span: float) -> None:
        for _ in range(number):
            self._schedule_request(self._requests, start + timedelta(seconds=self._rng.uniform(0, span)))
            self._requests += 1

    def _schedule_request(self, number: int, moment: datetime) -> None:
        rng = self._rng
        container_id, user = rng.choice(self.containers), rng.choice(USERS)
        twins = rng.random() < self.world.hostility.twins
        key = f"key-{number}" if twins or rng.random() < 0.4 else None
        name = f"request-{number}"
        chosen: list[Operation] = []
        times = [moment]
        if twins:
            # A client that retries without waiting.
            if rng.random() < 0.25:
                self.world.scheduler.at(moment, self.misfortunes.ssm_is_down)
            gaps = rng.choice(((0.001, 0.005, 0.02), (0.001, 0.02, 0.3, 1.0), (0.3, 0.5)))
            for _ in range(rng.choice((1, 1, 2, 5, 11, 11))):
                times.append(times[-1] + timedelta(seconds=rng.choice(gaps)))
        elif key is not None:
            # A caller without an answer, or with a short timeout, repeats the request.
            for _ in range(rng.choice((0, 1, 1, 2))):
                times.append(times[-1] + timedelta(seconds=rng.choice((0.01, 0.5, 5, 30, 90))))
        for repeat, at in enumerate(times):
            twin = repeat > 0 and at - times[repeat - 1] <= _TWIN
            self.world.scheduler.at(
                at,
                lambda repeat=repeat, twin=twin: self._ask(  # type: ignore[misc]
                    f"{name}{'abcdefghijkl'[repeat]}", container_id, user, key, chosen, twin=twin
                ),
            )

    def _ask(
        self, name: str, container_id: str, user: str, key: str | None, chosen: list[Operation], *, twin: bool
    ) -> None:
        world = self.world
        if not chosen:
            chosen.append(self._choose(world.container(container_id)))
        request = OperationRequest(
            container_id=container_id,
            operation=chosen[0],
            actor=user,
            request_id=name,
            idempotency_key=key,
            stop_at=self._changes.stop_at(chosen[0]),
        )
        asked = Asked(name, request, world.scheduler.now)
        if twin and any(not one.ended and one.request.idempotency_key == key for one in self.asked):
            world.reached(Reached.TWIN)
        self.asked.append(asked)

        def ended(actor: Actor, answer: Outcome | None) -> None:
            asked.ended = True
            asked.answer = answer
            if not actor.crashed:
                world.ledger.answered(asked, self.asked, actor)
            self._follow_up(container_id, chosen[0])

        world.note(name, f"requests {chosen[0]} of {container_id[-2:]}{f' with {key} of {user}' if key else ''}")
        perform = world.versions.perform(world.library)
        world.invoke(name, lambda: perform(request), seconds=FUNCTION_SECONDS, ended=ended)

    def _follow_up(self, container_id: str, asked: Operation) -> None:
        """Schedule the next request of a caller that alternates between pause and resume."""
        world = self.world
        if not world.hostility.commands_differ or self._focus != _FREEZE or not world.faults.on:
            return
        if self._requests < _MOST_REQUESTS and self._rng.random() < (0.4 if asked is Operation.RESUME else 0.9):
            number, self._requests = self._requests, self._requests + 1
            name, user, chosen = f"request-{number}a", self._rng.choice(USERS), list[Operation]()
            seconds = self._rng.choice((0.5, 5.0, 20.0, 40.0)) * self._rng.uniform(0.5, 1.5)
            world.later(seconds, lambda: self._ask(name, container_id, user, None, chosen, twin=False))

    def _read(self, number: int) -> None:
        """Read a page of the history as a caller."""
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

        read = self.world.versions.current.reader.page
        self.world.invoke(f"reader-{number}", lambda: read(user, container_id, query), seconds=10, ended=ended)

    def _choose(self, container: Container) -> Operation:
        """Choose an operation: mostly an allowed one, and force-stop more often while another operation is pending."""
        if container.operation is not None and self._rng.random() < 0.3:
            return Operation.FORCE_STOP
        allowed = allowed_operations(container.status, None, container.runtime.platform)
        if (wanted := [one for one in allowed if one in self._focus]) and self._rng.random() < 0.8:
            return self._rng.choice(wanted)
        return self._rng.choice(allowed if allowed and self._rng.random() < 0.7 else list(Operation))

    # --- after the phase with faults --------------------------------------------------------------------------------

    def heal_ecs(self) -> None:
        """Make ECS consistent and unlimited; all other faults stay."""
        self.world.hostile_ecs.on = False
        self.misfortunes.restore_ecs()
        self.calamities.calm_down()
        self._outsiders.calm_down()
        self.world.note("world", "ECS and one worker are healed")

    def calm_down(self) -> None:
        """Disable all faults, and restore everything that can be restored."""
        self.world.faults.on = False
        self.world.hostile_ecs.on = False
        self.world.plans.on = False
        self.misfortunes.calm_down()
        self.calamities.calm_down()
        self._outsiders.calm_down()
        self.world.note("world", "the phase with faults ends")

    # --- schedules of the stack ------------------------------------------------------------------------------------

    def sweep(self, *, healed: bool = False) -> None:
        """Invoke the functions that the template's schedules invoke each minute."""
        self._sweeps += 1
        number, world = self._sweeps, self.world
        world.invoke_event(f"sweep-{number}", world.recovery.sweep, seconds=55, healed=healed)
        self._changes.during_sweep()
        if number % DRIFT_EVERY == 0:
            self._drift(healed=healed)

    def _drift(self, *, healed: bool = False) -> None:
        self._drifts += 1
        drift = self.world.drift
        self.world.invoke_event(f"drift-{self._drifts}", lambda: drift.sweep(CLUSTER), seconds=55, healed=healed)
