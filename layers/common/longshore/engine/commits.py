"""Commits what a driver has observed, or leaves the operation pending, and finds the answer for the caller.

A commit is one transaction that only one driver can win. A driver whose commit is refused reads what has happened
meanwhile, and answers that.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple

from longshore.aws.items import record_of
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import Clock
from longshore.domain.errors import ContainerNotFoundError, OperationFailedError
from longshore.domain.history import append
from longshore.domain.ids import new_id
from longshore.domain.lifecycle import Status, Step, final_status
from longshore.domain.models import Change, Container, Outcome, PendingOperation
from longshore.domain.results import accepted, completed, superseded
from longshore.domain.task import Task
from longshore.engine.steps import Findings, Result, Steps, Uncertain, Unobserved, awaits_host

DEADLINE = timedelta(seconds=60)
"""How long an operation belongs to its driver: longer than a function may run."""


ON_ITS_WAY = timedelta(hours=1)
"""For so long an attempt that finds the step's task on its way does not count."""

_LOOK_AGAIN = timedelta(seconds=30)  # after a look that did not find a task


class Patience(NamedTuple):
    """How a driver waits and answers.

    Attributes:
        until: Stop waiting for effects at this time (UTC).
        for_caller: Whether the outcome answers an API request: it is then kept for the request's Idempotency-Key.
        alone: This is the claimer's first attempt, and no other driver can have acted for the operation.
        owns: The operation belongs to this driver until its deadline; an event's handler only looks at it.
        once: A lost commit is told to the caller of the driver, which looks at the container again.
        counted: The attempt was counted when the operation was taken over.
    """

    until: datetime
    for_caller: bool
    alone: bool = False
    owns: bool = True
    once: bool = False
    counted: bool = False


class OvertakenError(Exception):
    """The commit of a driver that looks only once was refused."""


class Shared(NamedTuple):
    """The container with the operation as it now stands, which another driver has noted something upon."""

    container: Container


