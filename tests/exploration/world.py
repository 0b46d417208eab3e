"""The simulation's world without hostile behaviours, and with chosen faults and interleavings."""

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock

import simulation.aws
from botocore.exceptions import BotoCoreError
from longshore.domain.changes import ContainerChange
from longshore.domain.errors import LongshoreError
from longshore.domain.lifecycle import Operation
from longshore.domain.models import Container, OperationRequest
from longshore.engine import counts, service_attempt, service_steps
from simulation.aws import clients
from simulation.checks import Asked, Violation
from simulation.dynamodb import Item
from simulation.hostility import Hostility
from simulation.scheduler import Actor
from simulation.trace import START
from simulation.world import World

from exploration.evidence import Evidence
from exploration.faults import OLDER_BY, ChosenFaults, Fault, hide
from exploration.search import Chooser
from exploration.turns import ENVIRONMENT, Faulty, Player, Turns
from local.emulator.errors import AwsError

_SHOWN_AFTER = timedelta(seconds=0.5)  # so that a caller who waits for a second sees the effect
_LATE = 3.0  # seconds after which a call is processed whose reply was lost


class Entropy(random.Random):
    """Random bits that depend only on the current actor and on how many it has drawn.

    So the ids that an actor creates are the same in every interleaving, and equal states have equal digests.
    """

    world: "ExploredWorld | None" = None

    def getrandbits(self, k: int, /) -> int:
        return int.from_bytes(self.randbytes((k + 7) // 8), "big") >> (-k % 8)

    def randbytes(self, n: int) -> bytes:
        assert self.world is not None
        actor = self.world.scheduler.current
        name = actor.name if actor else ""
        drawn = self.world.drawn[name] = self.world.drawn.get(name, 0) + 1
        return hashlib.shake_128(f"{name}/{drawn}".encode()).digest(n)

    def random(self) -> float:
        return self.getrandbits(53) / (1 << 53)


_entropy = Entropy()


class ExploredWorld(World):
    """The world of a run. `asked` has the requests of the callers, `mailbox` the events not delivered yet."""

    scheduler: Turns
    target: str  # the id of the container
    faults: ChosenFaults
    refused: Callable[[], None] = staticmethod(lambda: None)  # called when RunTask could not place a task

    def __init__(self, chooser: Chooser, faulty: Faulty, hostility: Hostility) -> None:
        self.items: dict[tuple[str, ...], str] = {}
        self.drawn: dict[str, int] = {}
        self.evidence = Evidence(self)
        self.mailbox: list[dict[str, Any]] = []
        self.asked: list[Asked] = []
        _entropy.world = self
        turns = Turns(START, chooser, faulty)
        super().__init__("exploration", hostility=hostility, faults=ChosenFaults(self._choose), scheduler=turns)
        self.ecs._rng = _entropy
        self.ssm._rng = _entropy
        self.ecs.on = self.targets.on = self.hostile_services.on = False
        self.evidence.watch()
        self.deliver = self.mailbox.append
        clients().endpoint = self

    @classmethod
    @contextmanager
    def patched(cls) -> Iterator[None]:
        """Direct AWS requests and randomness to the worlds that are created inside the context."""
        # The simulation validates the parameters of every request; here this would take a third of the time.
        valid = mock.Mock(validate=lambda *_: mock.Mock(has_errors=lambda: False))
        report = valid.validate()
        with (
            World("exploration", hostility=Hostility(first_version="before")).open(),
            mock.patch.object(os, "urandom", _entropy.randbytes),
            mock.patch.object(service_attempt, "SHOWN_AFTER", _SHOWN_AFTER),
            mock.patch.object(service_steps, "SHOWN_AFTER", _SHOWN_AFTER),
            mock.patch.object(counts, "SHOWN_AFTER", _SHOWN_AFTER),
            mock.patch.object(random, "uniform", lambda low, high: (low + high) / 2),
            mock.patch.object(simulation.aws, "_validator", mock.Mock(validate=lambda *_: report)),
        ):
            yield

    # --- calls -----------------------------------------------------------------------------------------------------

    def _choose(self, service: str, operation: str) -> Fault | None:
        player = self.scheduler.current
        if not isinstance(player, Player):
            return None
        fault = self.scheduler.before_call(player, service, operation)
        self.hostile_services.always_late = self.late_after = _LATE if fault is Fault.LATE else None
        if fault is not None:
            self.note(player.name, f"fault at {service}:{operation}: {fault}")
        return fault

    def request(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Perform a request, and record the answer that the player receives."""
        player = self.scheduler.current
        answer: Any = None
        try:
            answer = super().request(service, operation, parameters)
            if operation == "RunTask" and answer["failures"]:
                self.refused()
            if isinstance(player, Player) and self.faults.fault is Fault.UNKNOWN:
                answer = hide(answer)
                player.disturbed = True  # ListTasks may have shown a task whose container DescribeTasks did not tell
            if isinstance(player, Player) and self.faults.fault is Fault.OLDER:
                older = self.hostile_services.as_it_was
                answer = {"services": [older(described, OLDER_BY) for described in answer["services"]]}
        except (AwsError, BotoCoreError) as error:
            answer = str(error), getattr(error, "extra", None)
            raise
        finally:
            if isinstance(player, Player):
                player.learn(self.scheduler.now, service, operation, parameters, answer)
        assert isinstance(answer, dict)
        return answer

    def happens(self, what: str) -> None:
        """Stop the current player until it is chosen, before it changes something in the cluster."""
        player = self.scheduler.current
        assert isinstance(player, Player)
        self.scheduler.before_call(player, ENVIRONMENT, what)
        self.note(player.name, what)
        player.learn(self.scheduler.now, what)

    def _written(self, table: str, before: Item | None, after: Item | None) -> None:
        item = after or before
        assert item is not None
        key = (table, *self.dynamodb.tables[table].key_of(item))
        if after is None:
            self.items.pop(key, None)
        else:
            self.items[key] = repr(after)
        self.evidence.written(table, after)
        super()._written(table, before, after)

    # --- actors ----------------------------------------------------------------------------------------------------

    def act(self, actor: Actor, function: Callable[[], Any], ended: Callable[[Any], None] = lambda _: None) -> None:
        """Run a function as an actor. `ended` receives its result, its LongshoreError, or None if it crashed.

        Any other exception is a violation.
        """
        result: list[Any] = [None]

        def body() -> None:
            try:
                result[0] = function()
            except self.versions.errors as error:
                result[0] = self.versions.as_current(error)
            except Exception as error:
                raise Violation(f"an unexpected exception: {type(error).__name__}: {error}") from error

        def over(actor: Actor) -> None:
            self.note(actor.name, "crashed" if actor.crashed else "ended", result[0])
            if isinstance(actor, Player):
                actor.learn(self.scheduler.now, actor.crashed, repr(result[0]))
            ended(result[0])
            self.ledger.alive.ended(actor)

        self.note(actor.name, "starts")
        self.scheduler.spawn(actor, body, over)

    def ask(self, actor: Actor, operation: Operation, container_id: str, user: str, key: str | None) -> None:
        """Request an operation as a caller, and check the answer when it is returned."""
        request = OperationRequest(
            container_id=container_id, operation=operation, actor=user, request_id=actor.name, idempotency_key=key
        )
        asked = Asked(actor.name, request, self.scheduler.now)
        self.asked.append(asked)

        def ended(answer: Any) -> None:
            asked.ended, asked.answer = True, answer
            if not actor.crashed:
                self.ledger.answered(asked, self.asked, actor)

        perform = self.versions.perform(self.library)
        self.act(actor, lambda: perform(request), ended)

    def change(self, actor: Actor, container_id: str, user: str, change: ContainerChange) -> None:
        """Change a container as a caller."""
        self.act(actor, lambda: self.changes.apply(user, container_id, change))

    def keep_alive(self, actor: Actor, container_id: str, user: str) -> None:
        """Keep a container alive as a caller."""
        asked_at = self.scheduler.now

        def ended(answer: Any) -> None:
            if not actor.crashed and isinstance(answer, Container):
                self.kept_alive.setdefault(container_id, []).append(asked_at)

        self.act(actor, lambda: self.changes.keep_alive(user, container_id), ended)

    def take_event(self, status: str) -> dict[str, Any] | None:
        """Remove the first event of a task with the status from the mailbox. Returns None if there is none."""
        for event in self.mailbox:
            if event["source"] == "aws.ecs" and event["detail"].get("lastStatus") == status:
                self.mailbox.remove(event)
                return event
        return None

    def take_any_event(self) -> dict[str, Any] | None:
        """Remove the first event from the mailbox. Returns None if there is none."""
        return self.mailbox.pop(0) if self.mailbox else None

    def apply(self, actor: Actor, event: dict[str, Any], function: Callable[[], Any] | None = None) -> None:
        """Deliver an event as an actor. After a crash or an error the event is delivered again, like by Lambda."""
        detail = event["detail"]
        events = self.commands if event["source"] == "aws.ssm" else self.events
        apply = partial(self.service_events.apply, event) if _is_of_service(event) else partial(events.apply, detail)

        def ended(result: Any) -> None:
            if actor.crashed or isinstance(result, LongshoreError):
                self.mailbox.append(event)

        self.act(actor, function or apply, ended)


def _is_of_service(event: dict[str, Any]) -> bool:
    detail = event["detail"]
    of_task = str(detail.get("group")).startswith("service:")
    return event["source"] == "aws.ecs" and (of_task or "taskArn" not in detail)
