"""The waits of an attempt: for the time between repeated calls, and for events that complete the operation.

DescribeTasks has the smallest quota of ECS. An attempt that waits for an effect therefore reads its container's item,
which changes when an event has completed the operation, and asks ECS only when the time is over:

    RunTask         item    item    item            changed: an event has completed the operation
    |---------------|-------|-------|---- ... ---|
    0 s                                          DescribeTasks, in case the event is lost

If another step follows, as in a restart, ECS is also asked after half of the time, so that time is left for that step.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from longshore.aws.store import Store
from longshore.aws.transactions import StoreError
from longshore.domain.clock import Clock
from longshore.domain.models import Container

_FIRST_PAUSE = 0.2  # seconds, increased by half each time
_LONGEST_PAUSE = 2.0  # seconds between repeated calls
_LONGEST_ROUND = 0.5  # seconds; a second of a function costs as much as forty of these reads


class ChangedError(Exception):
    """Another worker has changed the operation."""


class LateError(Exception):
    """The deadline of the operation has passed, so another worker may take it over at any time."""


class Waits:
    """The waits of an attempt.

    Args:
        clock: Waits.
        until: When the time is over (UTC).
        has_changed: Returns whether another worker has changed the operation.
        asks_twice: Whether ECS is also asked after half of the time.
    """

    def __init__(
        self, clock: Clock, until: datetime, has_changed: Callable[[], bool], *, asks_twice: bool = False
    ) -> None:
        self._clock = clock
        self._until = until
        self._has_changed = has_changed
        now = clock.now()
        self._half = now + (until - now) / 2 if asks_twice else until

    @property
    def are_over(self) -> bool:
        return self._clock.now() >= self._until

    def rounds(self) -> Iterator[bool]:
        """Yield immediately, and then after increasing pauses, as long as no other worker changes the operation.

        Yields whether to ask ECS: in the last round, when the time is over, and perhaps in another one before.

        Raises:
            ChangedError: Another worker has changed the operation.
        """
        last = self.are_over
        yield last
        ask_at = self._half
        pause = _FIRST_PAUSE
        while not last:
            left = (self._until - self._clock.now()).total_seconds()
            if left > 0:
                self._clock.sleep(min(pause, left))
                pause = min(pause * 1.5, _LONGEST_ROUND)
            last = self.are_over
            if self._has_changed():
                raise ChangedError
            asks = last or self._clock.now() >= ask_at
            if asks:
                ask_at = self._until
            yield asks

    def pauses(self) -> Iterator[None]:
        """Yield immediately, and then after increasing pauses until the time runs out."""
        yield
        pause = _FIRST_PAUSE
        while (left := (self._until - self._clock.now()).total_seconds()) > 0:
            self._clock.sleep(min(pause, left))
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            yield


def has_changed(store: Store, container: Container) -> bool:
    """Check whether another worker has changed the container's pending operation since the container was read.

    The first read is not consistent and costs half. It may show the container as it was before, even before the
    operation began. Unless it shows a new row, a consistent read therefore confirms the change.
    """
    try:
        seen = store.container(container.id, consistent=False)
        if seen is not None and seen.log_count > container.log_count:
            return True
        return _differs(seen, container) and _differs(store.container(container.id), container)
    except StoreError:
        return False  # The next read may succeed, and the condition of a commit checks this, too.


def _differs(current: Container | None, container: Container) -> bool:
    operation = container.operation
    if current is None or current.operation is None or operation is None or current.operation.id != operation.id:
        return True
    return (current.generation, current.log_count) != (container.generation, container.log_count)
