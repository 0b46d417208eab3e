"""Applies the events of services and of their tasks.

They carry no version, and a change of the count sends none. They are hints to look at the service: nothing is taken
from the event but the name. If ECS does not answer or throttles the look, the next sweep looks instead.
"""

from collections.abc import Callable
from typing import Any

from longshore.aws.store import Store
from longshore.aws.transactions import StoreError
from longshore.domain.errors import ExternalServiceError
from longshore.domain.models import Container
from longshore.domain.pending import PendingOperation
from longshore.domain.service import service_arn
from longshore.domain.task import adopted_as
from longshore.engine.driver import Driver
from longshore.engine.events import Effect, TaskEvents
from longshore.engine.service_drift import ServiceDrift

_GROUP = "service:"
_TRIES = 5


class ServiceEvents:
    """Applies the events that ECS sends: of tasks, and of services.

    Args:
        on_pending: Called with the pending operation that an event is for, so that the log can include its request id.
    """

    def __init__(
        self,
        store: Store,
        driver: Driver,
        drift: ServiceDrift,
        tasks: TaskEvents,
        on_pending: Callable[[PendingOperation], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._driver = driver
        self._drift = drift
        self._tasks = tasks
        self._on_pending = on_pending

    def apply(self, event: dict[str, Any]) -> Effect:
        """Apply an event "ECS Task State Change", "ECS Service Action" or "ECS Deployment State Change".

        Raises:
            UnreadableItemError: The container's item cannot be read.
            ExternalServiceError: A service failed. The event must be delivered again.
        """
        detail = event["detail"]
        if "taskArn" not in detail:
            return self._look(event["resources"][0], starts=None)
        group = str(detail.get("group", ""))
        if not group.startswith(_GROUP):
            return self._tasks.apply(detail)
        arn = service_arn(detail["clusterArn"], group.removeprefix(_GROUP))
        return self._look(arn, starts=detail["lastStatus"] == "RUNNING")

    def _look(self, arn: str, *, starts: bool | None) -> Effect:
        """Look at a service.

        Args:
            arn: The service.
            starts: For the event of a task, whether the task runs now; None for an event of the service.
        """
        for _ in range(_TRIES):
            container = self._store.container(adopted_as(arn))
            if container is None:
                return Effect.FOREIGN
            try:
                effect = self._apply(container, starts=starts)
            except StoreError:
                raise
            except ExternalServiceError:
                return Effect.POSTPONED
            if effect is not None:
                return effect
        raise ExternalServiceError("The container is receiving too many requests")

    def _apply(self, container: Container, *, starts: bool | None) -> Effect | None:
        """Look at the service of a container. Returns None if the container has changed in the meantime."""
        if container.operation is not None:
            self._on_pending(container.operation)
            return Effect.SETTLED if self._driver.settle(container) else None
        if starts is not None and (container.is_live or not starts):
            return Effect.STALE  # ECS replaces the tasks of a running service.
        match self._drift.look(container):
            case "changed":
                return None
            case "repaired" | "counted":
                return Effect.RECORDED
            case _:
                return Effect.STALE
