"""Applies a count that a user has changed to a running service.

The container's item is written first, with the time at which a sweep applies the count. Then ECS is called. If ECS
refuses the count, the item is written back, so that nothing has happened. If ECS does not answer, the sweep repeats the
call, which sets the count and does no harm if it has taken effect before.

The service of a failed container may run. Whether it does is known after a look, so the sweep applies its count. If it
does not run, the count is for the next start.

The item states when the call is over. An operation that begins waits until then, so a call that could end later is not
made:

    function    write: calls_end_at ---- stalls --------------------- no time left: leaves the count to the sweep
    user                                 stop: waits for calls_end_at ------------------------ stopped
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from longshore.aws.ecs import EcsError
from longshore.aws.services import CALL_LASTS, CALLS_LAST, SHOWN_AFTER, Services
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.lifecycle import Status
from longshore.domain.models import Container

APPLY_AFTER = timedelta(seconds=30)
"""How long after a change a sweep applies the count, unless this has been done."""


class CountChanges:
    """Applies counts to services with nothing pending."""

    def __init__(self, store: Store, services: Services, clock: Clock) -> None:
        self._store = store
        self._services = services
        self._clock = clock

    def values(self, container: Container, count: int) -> dict[str, Any]:
        """Return the attributes to write for a new count, before `apply`.

        The new generation makes the claim of an operation fail that has been decided with the previous count.
        """
        now = self._clock.now()
        values: dict[str, Any] = {"desired_count": count, "generation": container.generation + 1}
        if container.status in (Status.RUNNING, Status.FAILED):
            values["apply_count_at"] = now + APPLY_AFTER
        if container.status is Status.RUNNING and self._may_call(container):
            values["calls_end_at"] = now + CALLS_LAST + SHOWN_AFTER
        return values

    def apply(self, before: Container, written: Container) -> Container:
        """Apply the count that has just been written.

        Args:
            before: The container before the write.
            written: The container after the write.

        Returns:
            The container. If ECS has not answered or throttles the call, or there was no time left for it, a sweep
            applies the count.

        Raises:
            EcsError: ECS refused the count. The container is as written.
            StoreError: DynamoDB failed. The count may have been applied.
        """
        applies = written.apply_count_at is not None and written.status is Status.RUNNING
        if not applies or not (self._may_call(before) and self._has_time(written)):
            return written
        try:
            service = self._services.update(written.runtime, written.desired_count)
        except EcsError as error:
            if not error.no_effect:
                return written
            raise
        finished = self._finish(written, {"apply_count_at": None, "running_count": service.running})
        # An operation that has begun since knows the count.
        return written if isinstance(finished, ConditionFailed) else finished

    def apply_later(self, container: Container) -> str:
        """Apply a count that the request has left to the sweep. Returns the effect.

        If ECS refuses the count, the container's count becomes that of the service again.

        Raises:
            EcsError: ECS did not answer, or throttles the call.
            StoreError: DynamoDB failed.
        """
        if not self._may_call(container):
            return "busy"
        if container.status is Status.FAILED:
            service = self._services.describe(container.runtime)
            if service is None or service.desired == 0:
                kept = container.model_copy(update={"apply_count_at": None})
                noted = self._store.note_idle(container, kept)
                return "changed" if isinstance(noted, ConditionFailed) else "count kept"
        self._services.take_turn()
        now = self._clock.now()
        values: dict[str, Any] = {
            "generation": container.generation + 1,
            "calls_end_at": now + CALLS_LAST + SHOWN_AFTER,
            "apply_count_at": now + APPLY_AFTER,
        }
        noted = self._store.note_idle(container, container.model_copy(update=values))
        if isinstance(noted, ConditionFailed):
            return "changed"
        if not self._has_time(noted):
            return "busy"
        try:
            service = self._services.update(noted.runtime, noted.desired_count)
        except EcsError as error:
            if not error.no_effect:
                raise
            current = self._services.describe(noted.runtime)
            count = current.desired if current is not None and current.desired else noted.desired_count
            self._finish(noted, {"apply_count_at": None, "desired_count": count})
            raise
        result = self._finish(noted, {"apply_count_at": None, "running_count": service.running})
        return "changed" if isinstance(result, ConditionFailed) else "count applied"

    def values_before(self, container: Container, written: Container) -> dict[str, Any]:
        """Return the attributes to write after ECS has refused the count that was written.

        Args:
            container: The container before the write.
            written: The container after the write.
        """
        return {
            "desired_count": container.desired_count,
            "apply_count_at": container.apply_count_at,
            "calls_end_at": self._clock.now() + SHOWN_AFTER,
            "generation": written.generation + 1,
        }

    def _may_call(self, container: Container) -> bool:
        """Check whether no earlier call can still change the service."""
        return container.calls_end_at is None or container.calls_end_at <= self._clock.now()

    def _has_time(self, written: Container) -> bool:
        """Check whether a call that begins now is over and shown at the time that was written for it."""
        end = written.calls_end_at
        return end is not None and self._clock.now() + CALL_LASTS + SHOWN_AFTER <= end

    def _finish(self, container: Container, values: Mapping[str, Any]) -> Container | ConditionFailed:
        """Store the result of a call that was answered."""
        shown_from = self._clock.now() + SHOWN_AFTER
        after = {"calls_end_at": shown_from, "generation": container.generation + 1, **values}
        return self._store.note_idle(container, container.model_copy(update=after))
