"""Removals of the guards of operations on services. See `mutants`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock


@contextmanager
def stop_overwrites_stored() -> Iterator[None]:
    """Store the count and the scaling with every stop, also over stored ones."""
    from longshore.engine.service_steps import ServiceSteps

    original = ServiceSteps._plan_of_stop

    def plan(self: ServiceSteps, attempt: Any) -> Any:
        stored = attempt.container
        attempt.container = stored.model_copy(update={"count_stored_at": None, "scaling": None})
        try:
            return original(self, attempt)
        finally:
            attempt.container = stored

    with mock.patch.object(ServiceSteps, "_plan_of_stop", plan):
        yield


@contextmanager
def scaling_before_count() -> Iterator[None]:
    """Restore the scaling before the count."""
    from longshore.engine.service_steps import ServiceSteps

    original = ServiceSteps._call

    def call(self: ServiceSteps, attempt: Any, plan: Any) -> Any:
        if plan.restore is not None:
            attempt.change(plan, lambda: self._services.restore(attempt.container.runtime, plan.restore))
        return original(self, attempt, plan._replace(restore=None))

    with mock.patch.object(ServiceSteps, "_call", call):
        yield


@contextmanager
def stop_without_suspension() -> Iterator[None]:
    """Change the count of a stopped service, but leave its scaling on."""
    from longshore.engine.service_steps import ServiceSteps

    original = ServiceSteps._call

    def call(self: ServiceSteps, attempt: Any, plan: Any) -> Any:
        return original(self, attempt, plan._replace(suspend=False))

    with mock.patch.object(ServiceSteps, "_call", call):
        yield


@contextmanager
def roll_without_look() -> Iterator[None]:
    """Repeat a rolling replacement without comparing the primary deployment."""
    from longshore.engine.service_steps import ServiceSteps

    original = ServiceSteps._plan_of_roll

    def plan(self: ServiceSteps, attempt: Any) -> Any:
        pending = attempt.pending
        attempt.pending = pending.model_copy(update={"deployment": None})
        try:
            return original(self, attempt)
        finally:
            attempt.pending = pending

    with mock.patch.object(ServiceSteps, "_plan_of_roll", plan):
        yield


@contextmanager
def roll_is_repeated() -> Iterator[None]:
    """Repeat a rolling replacement that was not answered, in the same attempt."""
    from longshore.engine.service_attempt import ServiceAttempt

    original = ServiceAttempt.change

    def change(self: ServiceAttempt, plan: Any, call: Any, *, repeat: bool = True) -> Any:
        return original(self, plan, call)

    with mock.patch.object(ServiceAttempt, "change", change):
        yield


@contextmanager
def calls_end_at_ignored() -> Iterator[None]:
    """Begin calls while those of the previous operation may be in progress."""
    from longshore.engine.service_attempt import ServiceAttempt

    with mock.patch.object(ServiceAttempt, "calls_are_over", return_value=True):
        yield


@contextmanager
def calls_without_end() -> Iterator[None]:
    """Begin calls that end later than stored."""
    from longshore.engine.service_attempt import ServiceAttempt

    original = ServiceAttempt.change

    def change(self: ServiceAttempt, plan: Any, call: Any, *, repeat: bool = True) -> Any:
        return original(self, plan._replace(until=self.now() + timedelta(days=1)), call, repeat=repeat)

    with mock.patch.object(ServiceAttempt, "change", change):
        yield


@contextmanager
def older_state_proves() -> Iterator[None]:
    """Look as soon as the calls of the previous operation are answered."""
    from longshore.engine import counts, service_attempt

    with (
        mock.patch.object(service_attempt, "SHOWN_AFTER", timedelta()),
        mock.patch.object(counts, "SHOWN_AFTER", timedelta()),
    ):
        yield


def overtaken_driver_calls() -> Any:
    """Make calls that were planned before another driver took the operation over.

    Too rare for the simulation: the exploration finds it.
    """
    from longshore.engine.apply import Continue

    return mock.patch.object(Continue, "is_stored", property(lambda _: True))


@contextmanager
def refused_look_hides_calls() -> Iterator[None]:
    """End an operation without a row if a look is refused after its calls were answered.

    Too rare for the simulation: the exploration finds it.
    """
    from longshore.engine.service_attempt import ServiceAttempt

    original = ServiceAttempt.__init__

    def initialize(self: ServiceAttempt, *arguments: Any) -> None:
        original(self, *arguments)
        self.acted = False

    with mock.patch.object(ServiceAttempt, "__init__", initialize):
        yield


@contextmanager
def event_acts() -> Iterator[None]:
    """Let the handler of an event call like the driver."""
    from longshore.engine.service_steps import ServiceSteps

    original = ServiceSteps.run

    def run(self: ServiceSteps, container: Any, pending: Any, until: Any, *, known: Any, **options: Any) -> Any:
        return original(self, container, pending, until, known=known._replace(acts=True), **options)

    with mock.patch.object(ServiceSteps, "run", run):
        yield


@contextmanager
def goal_before_scaling() -> Iterator[None]:
    """Observe the goal although calls are left to make."""
    from longshore.engine.service_attempt import ServiceAttempt

    original = ServiceAttempt.reached

    def reached(self: ServiceAttempt) -> Any:
        self.settled = True
        return original(self)

    with mock.patch.object(ServiceAttempt, "reached", reached):
        yield


@contextmanager
def drift_compares_older_state() -> Iterator[None]:
    """Compare a container with a look that may be older than a changed count."""
    from longshore.engine.service_drift import ServiceDrift

    original = ServiceDrift._reconcile

    def reconcile(self: ServiceDrift, container: Any, service: Any, asked_at: Any, **options: Any) -> str:
        if container.apply_count_at is None and service is not None:
            asked_at += timedelta(days=1)
        return original(self, container, service, asked_at, **options)

    with mock.patch.object(ServiceDrift, "_reconcile", reconcile):
        yield


SERVICES: dict[str, Callable[[], Any]] = {
    "stop-overwrites-stored": stop_overwrites_stored,
    "scaling-before-count": scaling_before_count,
    "stop-without-suspension": stop_without_suspension,
    "roll-without-look": roll_without_look,
    "roll-is-repeated": roll_is_repeated,
    "calls-end-at-ignored": calls_end_at_ignored,
    "calls-without-end": calls_without_end,
    "older-state-proves": older_state_proves,
    "event-acts": event_acts,
    "goal-before-scaling": goal_before_scaling,
    "drift-compares-older-state": drift_compares_older_state,
}
