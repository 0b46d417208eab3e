"""Scheduled sweeps: continue operations whose deadline has expired, and reconcile containers with ECS.

Both sweeps read indexes that may lag, so each container is read again before it is changed. Both are safe to run twice
at the same time: only one worker can take an operation over, and an exit is recorded only once. An item that cannot be
read, a cluster that does not answer or an operation that fails does not prevent the rest from being processed.

Sweeps read containers and tasks in batches, keep the pace of their `Ecs`, and do not wait for effects, which events
report. What a sweep has no time for is continued: by the next recovery sweep, which begins with the operations that are
overdue for the longest time, and by another invocation at the position where the drift sweep has ended.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from longshore.aws.batches import batches
from longshore.aws.items import PENDING_SHARDS
from longshore.aws.store import Store
from longshore.domain.clock import Clock
from longshore.domain.errors import InternalError, LongshoreError, UnreadableItemError
from longshore.domain.models import Container
from longshore.engine.decisions import DriverRole
from longshore.engine.driver import Driver
from longshore.engine.known import Lookup
from longshore.engine.lookups import Lookups

Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
"""Calls a function with each item, several at a time: the `map` of an executor, or the built-in `map`."""

OnFailure = Callable[[str, LongshoreError], None]
"""Called with the name and the error of each container, cluster or index that could not be processed."""

UNREADABLE = "unreadable"
"""The effect under which items that cannot be read are counted."""

_TAKEN_TOGETHER = 25  # operations; at the slowest pace, all of them are driven before their new deadlines
_STUCK = 3  # attempts by sweeps


class Recovery:
    """Continues operations whose driver has crashed or stopped waiting, and stops containers whose lifetime has ended.

    Args:
        enough_time: Returns whether there is time for more containers.
        on_stuck: Called with the number of operations that are still pending after several sweeps.
        on_pending: Called with each container before its operation is continued.
        on_failure: Called with the name and the error of each container or shard that could not be processed.
        lookups: Looks up the tasks.
        look_again: Reconciles a container whose task the drift sweep did not find: `Drift.look_again`.
        end_lifetime: Stops a container whose lifetime has ended: `Lifetimes.end`.

    Attributes:
        unlisted: The shards of the index that the last sweep could not read.
    """

    def __init__(
        self,
        store: Store,
        driver: Driver,
        clock: Clock,
        spread: Spread,
        enough_time: Callable[[], bool],
        on_stuck: Callable[[int], None] = lambda _: None,
        on_pending: Callable[[Container], None] = lambda _: None,
        on_failure: OnFailure = lambda *_: None,
        *,
        lookups: Lookups,
        look_again: Callable[[Container, Lookup], str],
        end_lifetime: Callable[[Container], str | None],
    ) -> None:
        self._store = store
        self._driver = driver
        self._lookups = lookups
        self._look_again = look_again
        self._end_lifetime = end_lifetime
        self._clock = clock
        self._spread = spread
        self._enough_time = enough_time
        self._on_stuck = on_stuck
        self._on_pending = on_pending
        self._on_failure = on_failure
        self._stuck = 0
        self.unlisted: list[str] = []

    def sweep(self) -> dict[str, int]:
        """Continue overdue operations from their step, and stop containers whose lifetime has ended.

        Containers that have been due for longest come first.

        Returns:
            The number of containers by effect.
        """
        self._stuck = 0
        self.unlisted = []
        effects: list[str] = []
        for container_ids in batches(self._overdue()):
            effects += self._batch(container_ids)
        if self._stuck or not self.unlisted:
            self._on_stuck(self._stuck)
        return counted(effects)

    def _overdue(self) -> Iterator[str]:
        now = self._clock.now()
        overdue = heapq.merge(*(self._shard(shard, now) for shard in range(PENDING_SHARDS)))
        while self._enough_time() and (due := next(overdue, None)) is not None:
            yield due[1]

    def _shard(self, shard: int, now: datetime) -> Iterator[tuple[str, str]]:
        try:
            yield from self._store.index.overdue(shard, now)
        except LongshoreError as error:
            self.unlisted.append(f"shard {shard}")
            self._on_failure(f"shard {shard}", error)

    def _batch(self, container_ids: list[str]) -> Iterator[str]:
        try:
            found = self._store.containers(list(dict.fromkeys(container_ids)))
        except LongshoreError as error:
            yield from [failed(container_id, error, self._on_failure) for container_id in container_ids]
            return
        containers: list[Container] = []
        for container_id in container_ids:
            container = found.get(container_id)
            if isinstance(container, UnreadableItemError):
                yield failed(container_id, container, self._on_failure)
            elif container is None:
                yield "settled"
            else:
                containers.append(container)
        for group in batches(containers, _TAKEN_TOGETHER):
            yield from self._group(group) if self._enough_time() else ["left"] * len(group)

    def _group(self, containers: list[Container]) -> Iterator[str]:
        """Take operations over, look up all their tasks, and continue them."""
        attempts = [container.operation.attempts for container in containers if container.operation is not None]
        self._stuck += sum(number >= _STUCK for number in attempts)
        taken: list[Container] = []
        for result in self._spread(self._take, containers):
            if isinstance(result, Container):
                taken.append(result)
            else:
                yield result
        lookups = self._lookups.of(taken)
        yield from self._spread(lambda container: self._continue(container, lookups[container.id]), taken)

    def _take(self, container: Container) -> Container | str:
        """Take over the pending operation, or end the lifetime. Returns the container to continue, or the effect."""
        try:
            if container.operation is None:
                waits = container.due_at is not None and container.due_at <= self._clock.now()
                return self._end_lifetime(container) or (container if waits else "settled")
            self._on_pending(container)
            return self._driver.take(container) or "continued elsewhere"
        except Exception as error:
            return failed(container.id, error, self._on_failure)

    def _continue(self, container: Container, lookup: Lookup) -> str:
        try:
            if container.operation is None:
                return self._look_again(container, lookup)
            return self._driver.drive(container, DriverRole.SWEEP, self._clock.now(), lookup=lookup).kind.value
        except Exception as error:
            # The operation may have ended with this error. Its row then states the reason.
            return failed(container.id, error, self._on_failure)


def as_longshore_error(error: Exception) -> LongshoreError:
    """Return the error of one item as an error that is logged. An unexpected error must not end a sweep."""
    if isinstance(error, LongshoreError):
        return error
    unexpected = InternalError()
    unexpected.__cause__ = error
    return unexpected


def counted(effects: Iterable[str]) -> dict[str, int]:
    """Return the number of occurrences of each effect."""
    counts: dict[str, int] = {}
    for effect in effects:
        counts[effect] = counts.get(effect, 0) + 1
    return counts


def failed(name: str, error: Exception, on_failure: OnFailure) -> str:
    on_failure(name, as_longshore_error(error))
    return UNREADABLE if isinstance(error, UnreadableItemError) else "failed"
