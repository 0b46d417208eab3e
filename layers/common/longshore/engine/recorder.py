"""Records changes that no operation has caused: a task ended on its own, or ran after its start was given up."""

from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.lifecycle import Status
from longshore.domain.models import Change, Container, Trigger
from longshore.domain.results import change_by_exit
from longshore.domain.task import Task


class Recorder:
    """Writes rows of containers with nothing pending, unless the container has changed since it was read."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def record_exit(
        self, container: Container, task: Task | None, triggered_by: Trigger
    ) -> Container | ConditionFailed:
        """Write the row of a task that ended on its own.

        Args:
            container: The container as read.
            task: The stopped task. None when it is gone.
            triggered_by: `system` for an event, `recovery` for a sweep.

        Returns:
            The container after the change, or why the write was refused.

        Raises:
            StoreError: DynamoDB failed.
        """
        at = (task.stopped_at if task else None) or self._clock.now()
        return self._record(container, change_by_exit(at, task, triggered_by))

    def record_running(self, container: Container, task: Task, triggered_by: Trigger) -> Container | ConditionFailed:
        """Write the row of a failed container whose task is running.

        Either the task started after its start was given up, or ECS did not show the task for a while. A container that
        was paused when ECS stopped showing its task is `paused` again.

        Args:
            container: The container as read.
            task: Its task, which is running.
            triggered_by: `system` for an event, `recovery` for a sweep.

        Returns:
            The container after the change, or why the write was refused.

        Raises:
            StoreError: DynamoDB failed.
        """
        came_up = task.started_at is not None and task.started_at > container.status_since
        change = Change(
            to_status=Status.PAUSED if container.was_paused else Status.RUNNING,
            observed_at=task.started_at if came_up and task.started_at else self._clock.now(),
            triggered_by=triggered_by,
            metadata={"task_id": task.id, "reason": "ECS shows the task running"},
            task_arn=task.arn,
            task_version=task.version,
            task_ended=False,
        )
        return self._record(container, change)

    def _record(self, container: Container, change: Change) -> Container | ConditionFailed:
        after, entry = append(container, change, new_id(), self._clock.now())
        return self._store.commit_observed(container, after, entry)
