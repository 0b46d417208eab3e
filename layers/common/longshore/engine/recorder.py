"""Records changes that no operation has caused: a task ended on its own, or ECS shows a task again that was gone."""

from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.facts import Observed
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.ledger import BETWEEN_LOOKS, Ledger, ledger_of, without
from longshore.domain.lifecycle import Status
from longshore.domain.models import Change, Container
from longshore.domain.pending import Trigger
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
        own = container.own_token
        tasks = container.tasks if own is None else without(container.tasks, own)
        return self._record(container, change_by_exit(container, at, task, tasks, triggered_by))

    def record_running(self, container: Container, task: Task, triggered_by: Trigger) -> Container | ConditionFailed:
        """Write the row of a failed container whose task counted as gone, and is running.

        A container that was paused when ECS stopped showing its task is `paused` again.

        Args:
            container: The container as read.
            task: Its task, which is running.
            triggered_by: `system` for an event, `recovery` for a sweep.

        Returns:
            The container after the change, or why the write was refused.

        Raises:
            StoreError: DynamoDB failed.
        """
        change = Change(
            to_status=Status.PAUSED if container.last_task and container.last_task.paused else Status.RUNNING,
            observed_at=self._clock.now(),
            triggered_by=triggered_by,
            observed=Observed(task_id=task.id, reason="ECS shows the task running"),
            tasks=ledger_of(task.arn, task.version),
        )
        return self._record(container, change)

    def note_ledger(self, container: Container, tasks: Ledger) -> Container | ConditionFailed:
        """Store the ledger of a container with nothing pending, and when a sweep has to look at it next, without a row.

        Raises:
            StoreError: DynamoDB failed.
        """
        after = container.model_copy(update={"tasks": dict(tasks), "tasks_due_at": None})
        own = after.own
        if after.unwanted or (own is not None and own.absent_since is not None):
            after = after.model_copy(update={"tasks_due_at": self._clock.now() + BETWEEN_LOOKS})
        return self._store.note_ledger(container, after)

    def _record(self, container: Container, change: Change) -> Container | ConditionFailed:
        after, entry = append(container, change, new_id(), self._clock.now())
        return self._store.commit_observed(container, after, entry)
