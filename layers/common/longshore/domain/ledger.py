"""The ledger of a container: what is known about each of its tasks that may be alive.

The ledger maps the client token of RunTask to a `KnownTask`. Everything that the engine has to know about tasks is
derived from it. Its rules:

1. A token is in the ledger before RunTask is called with it.
2. RunTask is called only if every other entry is proven ended.
3. An entry is removed only on proof: ECS has shown the task STOPPED, the task is gone (see `engine/attempt.py`), or the
   token is unused: no driver can call RunTask with it any more, and two searches found no task.
4. `stopped` is written only with an empty ledger, and `running` only with one entry, whose task ECS shows RUNNING. A
   `failed` or `expired` container may keep entries. It stays due: a sweep ends its tasks, and so does every operation.
5. A task that ECS shows alive and that is not in the ledger is added as a stray and stopped, whatever the status.

    claim          RunTask         ECS shows the task     StopTask      ECS shows the task STOPPED
    |--------------|---------------|----------------------|-------------|
    token          token, ARN      shown                                removed

Pure functions and data.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pydantic import ConfigDict

from longshore.domain.base import Model, Timestamp
from longshore.domain.task import Task

BETWEEN_LOOKS = timedelta(seconds=30)
"""The shortest time between two lookups that together prove that a task is gone."""

LOOKS_LAST = timedelta(minutes=10)
"""An older lookup that did not find a task proves nothing: ECS may have shown the task since."""

UNSHOWN = timedelta(minutes=5)
"""How long ECS may not show a task after RunTask. Source: "Eventual consistency" in the ECS API reference."""

PROCESSED_LATE = timedelta(seconds=60)
"""How long ECS may take to process a call whose answer was lost."""

TOKEN_REUSED = timedelta(minutes=50)
"""How long a client token is used. ECS forgets a token after 24 hours, or one hour after its task has ended."""

TOKEN_REPLACED = timedelta(minutes=60)
"""Age at which a client token may be replaced: at least UNSHOWN after the last RunTask with it."""


class KnownTask(Model):
    """What is known about a task that may be alive.

    Attributes that this version does not know are kept when the item is rewritten.
    """

    model_config = ConfigDict(frozen=True, defer_build=True, extra="allow")

    arn: str | None = None  # None: RunTask may have been called with the token, and its answer is not known
    called_from: Timestamp | None = None  # when RunTask can have been called first; None: not known, or not needed
    called_until: Timestamp | None = None  # when RunTask can have been called last; None: not known, or not needed
    shown: bool = False  # ECS has shown the task; RunTask's own answer does not count
    absent_since: Timestamp | None = None  # the first lookup that did not find it since ECS last showed it
    version: int = 0  # the newest version of the task that is known
    stray: bool = False  # the task was found alive although the container did not have it; it is being stopped

    def seen(self, task: Task) -> "KnownTask":
        """Return the entry after ECS has shown the task."""
        return self.model_copy(
            update={
                "arn": task.arn,
                "called_from": None,
                "called_until": None,
                "shown": True,
                "absent_since": None,
                "version": max(self.version, task.version),
            }
        )

    def run(self, task: Task, at: datetime) -> "KnownTask":
        """Return the entry after RunTask has answered with its task. `at` is when the answer arrived (UTC)."""
        if self.arn == task.arn:
            return self
        return self.model_copy(update={"arn": task.arn, "called_until": at, "absent_since": None})

    def missed(self, at: datetime) -> "KnownTask":
        """Return the entry after a lookup or search that found nothing was answered at a time (UTC)."""
        if self.absent_since is not None and at - self.absent_since <= LOOKS_LAST:
            return self
        return self.model_copy(update={"absent_since": at})

    def is_absent_twice(self, asked_at: datetime) -> bool:
        """Check whether a lookup sent at `asked_at`, and another at least 30 seconds earlier, found nothing."""
        return self.absent_since is not None and asked_at - self.absent_since >= BETWEEN_LOOKS

    def is_gone(self, asked_at: datetime) -> bool:
        """Check whether the task is proven gone by a lookup that found nothing and was sent at `asked_at` (UTC)."""
        if self.arn is None or not self.is_absent_twice(asked_at):
            return False
        return self.shown or (self.called_until is not None and asked_at - self.called_until >= UNSHOWN)

    def is_unused(self, asked_at: datetime) -> bool:
        """Check whether the token is proven unused by a search that found nothing and was sent at `asked_at` (UTC).

        While an operation uses the token, it is not known when RunTask is called last, but no token is used for longer
        than `TOKEN_REUSED`.
        """
        if self.arn is not None or not self.is_absent_twice(asked_at):
            return False
        if self.called_until is None:
            return self.called_from is not None and asked_at - self.called_from >= TOKEN_REPLACED
        return asked_at - self.called_until >= UNSHOWN


class LastTask(Model):
    """The container's own task that has left the ledger last. A late event of it changes nothing.

    Attributes:
        id: The last part of the task's ARN.
        version: The newest version of the task that is known.
        gone: Whether ECS only stopped showing the task. Otherwise ECS has shown it STOPPED.
        paused: Whether the container was paused then. Used only if the task is gone.
        unclear: Whether a command to the host may have paused or unpaused the task. Used only if the task is gone.
    """

    id: str
    version: int = 0
    gone: bool = False
    paused: bool = False
    unclear: bool = False


Ledger = Mapping[str, KnownTask]
"""What is known about the tasks that may be alive, by client token; by the task's id if its token is not known."""