class Commits:
    """Ends operations, moves them to their next step, or leaves them pending."""

    def __init__(self, store: Store, steps: Steps, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._clock = clock

    # --- committing ------------------------------------------------------------------------------------------------

    def commit(
        self,
        container: Container,
        change: Change,
        step: Step | None,
        answer: Outcome | None,
        *,
        forget: bool = False,
        absent: Mapping[str, datetime] = MappingProxyType({}),
    ) -> Container | ConditionFailed:
        """Commit a change together with the operation's next step, or its end.

        `absent` are the looks that the next step knows of.
        """
        pending = container.operation
        assert pending is not None
        now = self._clock.now()
        after, entry = append(container, change, new_id(), now)
        continuing = None
        if step is not None:
            continuing = pending.model_copy(
                update={
                    "step": step,
                    "step_since": now,
                    "deadline": now + DEADLINE,
                    "attempts": 0,
                    "has_row": True,
                    "absent": dict(absent),
                    "client_token_since": now,
                }
            )
        after = after.model_copy(update={"operation": continuing})
        return self._store.commit(container, after, entry, answer, forget=forget)

    def first_answer(self, pending: PendingOperation, outcome: Outcome, patience: Patience) -> Outcome:
        """The outcome, unless another answer has been given for the Idempotency-Key while it was reached."""
        if not (patience.for_caller and pending.answered and pending.idempotency_id):
            return outcome
        record = self._store.record(pending.idempotency_id)
        return record.answer if record and record.answer else outcome

    def overtaken(self, container: Container, task: Task | None, patience: Patience) -> Shared | Outcome:
        """Go on after a refused commit: with the operation as it now stands, or with the answer that it already has.

        Another driver may have continued the very same operation, or ended it: then its rows tell the answer. Or
        force-stop has superseded it: then a task that this driver has started must not live.
        """
        if patience.once:
            raise OvertakenError
        pending = container.operation
        assert pending is not None
        current = self._store.container(container.id)
        if current is None:
            raise ContainerNotFoundError
        now = current.operation
        if now is not None and now.id == pending.id:
            # Continued, or merely noted upon. A driver without a caller leaves it to the other one.
            same_place = (current.log_count, now.attempts) == (container.log_count, pending.attempts)
            if same_place or (patience.for_caller and self._clock.now() < patience.until):
                return Shared(current)
            elsewhere = Unobserved("Another worker continues it")
            return self.accept(current, now, elsewhere, same(now), patience._replace(owns=False, counted=False))
        if task is not None and not task.is_stopped and current.task_arn != task.arn:
            self._steps.stop_stray(container, task.arn)
        return self._keep_last(container, self._told_by_history(container, current))

    def _told_by_history(self, container: Container, current: Container) -> Outcome:
        """Find how another driver ended the operation. `container` is as the operation was last seen."""
        pending = container.operation
        assert pending is not None
        rows = self._store.rows_since(container.id, container.log_count)
        own = [row for row in rows if (row.metadata or {}).get("operation_id") == pending.id]
        final = final_status(pending.operation)
        if own and own[-1].to_status is final:
            return completed(current, pending, final)
        if own and own[-1].to_status is Status.FAILED:
            raise OperationFailedError(str((own[-1].metadata or {}).get("reason") or "The operation failed"))
        if current.history_full and current.operation is None and current.status is final:
            return completed(current, pending, final)  # There was no room for the row.
        if not rows and current.operation is None and current.status is container.status:
            raise OperationFailedError("The operation was refused and had no effect")
        return superseded(current, pending.operation)

    def _keep_last(self, container: Container, outcome: Outcome) -> Outcome:
        """Keep the answer for the Idempotency-Key, unless it has one: then that is the answer."""
        if container.operation is None or container.operation.idempotency_id is None:
            return outcome
        return self._store.keep_answer(record_of(container, outcome)).answer or outcome

    def fail(self, container: Container, change: Change, task: Task | None, patience: Patience) -> Shared | Outcome:
        """End the operation with the container `failed`: an error for the caller, which no Idempotency-Key keeps."""
        if isinstance(self.commit(container, change, None, None, forget=True), ConditionFailed):
            return self.overtaken(container, task, patience)
        raise OperationFailedError(str(change.metadata["reason"]))

    # --- leaving it pending ----------------------------------------------------------------------------------------

    def counts(self, pending: PendingOperation, result: Result) -> bool:
        """Whether an attempt counts towards giving the step up."""
        if isinstance(result.observation, Uncertain) and result.observation.throttled:
            return False
        return not result.findings.on_its_way or self._clock.now() - pending.begun_at >= ON_ITS_WAY

    def _found(self, pending: PendingOperation, result: Result, patience: Patience) -> dict[str, Any]:
        """What an attempt has found out, as changes to the pending operation."""
        findings = result.findings
        found: dict[str, Any] = {
            "absent": dict(findings.absent),
            "task_arn": findings.task_arn,
            "task_run_at": findings.task_run_at,
        }
        if patience.counted and not self.counts(pending, result):
            found["attempts"] = pending.attempts - 1
        changed = {name: value for name, value in found.items() if value != getattr(pending, name)}
        if findings.task_shown and (changed or findings.absent):
            changed["task_shown"] = True
        return changed

    def accept(
        self,
        container: Container,
        pending: PendingOperation,
        seen: Unobserved,
        findings: Findings,
        patience: Patience,
    ) -> Shared | Outcome:
        """Answer 202. What later drivers and events need to know is noted with it."""
        outcome = accepted(container, pending)
        keeps = patience.for_caller and pending.idempotency_id is not None and not pending.answered
        update = self._found(pending, Result(seen, findings), patience)
        if findings.absent and patience.owns:
            update["deadline"] = min(pending.deadline, self._clock.now() + _LOOK_AGAIN)
        # An event's handler notes no more than a task that it has run: a note would make the driver look again.
        nothing_new = not update or (patience.once and "task_arn" not in update)
        if not keeps and nothing_new:
            return outcome
        noted = pending.model_copy(update=update | {"answered": pending.answered or keeps})
        result = self._store.note(container, noted, outcome if keeps else None)
        return self.overtaken(container, seen.task, patience) if isinstance(result, ConditionFailed) else outcome

    def release(self, container: Container, pending: PendingOperation, result: Result, patience: Patience) -> None:
        """Release the operation so that a sweep or a retry can take it over immediately.

        Not before a command that may be in flight has expired: the next driver's command must not meet it.
        """
        update = self._found(pending, result, patience)
        in_flight = result.findings.acted and awaits_host(container, pending)
        update["deadline"] = pending.command_expiry if in_flight else self._clock.now()
        self._store.note(container, pending.model_copy(update=update), None)


def same(pending: PendingOperation) -> Findings:
    """Findings that change nothing of what is known of the operation."""
    return Findings(
        task_arn=pending.task_arn,
        task_run_at=pending.task_run_at,
        task_shown=pending.task_shown,
    )
