"""Changes of a container by a member of its project: its details, and what limits its running time."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from longshore.aws.access import Access
from longshore.aws.details import ContainerDetails
from longshore.aws.ecs import EcsError
from longshore.aws.store import Store
from longshore.domain.bodies import fault
from longshore.domain.changes import ContainerChange
from longshore.domain.clock import Clock
from longshore.domain.errors import ContainerExpiredError, ExternalServiceError, InvalidInputError
from longshore.domain.lifecycle import ENDING, PROTECTED_FROM, Kind, Status, in_progress
from longshore.domain.models import Container, Protection
from longshore.domain.results import refused_change
from longshore.domain.roles import Role
from longshore.domain.unchanged import UNCHANGED, Unchanged
from longshore.engine.concurrency import together
from longshore.engine.counts import CountChanges

_TRIES = 10


class ContainerChanges:
    """Changes containers for a user.

    Each method returns the container after the change.

    Raises:
        LongshoreError: Every method: what `Access.admit` raises.
        StateConflictError: Every method: the container's state does not allow the change.
        ExternalServiceError: Every method: DynamoDB failed, and the change may have been written; or the container kept
            changing, and nothing was written.
    """

    def __init__(
        self, store: Store, details: ContainerDetails, access: Access, counts: CountChanges, clock: Clock
    ) -> None:
        self._store = store
        self._details = details
        self._access = access
        self._counts = counts
        self._clock = clock

    def apply(self, user_id: str, container_id: str, change: ContainerChange) -> Container:
        """Change a container, whatever its status and also while an operation is pending.

        A protection is refused while an operation is pending from which it would protect the container. A count is
        refused while any operation is pending. A running service gets it at once, or from a sweep if ECS does not
        answer. If ECS refuses it, nothing of the change remains.

        Raises:
            InvalidInputError: The container has no count, because it stands for a task.
        """
        values = change.values(self._clock.now())
        if isinstance(change.protection, str):
            values["protection"] = Protection(reason=change.protection)

        def values_for(container: Container) -> Mapping[str, Any]:
            if change.protects and container.pending in PROTECTED_FROM:
                assert container.pending is not None
                raise refused_change(container, "protect", in_progress(container.pending))
            if isinstance(change.desired_count, Unchanged):
                return values
            if container.kind is not Kind.SERVICE:
                raise InvalidInputError([fault("is supported for services only", "desired_count")])
            if container.status is Status.EXPIRED:
                raise ContainerExpiredError
            if container.pending is not None:
                raise refused_change(container, "update", in_progress(container.pending))
            return values | self._counts.values(container, change.desired_count)

        before, written = self._write(user_id, container_id, change.needs, values_for)
        if change.desired_count is UNCHANGED:
            return written
        try:
            return self._counts.apply(before, written)
        except EcsError:
            if not self._take_back(before, written, values):
                return written
            raise

    def _take_back(self, before: Container, written: Container, names: Iterable[str]) -> bool:
        """Write the values before a change, because ECS has refused its count.

        Values that another request has written since remain.

        Returns:
            Whether nothing of the change is left. Otherwise an operation has begun, and stores the count for the next
            start.

        Raises:
            ExternalServiceError: DynamoDB failed, or the container kept changing. Values of the change may be left.
        """
        current = written
        for _ in range(_TRIES):
            own = [name for name in names if getattr(current, name) == getattr(written, name)]
            values = {name: getattr(before, name) for name in own} | self._counts.values_before(before, written)
            result = self._details.write(current, values, unchanged=own)
            if isinstance(result, Container):
                return True
            if result.current is None or not _is_as_written(result.current, written):
                return False
            current = result.current
        raise ExternalServiceError("The container is receiving too many requests")

    def keep_alive(self, user_id: str, container_id: str) -> Container:
        """Count the time until the running container has been idle for its timeout from now on.

        Raises:
            ContainerExpiredError: The container has expired.
        """
        now = self._clock.now()

        def values_for(container: Container) -> Mapping[str, Any]:
            if container.status is Status.EXPIRED:
                raise ContainerExpiredError
            if container.pending in ENDING:
                assert container.pending is not None
                raise refused_change(container, "keep-alive", in_progress(container.pending))
            if container.status is not Status.RUNNING:
                raise refused_change(container, "keep-alive", "Container is not running")
            # Another request, whose function's clock is ahead, may have kept it alive for longer.
            return {"kept_alive_at": max(now, container.kept_alive_at or now)}

        return self._write(user_id, container_id, Role.OPERATOR, values_for)[1]

    def _write(
        self, user_id: str, container_id: str, needs: Role, values_for: Callable[[Container], Mapping[str, Any]]
    ) -> tuple[Container, Container]:
        """Write the values for the container as it is. Returns the container before and after the write.

        The write requires that the container still belongs to the project for which the user's role was checked. If it
        has been moved, the role in its new project is checked, with the grants as first read.
        """
        container, grants = together(lambda: self._store.container(container_id), lambda: self._access.grants(user_id))
        for _ in range(_TRIES):
            admitted = self._access.admit(grants, container, needs=needs)
            written = self._details.write(admitted, values_for(admitted))
            if isinstance(written, Container):
                return admitted, written
            container = written.current
        raise ExternalServiceError("The container is receiving too many requests")


def _is_as_written(current: Container, written: Container) -> bool:
    """Check whether neither an operation nor another new count has followed a write."""
    return current.operation is None and current.generation == written.generation