def ledger_of(arn: str, version: int = 0) -> dict[str, KnownTask]:
    """Return the ledger of a container that has one task, which ECS has shown, and whose client token is not known."""
    return {arn.rsplit("/", 1)[-1]: KnownTask(arn=arn, shown=True, version=version)}


def token_of(tasks: Ledger, arn: str) -> str | None:
    """Return the key of the task with this ARN, or None if it is not in the ledger."""
    return next((token for token, known in tasks.items() if known.arn == arn), None)


def without(tasks: Ledger, *tokens: str) -> dict[str, KnownTask]:
    """Return the ledger without some of its entries."""
    return {token: known for token, known in tasks.items() if token not in tokens}


def with_stray(tasks: Ledger, task: Task) -> dict[str, KnownTask]:
    """Return the ledger with a task that an event or ECS has shown alive, and that the container does not have."""
    return {**tasks, task.id: KnownTask(arn=task.arn, shown=True, version=task.version, stray=True)}


def with_listed(tasks: Ledger, arn: str) -> dict[str, KnownTask]:
    """Return the ledger with a running task that ECS has listed for the container, and has not described."""
    known = any(each.arn == arn for each in tasks.values())
    return dict(tasks) if known else {**tasks, arn.rpartition("/")[2]: KnownTask(arn=arn, shown=True, stray=True)}


def callable_until(tasks: Ledger, token: str, until: datetime) -> dict[str, KnownTask]:
    """Return the ledger in which RunTask may still be called with a token until a time (UTC).

    ECS may process a call for some time longer. The times of a token whose task is known stay as they are.
    """
    known = tasks.get(token)
    if known is None or known.arn is not None:
        return dict(tasks)
    processed = until + PROCESSED_LATE
    latest = max(processed, known.called_until or processed)
    return {**tasks, token: known.model_copy(update={"called_until": latest})}


def differ(tasks: Ledger, others: Ledger) -> bool:
    """Check whether a difference between two ledgers has to be stored for later drivers and events.

    That ECS has shown a task in another version is not stored on its own.
    """

    def content(ledger: Ledger) -> dict[str, tuple[object, ...]]:
        return {
            token: (known.arn, known.absent_since, known.stray, known.called_until if known.arn is None else None)
            for token, known in ledger.items()
        }

    return content(tasks) != content(others)


def arns(tasks: Ledger, tokens: Iterable[str] | None = None) -> list[str]:
    """Return the ARNs of the tasks that are known, of all entries or of some."""
    chosen = tasks if tokens is None else tokens
    return [arn for token in chosen if token in tasks and (arn := tasks[token].arn) is not None]
