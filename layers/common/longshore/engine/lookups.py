"""Lookups of the tasks of many containers, with as few DescribeTasks calls as possible."""

from collections.abc import Iterable
from itertools import chain

from longshore.aws.batches import batches
from longshore.aws.ecs import Ecs, EcsError
from longshore.domain.clock import Clock
from longshore.domain.ledger import arns
from longshore.domain.models import Container
from longshore.engine.known import Lookup
from longshore.engine.pace import ClusterReads


class Lookups:
    """Looks up tasks in batches."""

    def __init__(self, ecs: Ecs, clock: Clock) -> None:
        self._ecs = ecs
        self._clock = clock
        self._reads = ClusterReads(clock)

    def of(self, containers: Iterable[Container]) -> dict[str, Lookup]:
        """Look up the tasks that the next attempt of each container's operation, or its reconciliation, looks up.

        Returns:
            The lookup of each container, by its id. A failure affects only the containers whose tasks were in the
            request.
        """
        wanted: dict[str, dict[str, list[str]]] = {}
        for container in containers:
            wanted.setdefault(container.runtime.cluster, {})[container.id] = arns(container.tasks)
        found: dict[str, Lookup] = {}
        for cluster, of_containers in sorted(wanted.items()):
            by_arn: dict[str, Lookup] = {}
            for batch in batches(dict.fromkeys(chain(*of_containers.values()))):
                for lookup in self._look_up(cluster, batch):
                    by_arn |= dict.fromkeys(lookup.arns, lookup)
            for container_id, own in of_containers.items():
                found[container_id] = _joined([by_arn[arn] for arn in own], own, self._clock)
        return found

    def _look_up(self, cluster: str, arns: list[str]) -> list[Lookup]:
        """Look up the tasks of a cluster. If ECS rejects the request because of some of them, look up each half."""
        asked_at = self._clock.now()
        try:
            tasks = self._reads.read(cluster, lambda: self._ecs.describe_many(cluster, arns))
        except EcsError as error:
            if not error.invalid or len(arns) == 1:
                return [Lookup(asked_at, frozenset(arns), {}, error)]
            half = len(arns) // 2
            return [*self._look_up(cluster, arns[:half]), *self._look_up(cluster, arns[half:])]
        return [Lookup(asked_at, frozenset(arns), tasks)]


def _joined(lookups: list[Lookup], arns: list[str], clock: Clock) -> Lookup:
    """Return one lookup of these tasks. Its time is that of the first request."""
    tasks = {arn: lookup.tasks[arn] for lookup in lookups for arn in arns if arn in lookup.tasks}
    error = next((lookup.error for lookup in lookups if lookup.error is not None), None)
    asked_at = min((lookup.asked_at for lookup in lookups), default=clock.now())
    return Lookup(asked_at, frozenset(arns), tasks, error)
