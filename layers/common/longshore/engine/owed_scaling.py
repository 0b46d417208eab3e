"""Restores the scaling that is held of a service which runs.

A start restores what a stop has suspended. Somebody else may start the service instead, and a stop or a start may end
as `failed` after its first call. Then the drift sweep finds the service running, and restores its scaling.
"""

from longshore.aws.services import CALL_LASTS, CALLS_LAST, SHOWN_AFTER, Services
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.models import Container
from longshore.domain.service import owed_to_owner


class OwedScaling:
    """Restores the scaling of services with nothing pending."""

    def __init__(self, store: Store, services: Services, clock: Clock) -> None:
        self._store = store
        self._services = services
        self._clock = clock

    def restore(self, container: Container) -> str:
        """Restore the scaling, or note that it has been restored. Returns the effect.

        No call is repeated here. What is held stays stored until a later sweep observes that it has been restored, so
        a call without an answer, or without an effect, is made again.

        Args:
            container: The container, whose service runs. The calls of others are over and shown.

        Raises:
            EcsError: Application Auto Scaling refused a call or did not answer.
            StoreError: DynamoDB failed.
        """
        owed = owed_to_owner(container.scaling, self._services.target(container.runtime))
        if owed is None:
            noted = self._store.note_idle(container, container.model_copy(update={"scaling": None}))
            return "changed" if isinstance(noted, ConditionFailed) else "scaling restored"
        # An operation that begins now waits until this call is over. The claim of one that has been decided fails.
        until = self._clock.now() + CALLS_LAST
        values = {"generation": container.generation + 1, "calls_end_at": until + SHOWN_AFTER}
        if isinstance(self._store.note_idle(container, container.model_copy(update=values)), ConditionFailed):
            return "changed"
        if self._clock.now() + CALL_LASTS > until:
            return "busy"  # The function has stalled. An operation that has begun since must not meet the call.
        self._services.restore(container.runtime, owed)
        return "restoring the scaling"
