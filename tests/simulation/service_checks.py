"""Checks of services: what operations on them have done, and that their containers say what is true.

1. An operation that ends without a row has changed nothing of the service, and one that has completed changes nothing
   afterwards. Somebody else may have changed the service since; then a call that was repeated may change it back.
2. When an operation completes, the service has been seen in the state of its goal, at a moment since the claim:
   `running` with one deployment and as many tasks as desired and requested, `stopped` without tasks. If its scaling is
   active, and somebody has changed the count since, it has at least the minimum instead of the requested count.
3. A service that an operation has stopped keeps the count 0 until the next operation, unless somebody changes it.
4. The count and the scaling that a stop has found are restored by the next completed start.
5. A restart starts one deployment at the most, and completes only if this deployment has succeeded.
6. A call that is of no operation changes neither a stopped service nor one that the pending operation has changed.
7. After the run, the containers agree with their services, and no scaling policy can raise a stopped service.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from longshore.aws.services import SHOWN_AFTER
from longshore.domain.models import Container

from local.emulator.ecs import ServiceDeployment
from simulation.hostility import Reached
from simulation.records import Fate, Violation
from simulation.scheduler import Actor
from simulation.services import SUSPENSIONS, ScalableTarget, SimulatedService

if TYPE_CHECKING:
    from simulation.world import World

Plain = dict[str, Any]
_ENDING = ("stop", "kill")


class Moment(NamedTuple):
    """The state of a service from a moment on."""

    at: datetime
    desired: int
    running: int
    pending: int
    deployments: int
    minimum: int | None  # None: nobody scales the service


@dataclass
class Record:
    """What is known about a service and its container."""

    container_id: str
    mark: tuple[Any, ...] = ()  # of the state that was observed last
    described: Plain = field(default_factory=dict)  # the state that was observed last
    moments: list[Moment] = field(default_factory=list)
    effects: dict[str, list[str]] = field(default_factory=dict)  # operation id: the changes of the service, in words
    found: dict[str, tuple[Any, ...] | None] = field(default_factory=dict)  # operation id: the scaling that it found
    deployed: Counter[str] = field(default_factory=Counter)  # operation id: the deployments that it has started
    rollouts: dict[str, ServiceDeployment] = field(default_factory=dict)  # operation id: the last of them
    requested: dict[str, int] = field(default_factory=dict)  # operation id: the count of the container at the claim
    claimed_at: dict[str, datetime] = field(default_factory=dict)
    to_restore: bool = False  # a stop has changed the service, and no start has completed since
    count: int | None = None  # the count to restore; None: not known
    scaling: tuple[Any, ...] | None = None  # the minimum and the suspensions to restore; None: no scalable target
    scaling_is_known: bool = True  # whether a stop can know `scaling`
    begun_by: set[str] = field(default_factory=set)  # the operations since whose first change it is `to_restore`
    changed_at: datetime | None = None  # when somebody else has last changed the count
    bounded_at: datetime | None = None  # when a scheduled action has last changed the bounds
    registered_by: str | None = None  # the operation that has registered the target last
    stopped_by: str | None = None  # the operation that has stopped it, unless somebody has changed its count since

    def touched_since(self, since: datetime) -> bool:
        """Return whether somebody else has changed the count since a time, or just before it."""
        return self.changed_at is not None and self.changed_at >= since - SHOWN_AFTER

    def bounded_since(self, since: datetime) -> bool:
        """Return whether a scheduled action has changed the bounds since a time, or just before it."""
        return self.bounded_at is not None and self.bounded_at >= since - SHOWN_AFTER


class ServiceChecks:
    """Records the changes of services, and raises Violation at the first that breaks an invariant."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.records: dict[str, Record] = {}  # by the name of the service
        self._drivers: dict[tuple[str, str], str | None] = {}  # actor and container id: the operation it has written

    def add(self, service: SimulatedService, container: Container) -> None:
        """Add a service as it is at the start of the run."""
        record = self.records[service.name] = Record(container.id)
        if container.scaling is not None or not container.is_live:
            stored = container.scaling
            record.to_restore, record.count = True, container.desired_count
            if stored is not None:
                record.scaling = (
                    stored.minimum,
                    stored.dynamic_scaling_in_suspended,
                    stored.dynamic_scaling_out_suspended,
                    stored.scheduled_scaling_suspended,
                )
        self.observe()

    # --- changes of services ---------------------------------------------------------------------------------------

    def observe(self) -> None:
        """Record the states of the services, and check those that are stopped."""
        world = self._world
        for name, record in self.records.items():
            service = world.services.find(name)
            if service is None:
                continue
            mark = world.services.mark(service)
            if mark != record.mark:
                record.mark, record.described = mark, world.services.described(service)
                world.hostile_services.observe(name, record.described, world.services.deployments(service))
            described = record.described
            moment = Moment(
                world.scheduler.now,
                described["desiredCount"],
                described["runningCount"],
                described["pendingCount"],
                len(described["deployments"]),
                _minimum(world.services.target(service)),
            )
            if not record.moments or record.moments[-1][1:] != moment[1:]:
                record.moments.append(moment)
            if record.stopped_by is not None and moment.desired > 0:
                raise Violation(
                    f"{name} was stopped by {record.stopped_by}, and its count is {moment.desired} although nobody has "
                    "changed it and nothing is pending"
                )

    def owner(self, actor: Actor, parameters: Plain) -> str | None:
        """Return the operation for which an actor calls, or None if it applies a changed count."""
        name = self._world.services.name_of(parameters)
        return self._drivers.get((actor.name, self.records[name].container_id))

    @contextmanager
    def change(self, owner: str | None, operation: str, parameters: Plain) -> Iterator[None]:
        """Record and check what a call changes."""
        world = self._world
        name = world.services.name_of(parameters)
        record, service = self.records[name], world.services.find(name)
        before = self._state(service)
        yield
        if operation == "RegisterScalableTarget":
            record.registered_by = owner
        after = self._state(service)
        if before == after:
            return
        words = f"{operation} has changed {name} from {before} to {after}"
        if owner is None:
            self._check_unowned(record, words)
            return
        found = record.found.setdefault(owner, before[1])
        if operation == "RegisterScalableTarget" and len(record.effects.get(owner, [])) == 1 and after[1] == found:
            # ECS has refused the count, and the scaling is as before.
            del record.effects[owner], record.found[owner]
            record.to_restore = record.to_restore and owner not in record.begun_by
            return
        record.effects.setdefault(owner, []).append(words)
        was = world.ledger.operations[owner]
        fate = world.ledger.fates[owner]
        touched = record.touched_since(record.claimed_at[owner])
        idle = "operation" not in world.ledger.containers[record.container_id]
        late = fate is Fate.ABANDONED or (fate is Fate.COMMITTED and not touched) or (fate is Fate.SUPERSEDED and idle)
        if late and not self._is_full(record):
            raise Violation(f"{was['operation']} {owner} is {fate}, but {words}")
        if before[2] != after[2]:
            record.deployed[owner] += 1
            assert service is not None
            record.rollouts[owner] = service.history[0]
            if record.deployed[owner] > 1:
                raise Violation(f"{was['operation']} {owner} has started {record.deployed[owner]} deployments")
        if was["step"] in _ENDING and not record.to_restore:
            record.to_restore = True
            record.begun_by.add(owner)
            item = world.ledger.containers[record.container_id]
            record.count = None if touched or before[0] == 0 else before[0]
            if item.get("apply_count_at") is not None:
                record.count = item["desired_count"]  # A caller has changed it, and ECS has not answered.
            record.scaling = before[1]
            record.scaling_is_known = not record.bounded_since(record.claimed_at[owner])

    def _check_unowned(self, record: Record, words: str) -> None:
        """Check a call that is of no operation, after its effect: it has changed no stopped service, and no other one.

        Such a call applies a changed count, or restores the scaling. An operation waits until it is over.
        """
        item = self._world.ledger.containers[record.container_id]
        operation = item.get("operation")
        if operation is None and item["status"] == "stopped":
            raise Violation(f"{words} for no operation, although it was stopped")
        if operation is not None and operation["id"] in record.effects:
            raise Violation(f"{words} for no operation, after {operation['operation']} {operation['id']} had done so")

    def changed_outside(self, name: str, *, by_policy: bool = False) -> None:
        """Record that somebody else, or a scaling policy, has changed the count of a service."""
        record = self.records[name]
        record.changed_at = self._world.scheduler.now
        record.count = None
        if not by_policy:
            record.stopped_by = None

    def bounded_outside(self, name: str, minimum: int) -> None:
        """Record that a scheduled action has changed the minimum of a service, and may move its count."""
        record = self.records[name]
        record.bounded_at, record.registered_by = self._world.scheduler.now, None
        if record.scaling is not None:
            # A minimum of 0 looks like that of a stop, so Longshore cannot know that it is the owner's.
            record.scaling = (minimum, *record.scaling[1:])
            record.scaling_is_known = record.scaling_is_known and minimum > 0

    def moved(self, target: ScalableTarget, before: int) -> None:
        """Record and check a move of a count into the bounds that were registered last."""
        name = target.resource_id.rpartition("/")[2]
        record = self.records[name]
        owner, low = record.registered_by, target.minimum
        self._world.reached(Reached.SERVICE_MOVED)
        self._world.note("scaling", f"moves the count of {name} from {before} to {target.within(before)}")
        raised = owner is not None and before < low <= record.requested[owner]
        if owner is not None and raised and not record.touched_since(record.claimed_at[owner]):
            raise Violation(f"{owner} has moved the count of {name} from {before} by changing the scaling")
        self.changed_outside(name, by_policy=True)

    def _state(self, service: SimulatedService | None) -> tuple[int, tuple[Any, ...] | None, str]:
        """Return the count, the minimum and the suspensions, and the newest service deployment."""
        if service is None:
            return 0, None, ""
        scaling = _scaling(self._world.services.target(service))
        return service.desired_count, scaling, service.current.arn if service.history else ""

    # --- writes of containers --------------------------------------------------------------------------------------

    def written(self, old: Plain, new: Plain) -> None:
        """Record and check a write of a container's item."""
        name = (new.get("runtime") or {}).get("service")
        record = self.records.get(name or "")
        if name is None or record is None:
            return
        actor, was, now = self._world.scheduler.current, old.get("operation"), new.get("operation")
        if actor is not None:
            self._drivers[actor.name, new["id"]] = now["id"] if now else None
            if "change" in actor.name and old.get("desired_count") != new.get("desired_count") and record.to_restore:
                record.count = new["desired_count"]
        if now is not None and now["id"] not in record.claimed_at:
            record.claimed_at[now["id"]] = self._world.scheduler.now
            record.requested[now["id"]] = new.get("desired_count") or 1
            record.stopped_by = None
        if was is None or now is not None:
            if old and now is None and old["status"] != new["status"]:
                record.stopped_by = None
            return
        fate = self._world.ledger.fates[was["id"]]
        if fate is Fate.ABANDONED and not self._is_full(record):
            if was["id"] in record.effects:
                raise Violation(f"{was['operation']} {was['id']} ended without a row: {record.effects[was['id']][0]}")
        elif fate is Fate.COMMITTED:
            self._check_goal(record, name, was)

    def _is_full(self, record: Record) -> bool:
        return record.container_id in self._world.ledger.full

    def _check_goal(self, record: Record, name: str, was: Plain) -> None:
        """Check that the service has been in the state of the goal since the claim."""
        step, operation_id = was["step"], was["id"]
        since = record.claimed_at[operation_id]
        words = f"{was['operation']} {operation_id} of {name} has completed"
        if touched := record.touched_since(since):
            since -= SHOWN_AFTER  # DescribeServices may have shown a state before the change of somebody else.
        later = [moment.at for moment in record.moments[1:]] + [None]
        seen = [moment for moment, end in zip(record.moments, later, strict=True) if end is None or end >= since]
        if step in _ENDING:
            if not any(moment.running == moment.pending == 0 for moment in seen):
                raise Violation(f"{words}, but its tasks have not stopped since the claim: {seen[-1]}")
            record.stopped_by = None if touched else operation_id
            return
        least = record.requested[operation_id] if step == "start" else 1

        def is_enough(moment: Moment) -> bool:
            scaled = touched and moment.minimum is not None and moment.desired >= moment.minimum
            return moment.desired >= least or scaled

        if not any(m.deployments == 1 and m.running == m.desired and is_enough(m) for m in seen):
            raise Violation(f"{words}, but fewer than {least} tasks have run since the claim: {seen[-1]}")
        if step == "roll":
            if record.deployed[operation_id] != 1 and not touched:
                raise Violation(f"{words}, but has started no deployment")
            rollout = record.rollouts.get(operation_id)
            if rollout is not None and rollout.status != "SUCCESSFUL" and not touched:
                raise Violation(f"{words}, but its deployment is {rollout.status}")
            return
        self._check_restored(record, name, since, words)

    def _check_restored(self, record: Record, name: str, since: datetime, words: str) -> None:
        service = self._world.services.find(name)
        if service is not None and record.to_restore:
            desired, scaling, _ = self._state(service)
            # The scaling moves a count that a caller has set below its minimum.
            target = self._world.services.target(service)
            least = record.scaling[0] if record.scaling and target is not None and target.due is None else desired
            if record.count is not None and desired != max(record.count, least):
                raise Violation(f"{words}, but its count was {record.count} before the stop, and is {desired}")
            known = record.scaling_is_known and not record.bounded_since(since)
            if scaling != record.scaling and known:
                raise Violation(f"{words}, but its scaling was {record.scaling} before the stop, and is {scaling}")
            self._world.stats["services restored"] += 1
        record.to_restore, record.count, record.scaling, record.scaling_is_known = False, None, None, True

    # --- after the run ---------------------------------------------------------------------------------------------

    def owed(self) -> bool:
        """Return whether a service runs whose scaling is held, so that a drift sweep has to restore it."""
        return any(self._owes(self._world.ledger.containers[each.container_id]) for each in self.records.values())

    def _owes(self, container: Plain) -> bool:
        service = self._world.services.find(container["runtime"]["service"])
        if service is None or service.status != "ACTIVE" or "scaling" not in container:
            return False
        runs = any(task.last_status == "RUNNING" for task in self._world.services.tasks(service))
        return container["status"] in ("running", "failed") and service.desired_count > 0 and runs

    def settled(self, container: Plain) -> bool:
        """Check a container without a pending operation, if it stands for a service. Returns whether it does.

        Raises:
            Violation: The container does not agree with its service.
        """
        name = container["runtime"].get("service")
        if name is None:
            return False
        service, status = self._world.services.find(name), container["status"]
        record = self.records[name]
        if service is None or service.status != "ACTIVE":
            if status == "running":
                raise Violation(f"{name} says running, and its service was deleted")
            return True
        running = sum(task.last_status == "RUNNING" for task in self._world.services.tasks(service))
        count = container["desired_count"]
        state = f"{name} says {status} with the count {count}, and {running} of {service.desired_count} run"
        if self._owes(container):
            raise Violation(f"{state}; its scaling was not restored")
        if container.get("apply_count_at") is not None:
            raise Violation(f"{state}; a changed count was not applied")
        target = self._world.services.target(service)
        off = service.desired_count == 0 and _minimum(target) == 0  # a policy has scaled it to 0, and may start it
        differs = service.desired_count == 0 or service.desired_count != container["desired_count"]
        if status == "running" and differs and not off:
            raise Violation(state)
        if status == "stopped" and running > 0:
            raise Violation(state)
        if status == "failed" and running == service.desired_count > 0 and len(service.deployments) == 1:
            raise Violation(state)
        most = target.maximum if target is not None else 0
        if record.stopped_by is not None and most and self._world.services.scale(service, most):
            raise Violation(f"{name} was stopped by {record.stopped_by}, and a scaling policy raises it")
        return True


def _minimum(target: ScalableTarget | None) -> int | None:
    """Return the minimum of a service if a scaling policy may change its count."""
    return None if target is None or all(target.suspended.values()) else target.minimum


def _scaling(target: ScalableTarget | None) -> tuple[Any, ...] | None:
    """Return the minimum and the suspensions of a service."""
    return None if target is None else (target.minimum, *(target.suspended[name] for name in SUSPENSIONS))
