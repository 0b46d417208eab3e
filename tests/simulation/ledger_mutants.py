"""Remove the rules of the ledger one at a time: see `longshore/domain/ledger.py`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest import mock


@contextmanager
def supersession_forgets_the_token() -> Iterator[None]:
    """Claim a force-stop without the client token of the start that it supersedes."""
    from longshore.domain.ledger import without
    from longshore.engine import operations

    original = operations._claimed_tasks

    def claimed(container: Any, pending: Any) -> dict[str, Any]:
        tasks = original(container, pending)
        superseded = container.operation
        if superseded is None or superseded.token not in tasks or tasks[superseded.token].arn is not None:
            return tasks
        return without(tasks, superseded.token)

    with mock.patch.object(operations, "_claimed_tasks", claimed):
        yield


@contextmanager
def run_task_beside_others() -> Iterator[None]:
    """Call RunTask although other tasks of the container are not proven ended."""
    from longshore.engine.attempt import Attempt
    from longshore.engine.steps import Steps

    original = Attempt.run

    def run(self: Attempt, token: str) -> Any:
        others = {each: known for each, known in self.tasks.items() if each != token}
        self.tasks = {token: self.tasks[token]}
        try:
            return original(self, token)
        finally:
            self.tasks = others | self.tasks

    with mock.patch.object(Steps, "_only", return_value=True), mock.patch.object(Attempt, "run", run):
        yield


@contextmanager
def one_lookup_proves_the_end() -> Iterator[None]:
    """Treat a task that one lookup does not find as gone."""
    from longshore.domain.ledger import KnownTask

    def is_gone(self: KnownTask, asked_at: datetime) -> bool:
        return self.arn is not None and self.absent_since is not None

    with mock.patch.object(KnownTask, "is_gone", is_gone):
        yield


@contextmanager
def a_new_task_is_gone_like_others() -> Iterator[None]:
    """Treat a task that ECS has never shown as gone before five minutes have passed since its RunTask."""
    from longshore.domain.ledger import KnownTask

    def is_gone(self: KnownTask, asked_at: datetime) -> bool:
        return self.arn is not None and self.is_absent_twice(asked_at)

    with mock.patch.object(KnownTask, "is_gone", is_gone):
        yield


@contextmanager
def one_search_proves_a_token_unused() -> Iterator[None]:
    """Treat a client token as unused when a search finds no task."""
    from longshore.domain.ledger import KnownTask

    def is_unused(self: KnownTask, asked_at: datetime) -> bool:
        return self.arn is None and self.absent_since is not None and self.called_until is not None

    with mock.patch.object(KnownTask, "is_unused", is_unused):
        yield


@contextmanager
def a_refused_placement_proves_a_token_unused() -> Iterator[None]:
    """Treat a client token as unused when ECS cannot place its task, although another driver may still use it."""
    from longshore.engine.attempt import Attempt

    def note_unplaced(self: Attempt, token: str) -> bool:
        self._remove(token, None)
        return True

    with mock.patch.object(Attempt, "note_unplaced", note_unplaced):
        yield


@contextmanager
def giving_up_forgets_the_ledger() -> Iterator[None]:
    """End a step that was given up, or refused, with an empty ledger."""
    from longshore.engine import settle

    with mock.patch.object(settle, "left_behind", return_value={}):
        yield


@contextmanager
def tokens_without_a_task_do_not_count() -> Iterator[None]:
    """Write `stopped` although a client token may have run a task."""
    from longshore.engine import steps
    from longshore.engine.ending import end_all

    def end_known(attempt: Any, tokens: Any, reason: str, **_: Any) -> bool:
        for token in [each for each in tokens if each in attempt.tasks and attempt.tasks[each].arn is None]:
            attempt._remove(token, None)
        return end_all(attempt, [token for token in tokens if token not in attempt.ended], reason)

    with mock.patch.object(steps, "end_all", end_known):
        yield


@contextmanager
def strays_are_ignored() -> Iterator[None]:
    """Ignore live tasks that are not in the ledger."""
    from longshore.engine.events import Effect, TaskEvents

    with mock.patch.object(TaskEvents, "_unknown", return_value=Effect.STALE):
        yield


@contextmanager
def sweeps_do_not_end_tasks() -> Iterator[None]:
    """Leave the tasks in the ledger of a container with nothing pending alone."""
    from longshore.engine.endings import Endings

    with mock.patch.object(Endings, "end", return_value="ended"):
        yield


@contextmanager
def run_task_without_looking() -> Iterator[None]:
    """Repeat RunTask without a look whether the operation is still the driver's."""
    from longshore.engine.attempt import Attempt

    with mock.patch.object(Attempt, "_check_ownership", return_value=None):
        yield


@contextmanager
def ledger_without_generation() -> Iterator[None]:
    """Store the ledger of a container with nothing pending without raising the generation."""
    from longshore.aws.store import Store

    with mock.patch.object(Store, "note_ledger", Store.note_idle):
        yield


LEDGER: dict[str, Callable[[], Any]] = {
    "supersession-forgets-the-token": supersession_forgets_the_token,
    "run-task-beside-others": run_task_beside_others,
    "one-lookup-proves-the-end": one_lookup_proves_the_end,
    "a-new-task-is-gone-like-others": a_new_task_is_gone_like_others,
    "one-search-proves-a-token-unused": one_search_proves_a_token_unused,
    "a-refused-placement-proves-a-token-unused": a_refused_placement_proves_a_token_unused,
    "giving-up-forgets-the-ledger": giving_up_forgets_the_ledger,
    "tokens-without-a-task-do-not-count": tokens_without_a_task_do_not_count,
    "strays-are-ignored": strays_are_ignored,
    "sweeps-do-not-end-tasks": sweeps_do_not_end_tasks,
    "run-task-without-looking": run_task_without_looking,
    "ledger-without-generation": ledger_without_generation,
}
