"""Compares the containers of services with ECS, and records changes that were made outside of Longshore.

    status     the service in ECS                          row
    running    every task has stopped, and the count is 0  -> stopped
    running    another count, and nobody scales it         -> running
    stopped    tasks run                                   -> running
    failed     all its tasks run                           -> running
    running    deleted (two looks, 30 s apart)             -> failed

A scaling policy changes the count between the bounds of the scalable target; such a change is stored without a row,
also a change to 0, since the policy starts the service again. If the service runs and its scaling is still held, it is
restored.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from longshore.aws.batches import batches
from longshore.aws.ecs import EcsError
from longshore.aws.services import MOST_DESCRIBED, Services
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import LongshoreError, UnreadableItemError
from longshore.domain.facts import Observed
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.ledger import BETWEEN_LOOKS, LOOKS_LAST
from longshore.domain.lifecycle import Kind, Status
from longshore.domain.models import Change, Container
from longshore.domain.pending import Trigger
from longshore.domain.service import Service
from longshore.domain.task import adopted_as
from longshore.engine.counts import CountChanges
from longshore.engine.owed_scaling import OwedScaling
from longshore.engine.pace import ClusterReads
from longshore.engine.service_attempt import GONE

GRACE = timedelta(minutes=2)
"""More recent changes of a status may not be visible everywhere yet."""

_RAISED = "The count was changed outside of Longshore"
_RUNS = "ECS shows the service running"


class ServiceDrift:
    """Compares containers of services with ECS.

    Args:
        on_failure: Called with the name and the error of each container or cluster that could not be processed.
    """

    def __init__(
        self,
        store: Store,
        services: Services,
        counts: CountChanges,
        clock: Clock,
        on_failure: Callable[[str, LongshoreError], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._services = services
        self._counts = counts
        self._owed = OwedScaling(store, services, clock)
        self._clock = clock
        self._on_failure = on_failure
        self._reads = ClusterReads(clock)

    def compare(self, containers: Sequence[Container]) -> Iterator[str]:
        """Look at the services of containers in batches, and record their changes. Yields the effects."""
        by_cluster: dict[str, dict[str, Container]] = {}
        for container in containers:
            if container.operation is None and container.status is not Status.EXPIRED and self._is_old(container):
                by_cluster.setdefault(container.runtime.cluster, {})[container.runtime.service or ""] = container
        for cluster, of_names in by_cluster.items():
            for names in batches(list(of_names), MOST_DESCRIBED):
                yield from self._batch(cluster, names, of_names)

    def _batch(self, cluster: str, names: list[str], containers: dict[str, Container]) -> Iterator[str]:
        asked_at = self._clock.now()
        try:
            found = self._reads.read(cluster, lambda: self._services.describe_many(cluster, names))
        except EcsError as error:
            for name in names:
                yield self._failed(containers[name].id, error)
            return
        for name in names:
            try:
                yield self._reconcile(containers[name], found.get(name), asked_at)
            except LongshoreError as error:
                yield self._failed(containers[name].id, error)

    def page(self, cluster: str, after: str | None) -> tuple[list[str], str | None]:
        """Compare the containers of up to 100 services of a cluster that are not live.

        The other containers are found in the index of live containers.

        Returns:
            The effects, and the position of the next page; None after the last page.

        Raises:
            LongshoreError: ECS or DynamoDB failed.
        """
        arns, after = self._reads.read(cluster, lambda: self._services.listed(cluster, after))
        found = self._store.containers([adopted_as(arn) for arn in arns]) if arns else {}
        effects: list[str] = []
        containers: list[Container] = []
        for container_id, container in found.items():
            if isinstance(container, UnreadableItemError):
                effects.append(self._failed(container_id, container))
            elif container.kind is Kind.SERVICE and not container.is_live:
                containers.append(container)
        return [*effects, *self.compare(containers)], after

    def look(self, container: Container) -> str:
        """Look at the service of one container now. Returns the effect.

        Raises:
            LongshoreError: ECS or DynamoDB failed.
        """
        if container.apply_count_at is not None:
            return self._counts.apply_later(container)
        if not self._is_old(container):
            return "true"
        asked_at = self._clock.now()
        return self._reconcile(container, self._services.describe(container.runtime), asked_at, restores=False)

    def _is_old(self, container: Container) -> bool:
        return container.status_since < self._clock.now() - GRACE

    def _reconcile(self, container: Container, service: Service | None, asked_at: Any, *, restores: bool = True) -> str:
        """Compare a container with its service. Raises LongshoreError if a call or a write has failed.

        Args:
            container: The container, with nothing pending.
            service: Its service. None: ECS does not show it.
            asked_at: The time before ECS was asked.
            restores: Whether the caller may restore the scaling. The handler of an event only looks.
        """
        if container.apply_count_at is not None:
            return "true"  # The recovery sweep applies the count.
        if container.calls_end_at is not None and asked_at < container.calls_end_at:
            return "true"  # ECS may show a state before a changed count.
        if service is None:
            return self._absent(container, asked_at)
        match container.status:
            case Status.RUNNING | Status.FAILED if restores and container.scaling is not None and service.runs:
                return self._owed.restore(container)
            case Status.RUNNING if self._is_stopped(container, service):
                return self._record(container, Status.STOPPED, service, container.desired_count, _RAISED)
            case Status.RUNNING if service.desired not in (0, container.desired_count):
                if not self._is_scaled(container, service):
                    return self._record(container, Status.RUNNING, service, service.desired, _RAISED)
            case Status.STOPPED if service.desired > 0 and service.running > 0:
                return self._record(container, Status.RUNNING, service, service.desired, _RAISED)
            case Status.FAILED if service.desired > 0 and service.is_steady:
                return self._record(container, Status.RUNNING, service, service.desired, _RUNS)
        return self._note(container, service)

    def _is_stopped(self, container: Container, service: Service) -> bool:
        """Check whether all tasks have stopped, and nobody but a person or Longshore starts them again."""
        if not service.is_empty or self._is_scaled(container, service):
            return False
        return self._services.unstopped(container.runtime) == 0

    def _is_scaled(self, container: Container, service: Service) -> bool:
        """Check whether a scaling policy can have changed the count."""
        scaling = self._services.scaling(container.runtime)
        return scaling is not None and not scaling.is_suspended and service.desired >= scaling.minimum

    def _note(self, container: Container, service: Service) -> str:
        """Store the counts, without a row, if they have changed."""
        seen: dict[str, Any] = {"running_count": service.running, "absent_since": None}
        if container.status is Status.RUNNING and service.desired > 0:
            seen["desired_count"] = service.desired
        noted = container.model_copy(update=seen)
        if noted != container:
            return _effect(self._store.note_idle(container, noted), "counted")
        return "true" if container.is_listed else _effect(self._store.note_idle(container, container), "listed again")

    def _record(self, container: Container, status: Status, service: Service, count: int | None, reason: str) -> str:
        """Write the row of a change that was made outside of Longshore."""
        attributes: dict[str, Any] = {"desired_count": count, "running_count": service.running}
        if status is Status.RUNNING:
            attributes["count_stored_at"] = None
        # The row contains the counts after the change.
        before = container.desired_count if container.status is Status.RUNNING else 0
        facts = Observed(reason=reason, count_before=before, count_after=service.desired)
        return self._write(container, Change(status, self._clock.now(), Trigger.SYSTEM, observed=facts), attributes)

    def _absent(self, container: Container, asked_at: Any) -> str:
        """Store that ECS does not show the service. The second time, it counts as deleted."""
        if not container.is_live:
            return "true"
        since = container.absent_since
        if since is not None and BETWEEN_LOOKS <= asked_at - since <= LOOKS_LAST:
            change = Change(Status.FAILED, self._clock.now(), Trigger.SYSTEM, observed=Observed(reason=GONE))
            return self._write(container, change, {"running_count": 0})
        if since is not None and asked_at - since <= LOOKS_LAST:
            return "absent"
        absent = container.model_copy(update={"absent_since": self._clock.now()})
        return _effect(self._store.note_idle(container, absent), "absent")

    def _write(self, container: Container, change: Change, attributes: dict[str, Any]) -> str:
        change = change._replace(attributes=attributes)
        after, entry = append(container, change, new_id(), self._clock.now())
        return _effect(self._store.commit_observed(container, after, entry), "repaired")

    def _failed(self, name: str, error: LongshoreError) -> str:
        self._on_failure(name, error)
        return "unreadable" if isinstance(error, UnreadableItemError) else "failed"


def _effect(result: Container | ConditionFailed, effect: str) -> str:
    return "changed" if isinstance(result, ConditionFailed) else effect
