"""The steps of operations on services: their calls to ECS and Application Auto Scaling, and their observations.

UpdateService and RegisterScalableTarget have no client token, and ECS may still process a call whose reply is lost. So
the time by which all calls are over and shown is stored before the first call, with what the next start has to restore:

    driver        look - store - calls - store: answered - wait ------------ look - commit
    next driver                                              look - commit

- No call begins before the calls of the previous operation, or of another driver, are over, and none ends later than
  stored. The goal of a step is not observed while calls of the previous operation may change it again.
- DescribeServices may show an older state for some seconds, which may be the goal of the step. So an operation looks
  for the first time when the calls of the previous operation are shown.
- A handler of an event only looks. Only the driver, which owns the operation until its deadline, makes calls.

Calls are repeated by the next driver, which looks first: with `forceNewDeployment`, a second call would replace the
tasks once more. So a restart calls it again only if ECS shows no service deployment that has begun since. The end of
this deployment is the end of the restart.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, assert_never

from longshore.aws.ecs import Ecs, EcsError
from longshore.aws.hosts import Action, HostCommands
from longshore.aws.services import CALLS_LAST, SHOWN_AFTER, Services
from longshore.domain.clock import Clock
from longshore.domain.lifecycle import Kind, Step
from longshore.domain.models import Container
from longshore.domain.pending import PendingOperation
from longshore.domain.service import held_by_stop, owed_to_owner
from longshore.domain.task import adopted_as
from longshore.engine.known import Known
from longshore.engine.observations import (
    Changed,
    Findings,
    NoEffect,
    Noting,
    Observation,
    Plan,
    Result,
    Uncertain,
)
from longshore.engine.service_attempt import BUSY, ServiceAttempt
from longshore.engine.steps import Steps
from longshore.engine.waits import ChangedError, Waits


class ServiceSteps:
    """Runs steps of services. Errors of AWS are returned as observations, not raised."""

    def __init__(self, services: Services, ecs: Ecs, hosts: HostCommands, clock: Clock) -> None:
        self._services = services
        self._ecs = ecs
        self._hosts = hosts
        self._clock = clock

    def run(
        self,
        container: Container,
        pending: PendingOperation,
        until: datetime,
        *,
        known: Known = Known(),  # noqa: B008  (immutable)
        has_changed: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Make one attempt at the pending operation's step, or a part of it. See `Steps.run`."""
        attempt = ServiceAttempt(
            self._services, self._clock, container, pending, Waits(self._clock, until, has_changed)
        )
        observation: Observation
        try:
            observation = self._observe(attempt, known)
        except ChangedError:
            observation = Changed(None)
        except EcsError as error:
            if error.no_effect and not attempt.acted:
                observation = NoEffect(error.reason)
            else:
                observation = Uncertain(error.reason, throttled=error.throttled)
        counts = {} if attempt.service is None else {"running_count": attempt.service.running}
        findings = Findings(attempt.acted, attempt.on_its_way, absent=attempt.absent, attributes=counts)
        return Result(observation, findings)

    def _observe(self, attempt: ServiceAttempt, known: Known) -> Observation:
        noted = known.noted
        if noted is not None and noted.plan is not None:
            return self._call(attempt, noted.plan)
        if noted is None:
            # An event's handler looks although the driver's calls may be in progress.
            may_wait = known.acts or not attempt.change_so_far.calls
            if may_wait and not attempt.calls_are_over():
                return Uncertain(BUSY, throttled=True)
            failure = attempt.look()
            if failure is not None:
                return failure
            if known.acts:
                if (planned := self._planned(attempt)) is not None:
                    return planned
                attempt.settled = True
                if attempt.pending.step is Step.KILL:
                    self._kill(attempt)
        else:
            attempt.service = noted.service
        return self._watch(attempt)

    # --- changing the service --------------------------------------------------------------------------------------

    def _planned(self, attempt: ServiceAttempt) -> Observation | None:
        """Return what to store before the calls, or None if there is nothing to call."""
        plan, attributes, change = self._plan(attempt)
        if plan is None:
            return None
        if not attempt.calls_are_over():
            return Uncertain(BUSY, throttled=True)
        self._services.take_turn()
        until = attempt.now() + CALLS_LAST
        return Noting(
            attributes | {"calls_end_at": until + SHOWN_AFTER},
            change | {"calls": True, "called": False},
            plan._replace(until=until),
        )

    def _plan(self, attempt: ServiceAttempt) -> tuple[Plan | None, dict[str, Any], dict[str, Any]]:
        """Return the calls that the step needs, and attributes of the container and of the operation to store first."""
        match attempt.pending.step:
            case Step.START:
                return self._plan_of_start(attempt)
            case Step.STOP | Step.KILL:
                return self._plan_of_stop(attempt)
            case Step.ROLL:
                return self._plan_of_roll(attempt)
            case Step.PAUSE | Step.UNPAUSE:
                raise AssertionError("services are not paused")
            case step:
                assert_never(step)

    def _plan_of_start(self, attempt: ServiceAttempt) -> tuple[Plan | None, dict[str, Any], dict[str, Any]]:
        container, service, so_far = attempt.container, attempt.seen, attempt.change_so_far
        wanted = container.desired_count or 1
        if so_far.called and attempt.is_enough():
            return None, {}, {}
        target = attempt.read(lambda: self._services.target(container.runtime))
        restore = owed_to_owner(container.scaling, target)
        if restore is not None and target is not None:
            # Restoring moves the count into the bounds.
            wanted = min(wanted, max(target.maximum, 1))
        # Only a policy that is not suspended may have raised the count.
        scales = target is not None and not target.scaling.is_suspended
        exact = service.desired >= wanted if scales else service.desired == wanted
        # ECS starts no task of a deployment that the circuit breaker has ended, so a start begins another one. It does
        # so once: then another deployment is the primary one.
        primary = service.primary
        failed = primary is not None and primary.has_failed and service.running < wanted
        roll = primary is not None and failed and so_far.deployment in (None, primary.id)
        if exact and restore is None and not roll:
            return None, {}, {}
        plan = Plan(attempt.now(), desired=None if exact else wanted, restore=restore, roll=roll)
        return plan, {}, {"deployment": primary.id} if primary is not None and roll else {}

    def _plan_of_stop(self, attempt: ServiceAttempt) -> tuple[Plan | None, dict[str, Any], dict[str, Any]]:
        container, so_far, service = attempt.container, attempt.change_so_far, attempt.seen
        if so_far.called and service.desired == 0:
            return None, {}, {}
        target = attempt.read(lambda: self._services.target(container.runtime))
        suspend = target is not None and not target.scaling.is_of_stop
        attributes: dict[str, Any] = {}
        unapplied = container.apply_count_at is not None or service.desired == 0
        count = container.desired_count if unapplied else service.desired
        # While the container is live, what is stored is of a stop that may have made no calls: it may be out of date.
        if container.count_stored_at is None or (container.is_live and count != container.desired_count):
            attributes |= {"desired_count": count, "count_stored_at": attempt.now()}
        held = container.scaling if target is None else held_by_stop(container.scaling, target)
        if held != container.scaling:
            attributes["scaling"] = held
        if service.desired == 0 and not suspend and not attributes:
            return None, {}, {}
        # What was held before is still owed if this operation ends without an effect.
        new = set(attributes) - ({"scaling"} if container.scaling is not None else set())
        stored = sorted({*so_far.stored, *new} - {"desired_count"})
        undo = held if suspend else owed_to_owner(held, target)
        plan = Plan(attempt.now(), desired=0, suspend=suspend, undo=undo if service.desired else None)
        return plan, attributes, {"stored": stored} if attributes else {}

    def _plan_of_roll(self, attempt: ServiceAttempt) -> tuple[Plan | None, dict[str, Any], dict[str, Any]]:
        container, so_far, service = attempt.container, attempt.change_so_far, attempt.seen
        if so_far.called or (so_far.calls and attempt.find_rollout() is not None):
            return None, {}, {}
        # The service runs, unless its count was set to 0 outside of Longshore.
        changes = container.apply_count_at is not None or service.desired == 0
        count = container.desired_count if changes else None
        before = {"deployment": service.primary.id if service.primary else "", "before": service.current}
        return Plan(attempt.now(), desired=count, roll=True), {}, before

    def _call(self, attempt: ServiceAttempt, plan: Plan) -> Observation:
        """Make the calls of a plan."""
        runtime, desired, restore = attempt.container.runtime, plan.desired, plan.restore
        if plan.suspend:
            attempt.change(plan, lambda: self._services.suspend(runtime))
        if desired is not None or plan.roll:
            # Another call would roll again.
            update = partial(self._services.update, runtime, desired, roll=plan.roll)
            try:
                attempt.service = attempt.change(plan, update, repeat=not plan.roll)
            except EcsError as error:
                if error.no_effect and plan.undo is not None:
                    attempt.undo(plan, partial(self._services.restore, runtime, plan.undo))
                raise
        if restore is not None:
            attempt.change(plan, lambda: self._services.restore(runtime, restore))
        attempt.settled = True
        if attempt.pending.step is Step.KILL:
            self._kill(attempt)
        noted: dict[str, Any] = {"called": True}
        if attempt.pending.step is Step.ROLL:
            current = attempt.seen.current
            noted["started"] = current if current != attempt.change_so_far.before else None
        elif attempt.service is not None and (reached := attempt.reached()) is not None:
            return reached._replace(attributes={**reached.attributes, **attempt.over})
        return Noting(attempt.over, noted, service=attempt.service)

    def _kill(self, attempt: ServiceAttempt) -> None:
        """Kill the containers of the service's tasks on their hosts. Best effort: ECS stops them, too, more slowly."""
        container, pending = attempt.container, attempt.pending
        if attempt.service is not None and attempt.service.is_empty:
            return
        try:
            tasks, _ = self._ecs.of_service(container.runtime.cluster, container.runtime.service or "")
            for task in tasks:
                # A host runs one command per container and number. Each task counts as a container of its own.
                own = container.model_copy(update={"id": adopted_as(task.arn)})
                self._hosts.send(Action.KILL, own, task, pending.command.number)
        except EcsError:
            return

    # --- observing the service -------------------------------------------------------------------------------------

    def _watch(self, attempt: ServiceAttempt) -> Observation:
        """Wait until an event has completed the operation. When the time is over, look."""
        for number, last in enumerate(attempt.waits.rounds()):
            if number > 0 and not last:
                continue
            if number > 0 or attempt.service is None:
                failure = attempt.look()
                if failure is not None:
                    return failure
            observed: Observation | None = attempt.reached() or attempt.failed()
            if observed is not None:
                return observed
        return attempt.unobserved()


class StepsByKind(Steps):
    """Runs steps of tasks and of services."""

    def __init__(self, ecs: Ecs, hosts: HostCommands, clock: Clock, services: Services) -> None:
        super().__init__(ecs, hosts, clock)
        self._of_services = ServiceSteps(services, ecs, hosts, clock)

    def run(
        self,
        container: Container,
        pending: PendingOperation,
        until: datetime,
        *,
        look_first: bool = False,
        known: Known = Known(),  # noqa: B008  (immutable)
        host_is_done: bool = False,
        has_changed: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Make one attempt at the step. See `Steps.run`."""
        if container.kind is Kind.SERVICE:
            return self._of_services.run(container, pending, until, known=known, has_changed=has_changed)
        return super().run(
            container,
            pending,
            until,
            look_first=look_first,
            known=known,
            host_is_done=host_is_done,
            has_changed=has_changed,
        )
