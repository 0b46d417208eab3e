"""One attempt at a step of a service: its looks, its calls that change the service, and what it has found."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from longshore.aws.ecs import EcsError
from longshore.aws.services import CALL_LASTS, SHOWN_AFTER, Services
from longshore.domain.clock import Clock
from longshore.domain.facts import Observed
from longshore.domain.ledger import BETWEEN_LOOKS, LOOKS_LAST
from longshore.domain.lifecycle import Step
from longshore.domain.models import Container
from longshore.domain.pending import PendingOperation, ServiceChange
from longshore.domain.service import Service, ServiceDeployment
from longshore.engine.observations import NeverRan, Plan, Reached, Unobserved
from longshore.engine.waits import Waits

T = TypeVar("T")

BUSY = "Earlier calls may still change the service"
GONE = "The service does not exist any more"
_NOT_SHOWN = "ECS does not show the service"
_PAUSE = 0.5  # seconds between a call that was not answered and its repetition
_CLOCKS_DIFFER = timedelta(seconds=5)  # the largest expected difference between the clocks of Lambda and ECS


class ServiceAttempt:
    """One attempt at a step of a service.

    Attributes:
        acted: Whether a call with an effect was not refused, so that it may have taken effect.
        settled: Whether no call is left to make. The goal counts only then: the scaling must be suspended or restored.
        unanswered: Whether ECS may still process a call with an effect that was not answered.
        change_so_far: What the operation has stored about its change of the service.
        absent: The first look that did not find the service since ECS last showed it, by its name.
        service: The service as last seen.
        unstopped: The number of its tasks that have not stopped, if its counts are 0. None: not looked up yet.
        rollout: The deployment of a rolling restart as last seen. None: it was not seen.
    """

    def __init__(
        self, services: Services, clock: Clock, container: Container, pending: PendingOperation, waits: Waits
    ) -> None:
        self.container = container
        self.pending = pending
        self.waits = waits
        self.change_so_far = pending.service or ServiceChange()
        self.acted = self.change_so_far.called
        self.settled = self.change_so_far.called
        self.unanswered = False
        self.absent = dict(self.change_so_far.absent)
        self.service: Service | None = None
        self.unstopped: int | None = None
        self.rollout: ServiceDeployment | None = None
        self._has_sought_rollout = False  # since the last look
        self._services = services
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    @property
    def seen(self) -> Service:
        assert self.service is not None
        return self.service

    @property
    def on_its_way(self) -> bool:
        """Whether the service may reach the goal, and ECS has not said otherwise."""
        return self.service is not None and (self._is_ending or self._trouble is None)

    @property
    def _is_ending(self) -> bool:
        return self.pending.step in (Step.STOP, Step.KILL)

    @property
    def _trouble(self) -> str | None:
        """Why tasks do not start, as the service's latest event since the beginning of the step says."""
        return self.seen.trouble_since(self.pending.begun_at - _CLOCKS_DIFFER)

    def calls_are_over(self) -> bool:
        """Wait until the calls of others that may change the service are over and shown.

        Returns False if that takes too long.
        """
        end = self.container.calls_end_at
        if end is None:
            return True
        return any(self.now() >= end for _ in self.waits.rounds())

    @property
    def over(self) -> dict[str, datetime]:
        """The attributes of the container that change if all calls of this attempt are over."""
        return {} if self.unanswered else {"calls_end_at": self.now() + SHOWN_AFTER}

    def look(self) -> NeverRan | Unobserved | None:
        """Describe the service. Returns the observation if ECS does not show it."""
        asked_at, name = self.now(), self.container.runtime.service or ""
        self.service = self.read(lambda: self._services.describe(self.container.runtime))
        self._has_sought_rollout = False
        if self.service is not None:
            self.absent.pop(name, None)
            return None
        first = self.absent.get(name)
        if first is None or self.now() - first > LOOKS_LAST:
            self.absent[name] = self.now()
        elif asked_at - first >= BETWEEN_LOOKS:
            return NeverRan(self.now(), GONE, None)
        return Unobserved(_NOT_SHOWN)

    def read(self, call: Callable[[], T]) -> T:
        """Repeat a call without an effect until it is answered, or the time runs out.

        Raises:
            EcsError: The call was refused or throttled, or the last try was not answered.
        """
        return self._repeat(call, lambda: not self.waits.are_over)[0]

    def change(self, plan: Plan, call: Callable[[], T], *, repeat: bool = True) -> T:
        """Make a call with an effect, as long as it is over in time, and repeat it until it is answered.

        Raises:
            EcsError: The call was refused, throttled or not answered, or there was no time for it.
        """

        def has_time() -> bool:
            return self.now() + CALL_LASTS <= plan.until

        if not has_time():
            raise EcsError(BUSY, no_effect=False, throttled=True)
        try:
            answer, repeated = self._repeat(call, lambda: repeat and has_time())
        except EcsError as error:
            self.acted = self.acted or not error.no_effect
            raise
        self.acted = True
        self.unanswered = self.unanswered or repeated
        return answer

    def undo(self, plan: Plan, call: Callable[[], None]) -> None:
        """Take back the only change of this attempt, since its next call was refused.

        If that is not answered, the next driver tries again. In the end, the drift sweep restores what is held.
        """
        if self.unanswered:
            return
        try:
            self.change(plan, call)
        except EcsError:
            return
        self.acted = self.change_so_far.called

    def _repeat(self, call: Callable[[], T], again: Callable[[], bool]) -> tuple[T, bool]:
        """Repeat a call. Returns the answer, and whether a try before was not answered."""
        unanswered = False
        while True:
            try:
                return call(), unanswered
            except EcsError as error:
                if error.no_effect and unanswered:
                    raise EcsError(error.reason, no_effect=False) from error
                if error.no_effect or error.throttled or not again():
                    raise
                unanswered = True
                self._clock.sleep(_PAUSE)

    def reached(self) -> Reached | None:
        """Return the observation if the goal of the step is reached."""
        service, step = self.seen, self.pending.step
        attributes: dict[str, Any] = {"running_count": service.running}
        facts = Observed()
        if not self.settled:
            return None
        match step:
            case Step.START:
                if not service.is_steady or not self.is_enough():
                    return None
                # A policy may have set the count to 0, which is no count to start with.
                count = service.desired or self.container.desired_count
                attributes |= {"desired_count": count, "count_stored_at": None, "scaling": None}
            case Step.ROLL:
                rollout = self.find_rollout()
                if rollout is None or not rollout.has_succeeded or service.desired == 0:
                    return None
                attributes["desired_count"] = service.desired
                facts = facts._replace(rolling=True)
            case _:
                if not service.is_empty or not self._have_all_stopped():
                    return None
        return Reached(self.now(), facts, attributes=attributes)

    def is_enough(self) -> bool:
        """Check whether the service has the count of a start, after the calls of the start.

        From then on, a scaling policy sets the count, and Longshore does not change it again.

        Raises:
            EcsError: The lookup of the scalable target was refused, throttled or not answered.
        """
        wanted, desired = self.container.desired_count or 1, self.seen.desired
        if desired >= wanted:
            return True
        end = self.container.calls_end_at
        if end is not None and self.now() < end:
            return False  # ECS may show a count before that of the calls.
        target = self.read(lambda: self._services.target(self.container.runtime))
        if target is None:
            return False
        least = min(wanted, target.maximum) if target.scaling.is_suspended else target.scaling.minimum
        return desired >= least

    def _have_all_stopped(self) -> bool:
        """Look whether every task of the service is STOPPED. Tasks that deregister or stop are in none of its counts.

        Raises:
            EcsError: The lookup was refused, throttled or not answered.
        """
        self.unstopped = self.read(lambda: self._services.unstopped(self.container.runtime))
        return self.unstopped == 0

    def find_rollout(self) -> ServiceDeployment | None:
        """Look up the deployment of a rolling restart. Returns None if ECS shows none.

        ECS has named it in its answer. If the answer was lost, it is the first deployment after the newest one that was
        seen before the call. That may be the deployment of another client, if this has deployed in the same seconds.

        Raises:
            EcsError: The lookup was refused, throttled or not answered.
        """
        if self._has_sought_rollout:
            return self.rollout
        change, since = self.change_so_far, self.pending.begun_at - _CLOCKS_DIFFER
        found = self.read(lambda: self._services.deployments(self.container.runtime, since))
        arns = [deployment.arn for deployment in found]
        if change.started is not None:
            found = [deployment for deployment in found if deployment.arn == change.started]
        elif change.before in arns:
            found = found[arns.index(change.before) + 1 :]
        self.rollout, self._has_sought_rollout = next(iter(found), None), True
        return self.rollout

    def failed(self) -> NeverRan | None:
        """Return the observation if the deployment of a rolling restart has ended without success.

        ECS may have rolled it back. The tasks from before then run on, which the drift sweep records.
        """
        failure = self.rollout.failure if self.rollout is not None else None
        return NeverRan(self.now(), failure, None) if failure is not None else None

    def unobserved(self) -> Unobserved:
        """Return why the goal is not reached."""
        service = self.seen
        if self._is_ending:
            counted = service.running + service.pending
            return Unobserved(f"{max(counted, self.unstopped or 0)} tasks have not stopped")
        undone = self.rollout.reason if self.rollout is not None and "ROLLBACK" in self.rollout.status else None
        return Unobserved(undone or self._trouble or f"{service.running} of {service.desired} tasks run")
