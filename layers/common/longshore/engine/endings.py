"""Sweeps of containers with nothing pending whose ledger has tasks that must not live.

Such tasks are strays of live containers, and every task of a container that is `failed`, `expired` or `stopped`. A
sweep stops them and looks for them until each is proven ended:

    failed (row)      sweep: StopTask         sweep: not stopped yet      event or sweep: STOPPED, removed
    |-----------------|-----------------------|---------------------------|
    due at once       due in 30 s             due in 30 s                 not due
"""

from longshore.aws.ecs import Ecs, EcsError
from longshore.aws.store import ConditionFailed
from longshore.domain.clock import Clock
from longshore.domain.models import Container
from longshore.engine.attempt import Attempt
from longshore.engine.ending import end_all
from longshore.engine.known import Known, Lookup
from longshore.engine.recorder import Recorder

_REASON = "Longshore: not a task that its container may have"


class Endings:
    """Ends the tasks of containers with nothing pending."""

    def __init__(self, recorder: Recorder, ecs: Ecs, clock: Clock) -> None:
        self._recorder = recorder
        self._ecs = ecs
        self._clock = clock

    def end(self, container: Container, lookup: Lookup) -> str:
        """End the tasks that the container must not have, without waiting for their ends.

        Args:
            container: The container as read, with nothing pending.
            lookup: A lookup of its tasks.

        Returns:
            The effect.

        Raises:
            ExternalServiceError: ECS or DynamoDB failed. What was found is stored, and the next sweep tries again.
        """
        attempt = Attempt(self._ecs, self._clock, container, None, self._clock.now(), Known(lookup=lookup))
        failure: EcsError | None = None
        try:
            end_all(attempt, container.unwanted, _REASON)
        except EcsError as error:
            failure = error
        noted = self._recorder.note_ledger(container, attempt.tasks)
        if failure is not None:
            raise failure
        if isinstance(noted, ConditionFailed):
            return "changed"
        return "ending" if noted.unwanted else "ended"
