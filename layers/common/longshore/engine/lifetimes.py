"""Stops containers whose lifetime has ended: their `stop_at` has passed, or they have been idle for their timeout.

The recovery sweep finds them in the same index as overdue operations. A stop begins only if nothing that its reason
depends on has changed since the container was read, which the condition of its claim ensures:

    sweep   read: idle_at has passed ------------------------- claim: refused, kept_alive_at is not as read
    user                               keep-alive: 200

    sweep   read: stop_at has passed -------------------------------- claim: refused, there are new rows
    user                               stop (clears stop_at), start
"""

from datetime import timedelta

from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ContainerProtectedError, StateConflictError
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import Container, OperationRequest
from longshore.domain.pending import Trigger
from longshore.engine.operations import Operations

DEFERRAL = timedelta(hours=1)
"""The time after which the recovery sweep considers a protected container again."""

_NO_WAIT = timedelta()

_UNPAUSE_WAIT = timedelta(seconds=5)
"""The wait for a paused container, which must be unpaused before it can be stopped.

Without a wait, StopTask depends on the event of the command, which may not arrive. The next driver would read the
command's result after the deadline of the operation: up to three minutes after the end of the lifetime.
"""


class Lifetimes:
    """Stops containers whose lifetime has ended, with the same operation that a caller would request."""

    def __init__(self, store: Store, operations: Operations, clock: Clock) -> None:
        self._store = store
        self._operations = operations
        self._clock = clock

    def end(self, container: Container) -> str | None:
        """Begin to stop a container with nothing pending if its lifetime has ended.

        Does not wait for the effect, except for a short time if the container is paused.
        A protected container is deferred, so that it does not delay the containers behind it in the index.

        Args:
            container: The container as read.

        Returns:
            The effect. None if the lifetime has not ended, or the protected container has something else due: a lookup
            of its task, or a changed count of its service.

        Raises:
            ExternalServiceError: A service failed. The next sweep tries again or continues the stop.
        """
        now = self._clock.now()
        rule = container.ended_by(now)
        if rule is None:
            return None
        if container.protection is not None:
            looks = (container.absent_since, container.tasks_due_at, container.apply_count_at)
            if any(at is not None for at in looks):
                return None
            deferred = self._store.defer(container, now + DEFERRAL)
            return "changed" if isinstance(deferred, ConditionFailed) else "deferred"
        request = OperationRequest(
            container_id=container.id,
            operation=Operation.STOP,
            actor=None,
            request_id=None,
            triggered_by=Trigger.SCHEDULE,
            rule=rule.value,
            only_when_ended=True,
        )
        wait = _UNPAUSE_WAIT if container.status is Status.PAUSED else _NO_WAIT
        try:
            self._operations.run(container, request, wait=wait)
        except (StateConflictError, ContainerProtectedError):
            return "changed"
        return "lifetime ended"
