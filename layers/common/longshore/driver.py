"""Drives a pending operation to its end: act, observe, commit.

    claim (operations) -> act and observe (steps) -> commit, or note what was found and leave the operation pending
    crash              -> past its deadline a sweep, or a repeat of the request, takes the operation over
    force-stop         -> claims in place of a pending operation, whose commit is then refused

The driver commits what was observed by one transaction that only one driver can win. When its transaction is refused,
it reads what has happened meanwhile, and answers that.

An operation ends without a row only when nothing can have happened: this is its claimer's own first attempt, every call
with an effect was refused, and no caller was answered 202. In every other case it ends with a row.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple, assert_never

from longshore.clock import Clock
from longshore.ecs import Task
from longshore.errors import ContainerNotFoundError, ExternalServiceError, OperationFailedError
from longshore.history import append
from longshore.ids import new_id
from longshore.lifecycle import GOAL, Proceed, Refused, Status, Step, decide, final_status, next_step
from longshore.models import NO_NEWER, Change, Container, Outcome, PendingOperation, Trigger, next_command_number
from longshore.outcomes import accepted, change_by, change_by_exit, completed, conflict, superseded
from longshore.recorder import Recorder
from longshore.steps import (
    Ended,
    Findings,
    NeverRan,
    NoEffect,
    Reached,
    Result,
    Steps,
    TokenExpired,
    Uncertain,
    Unobserved,
    awaits_host,
)
from longshore.store import ConditionFailed, Store, record_of

DEADLINE = timedelta(seconds=60)
"""How long an operation belongs to its driver: longer than a function may run."""

LAST_ATTEMPT = 10
LEAST_TIME = timedelta(minutes=10)
"""A step is given up after so many attempts, and not before so much time has passed since it began."""

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


class _OvertakenError(Exception):
    """The commit of a driver that looks only once was refused."""


class _Shared(NamedTuple):
    """The container with the operation as it now stands, which another driver has noted something upon."""

    container: Container


class Driver:
    """Drives pending operations. Each method may run at the same time as any other, for the same container too."""

    def __init__(self, store: Store, steps: Steps, clock: Clock) -> None:
        self._store = store
        self._steps = steps
        self._clock = clock
        self._recorder = Recorder(store, clock)

    def take_over(self, container: Container, until: datetime, *, for_caller: bool = False) -> Outcome | None:
        """Continue a pending operation whose deadline has expired.

        Repeats the current step with the operation's original ids, so that effects that already happened are found
        rather than repeated. When the step runs out of attempts, the container becomes `failed` and the history row
        states the reason. Attempts on behalf of a caller's repeated request do not count.

        Args:
            container: The container as read; its operation may have been completed since.
            until: Stop waiting for the effect at this time (UTC).
            for_caller: Whether the result answers an API request, which prefers waiting to a 202.

        Returns:
            The outcome, or None if another worker has taken over or completed the operation.

        Raises:
            ExternalServiceError: ECS, Systems Manager or DynamoDB failed after retries.
        """
        pending = container.operation
        now = self._clock.now()
        if pending is None or pending.deadline > now:
            return None
        renewed = pending.model_copy(
            update={
                "deadline": now + DEADLINE,
                "attempts": pending.attempts + (not for_caller),
                "command_number": next_command_number(container, now),
                "command_expires_at": now + DEADLINE,
            }
        )
        taken = self._store.take_over(container, renewed)
        if isinstance(taken, ConditionFailed):
            return None
        return self.drive(taken, Patience(until, for_caller, counted=not for_caller))

    def settle(self, container: Container, *, told: Task | None = None, host_is_done: bool = False) -> bool:
        """Look once, without waiting, whether the pending operation has reached its end, and commit it if so.

        The operation's driver is not disturbed.

        Args:
            container: The container as read.
            told: A task as an event describes it: it is believed without asking ECS.
            host_is_done: The step's command to the host is known to have succeeded.

        Returns:
            Whether what was told has been taken into account. False when the container has changed since it was read:
            read it again.

        Raises:
            ExternalServiceError: A service failed, and the event has to be delivered again.
        """
        try:
            patience = Patience(self._clock.now(), for_caller=False, owns=False, once=True)
            self.drive(container, patience, told=told, host_is_done=host_is_done)
        except OperationFailedError:
            return True  # It has ended, with a row that says why.
        except _OvertakenError:
            return False
        return True

    def drive(
        self, container: Container, patience: Patience, *, told: Task | None = None, host_is_done: bool = False
    ) -> Outcome:
        """Run the pending operation from its step to its end, or as long as `patience` allows.

        Raises:
            OperationFailedError: The operation has ended without success.
            ExternalServiceError: A service failed; the operation is pending and will be continued.
        """
        while True:
            pending = container.operation
            assert pending is not None
            settled: Container | _Shared | Outcome
            if pending.giving_up is not None:
                settled = self._finish_giving_up(container, pending, patience, reverted=host_is_done)
            else:
                result = self._steps.run(
                    container,
                    pending,
                    patience.until,
                    look_first=not patience.for_caller,
                    told=told,
                    host_is_done=host_is_done,
                )
                settled = self._settle(container, pending, result, patience)
            match settled:
                case Outcome():
                    return settled
                case _Shared():
                    container, patience = settled.container, patience._replace(alone=False)
                case Container():
                    # The command's success was for the step before, and so was the attempt that was counted.
                    container, host_is_done, patience = settled, False, patience._replace(counted=False)

    def accept(self, container: Container, until: datetime) -> Outcome | None:
        """Answer 202 to a repeated request whose operation another driver still continues.

        Returns:
            The answer, which is kept for the Idempotency-Key; None when the operation has changed meanwhile.
        """
        pending = container.operation
        assert pending is not None
        patience = Patience(until, for_caller=True, owns=False, once=True)
        try:
            settled = self._accept(container, pending, Unobserved("Nothing was seen yet"), _same(pending), patience)
        except _OvertakenError:
            return None
        return settled if isinstance(settled, Outcome) else None

    # --- what an attempt leads to ----------------------------------------------------------------------------------

    def _settle(
        self, container: Container, pending: PendingOperation, result: Result, patience: Patience
    ) -> Container | _Shared | Outcome:
        """Commit or note what an attempt has observed. Returns the answer, or the container to go on with."""
        seen, findings = result
        match seen:
            case Reached():
                return self._reached(container, pending, seen, patience)
            case Ended():
                return self._ended(container, pending, seen, patience)
            case NeverRan():
                return self._never_ran(container, pending, seen, findings, patience)
            case TokenExpired():
                return self._replace_token(container, pending, patience)
            case NoEffect() if self._nothing_happened(pending, findings, patience):
                if isinstance(self._store.abandon(container), ConditionFailed):
                    return self._overtaken(container, None, patience)
                raise OperationFailedError(seen.reason)
            case NoEffect() if seen.final:
                change = change_by(pending, Status.FAILED, self._clock.now(), {"reason": seen.reason}, None)
                return self._fail(container, _as_seen(change, container, findings), None, patience)
            case Unobserved() | Uncertain() | NoEffect() if patience.owns and self._exhausted(pending, result):
                return self._give_up(container, pending, result, patience)
            case Unobserved():
                return self._accept(container, pending, seen, findings, patience)
            case NoEffect() | Uncertain():
                if patience.owns:
                    self._release(container, pending, result, patience)
                raise ExternalServiceError(seen.reason)
            case _:
                assert_never(seen)

    def _reached(
        self, container: Container, pending: PendingOperation, seen: Reached, patience: Patience
    ) -> Container | _Shared | Outcome:
        goal = GOAL[pending.step]
        step = next_step(pending.operation, pending.step)
        outcome = completed(container, pending, goal)
        change = change_by(pending, goal, seen.at, seen.facts, seen.task)
        ran_and_ended = pending.step is Step.START and seen.task is not None and seen.task.is_stopped
        if ran_and_ended and change.task_version is not None:
            # Its end is another row, which must not look old if this driver crashes before it has written it.
            change = change._replace(task_version=change.task_version - 1)
        result = self._commit(container, change, step, None if step else outcome)
        if isinstance(result, ConditionFailed):
            return self._overtaken(container, seen.task, patience)
        if step is not None:
            return result
        if ran_and_ended:
            self._recorder.record_exit(result, seen.task, Trigger.SYSTEM)
        return self._first_answer(pending, outcome, patience)

    def _ended(
        self, container: Container, pending: PendingOperation, seen: Ended, patience: Patience
    ) -> Container | _Shared | Outcome:
        """Write the row of a task that ended by itself. The operation continues if it can, and else conflicts."""
        change = change_by_exit(seen.at, seen.task)
        if seen.task is None and awaits_host(container, pending):
            # A command may have frozen the task: should it come back, its state is not known.
            change = change._replace(task_version=NO_NEWER)
        verdict = decide(change.to_status, pending.operation, None, container.runtime.launch_type)
        step = verdict.step if isinstance(verdict, Proceed) else None
        answer = None
        if isinstance(verdict, Refused):
            ended = container.model_copy(update={"status": change.to_status, "operation": None})
            answer = conflict(ended, pending.operation, verdict.message)
        # That the task is gone need not be proven again by the next step, which ends whatever may still live.
        absent = pending.absent if seen.task is None else {}
        result = self._commit(container, change, step, answer, absent=absent)
        if isinstance(result, ConditionFailed):
            return self._overtaken(container, None, patience)
        return self._first_answer(pending, answer, patience) if answer else result

    def _never_ran(
        self,
        container: Container,
        pending: PendingOperation,
        seen: NeverRan,
        findings: Findings,
        patience: Patience,
    ) -> _Shared | Outcome:
        facts = (seen.task.facts if seen.task else {}) | {"reason": seen.reason}
        change = change_by(pending, Status.FAILED, seen.at, facts, seen.task)
        if seen.task is None:
            change = change._replace(task_arn=findings.task_arn, task_version=0, task_ended=False)
        return self._fail(container, change, seen.task, patience)

    def _replace_token(self, container: Container, pending: PendingOperation, patience: Patience) -> _Shared | Outcome:
        """Store a new client token before it is used."""
        update = {"client_token": new_id(), "client_token_since": self._clock.now(), "absent": {}}
        noted = self._store.note(container, pending.model_copy(update=update), None)
        if isinstance(noted, ConditionFailed):
            return self._overtaken(container, None, patience)
        return _Shared(noted)

    def _fail(self, container: Container, change: Change, task: Task | None, patience: Patience) -> _Shared | Outcome:
        """End the operation with the container `failed`: an error for the caller, which no Idempotency-Key keeps."""
        if isinstance(self._commit(container, change, None, None, forget=True), ConditionFailed):
            return self._overtaken(container, task, patience)
        raise OperationFailedError(str(change.metadata["reason"]))

    @staticmethod
    def _nothing_happened(pending: PendingOperation, findings: Findings, patience: Patience) -> bool:
        """Whether a refusal means that the operation has had no effect at all."""
        first = patience.alone and pending.attempts == 0 and not pending.answered
        return first and not findings.acted and not pending.has_row and pending.superseded is None

    # --- giving up -------------------------------------------------------------------------------------------------

    def _exhausted(self, pending: PendingOperation, result: Result) -> bool:
        """Whether the step has had its last attempt."""
        if pending.attempts < LAST_ATTEMPT or not self._counts(pending, result):
            return False
        return self._clock.now() - pending.begun_at >= LEAST_TIME

    def _counts(self, pending: PendingOperation, result: Result) -> bool:
        """Whether an attempt counts towards giving the step up."""
        if isinstance(result.observation, Uncertain) and result.observation.throttled:
            return False
        return not result.findings.on_its_way or self._clock.now() - pending.begun_at >= ON_ITS_WAY

    def _give_up(
        self, container: Container, pending: PendingOperation, result: Result, patience: Patience
    ) -> Container | _Shared | Outcome:
        """End a step that has had its last attempt. A task that may still come up is stopped.

        The container keeps its task's ARN: force-stop and restart make sure that it is gone. A step that has commanded
        a host first has its command reverted.
        """
        seen, findings = result
        assert isinstance(seen, Unobserved | Uncertain | NoEffect)
        reason = f"Gave up after {pending.attempts} attempts: {seen.reason}"
        if awaits_host(container, pending):
            now = self._clock.now()
            update = {
                "giving_up": reason,
                "giving_up_since": now,
                "command_number": next_command_number(container, now),
                "command_expires_at": now + DEADLINE,
                "deadline": now + DEADLINE,
            }
            noted = self._store.note(container, pending.model_copy(update=update), None)
            if isinstance(noted, ConditionFailed):
                return self._overtaken(container, None, patience)
            return noted
        task = seen.task if isinstance(seen, Unobserved) else None
        facts = (task.facts if task else {}) | {"reason": reason}
        change = change_by(pending, Status.FAILED, self._clock.now(), facts, task)
        if pending.step is Step.START and findings.task_arn is not None:
            self._steps.stop_stray(container, findings.task_arn)
            if task is None:
                change = change._replace(task_arn=findings.task_arn, task_version=0, task_ended=False)
        return self._fail(container, _as_seen(change, container, findings), None, patience)

    def _finish_giving_up(
        self, container: Container, pending: PendingOperation, patience: Patience, *, reverted: bool
    ) -> _Shared | Outcome:
        """Revert the step's last command, and end the operation once Systems Manager has accepted the opposite one.

        After the last command's expiry time that command can no longer take effect, so the operation ends anyway.
        """
        assert pending.giving_up is not None
        assert pending.giving_up_since is not None
        expired = self._clock.now() >= pending.giving_up_since + DEADLINE
        if not reverted and not self._steps.revert(container, pending) and not expired:
            raise ExternalServiceError(pending.giving_up)
        change = change_by(pending, Status.FAILED, self._clock.now(), {"reason": pending.giving_up}, None)
        # Whether the task's processes are frozen is not known, so no later event is believed.
        return self._fail(container, change._replace(task_version=NO_NEWER), None, patience)

    # --- leaving it pending ----------------------------------------------------------------------------------------

    def _found(self, pending: PendingOperation, result: Result, patience: Patience) -> dict[str, Any]:
        """What an attempt has found out, as changes to the pending operation."""
        findings = result.findings
        found: dict[str, Any] = {
            "absent": dict(findings.absent),
            "task_arn": findings.task_arn,
            "task_run_at": findings.task_run_at,
        }
        if patience.counted and not self._counts(pending, result):
            found["attempts"] = pending.attempts - 1
        changed = {name: value for name, value in found.items() if value != getattr(pending, name)}
        if findings.task_shown and (changed or findings.absent):
            changed["task_shown"] = True
        return changed

    def _accept(
        self,
        container: Container,
        pending: PendingOperation,
        seen: Unobserved,
        findings: Findings,
        patience: Patience,
    ) -> _Shared | Outcome:
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
        return self._overtaken(container, seen.task, patience) if isinstance(result, ConditionFailed) else outcome

    def _release(self, container: Container, pending: PendingOperation, result: Result, patience: Patience) -> None:
        """Release the operation so that a sweep or a retry can take it over immediately.

        Not before a command that may be in flight has expired: the next driver's command must not meet it.
        """
        update = self._found(pending, result, patience)
        in_flight = result.findings.acted and awaits_host(container, pending)
        update["deadline"] = pending.command_expiry if in_flight else self._clock.now()
        self._store.note(container, pending.model_copy(update=update), None)

    # --- committing ------------------------------------------------------------------------------------------------

    def _commit(
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

    def _first_answer(self, pending: PendingOperation, outcome: Outcome, patience: Patience) -> Outcome:
        """The outcome, unless another answer has been given for the Idempotency-Key while it was reached."""
        if not (patience.for_caller and pending.answered and pending.idempotency_id):
            return outcome
        record = self._store.record(pending.idempotency_id)
        return record.answer if record and record.answer else outcome

    def _overtaken(self, container: Container, task: Task | None, patience: Patience) -> _Shared | Outcome:
        """Go on after a refused commit: with the operation as it now stands, or with the answer that it already has.

        Another driver may have continued the very same operation, or ended it: then its rows tell the answer. Or
        force-stop has superseded it: then a task that this driver has started must not live.
        """
        if patience.once:
            raise _OvertakenError
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
                return _Shared(current)
            elsewhere = Unobserved("Another worker continues it")
            return self._accept(current, now, elsewhere, _same(now), patience._replace(owns=False, counted=False))
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


def _as_seen(change: Change, container: Container, findings: Findings) -> Change:
    """Note the newest version of the container's task that was seen, so that no older event is believed."""
    if change.task_version is not None or findings.own_version is None:
        return change
    return change._replace(task_version=max(container.task_version, findings.own_version))


def _same(pending: PendingOperation) -> Findings:
    """Findings that change nothing of what is known of the operation."""
    return Findings(
        task_arn=pending.task_arn,
        task_run_at=pending.task_run_at,
        task_shown=pending.task_shown,
    )
