"""Decides what follows an attempt at a step: one pure function over one table.

    observation                  owner                                 handler of an event     onlooker
    Reached, Ended, NeverRan     Commit: the row and the next step     Commit                  -
    NoEffect: nothing happened   Abandon (only its claimer)            -                       -
    NoEffect: final              Commit: failed                        Commit: failed          -
    NoEffect, Uncertain          Release, or GiveUp                    Release: writes nothing -
    Uncertain: throttled         Accept, or GiveUp                     Release: writes nothing -
    Unobserved                   Accept, or GiveUp                     Accept                  Accept
    Launched, Noting             Note, then continue                   Note, then continue     -
    TokenExpired                 Note: a new token, then continue      the same                -
    Reverted                     Commit: failed                        Commit: failed          -
    Changed                      Overtaken                             Overtaken               -

`apply.py` carries the decision out. A step is given up when its attempts are used up.
"""

from datetime import datetime, timedelta
from typing import Any, assert_never

from longshore.domain.facts import Observed
from longshore.domain.ledger import KnownTask, Ledger, arns, callable_until, differ
from longshore.domain.lifecycle import GOAL, Proceed, Refused, Status, Step, decide, next_step
from longshore.domain.models import Container, next_command_number
from longshore.domain.pending import GivenUp, Launch, PendingOperation, ServiceChange
from longshore.domain.results import change_by, change_by_exit, completed, conflict, left_by
from longshore.engine.decisions import Abandon, Accept, Commit, DriverRole, GiveUp, Note, Overtaken, Release, Write
from longshore.engine.observations import (
    Changed,
    Ended,
    Findings,
    Launched,
    NeverRan,
    NoEffect,
    Noting,
    Reached,
    Result,
    Reverted,
    TokenExpired,
    Uncertain,
    Unobserved,
)
from longshore.engine.steps import awaits_host

DEADLINE = timedelta(seconds=60)
"""How long an operation belongs to its driver. Longer than a function may run."""

ON_ITS_WAY = timedelta(hours=1)
"""For this long after a step began, attempts that find its task in transition do not count towards giving up."""

LAST_ATTEMPT = 10
LEAST_TIME = timedelta(minutes=10)
"""A step is given up after LAST_ATTEMPT attempts, but not before LEAST_TIME has passed since it began."""

_LOOK_AGAIN = timedelta(seconds=30)  # time until the next lookup of a task that was not found


Left = Launched | Changed | Noting | TokenExpired | Unobserved | NoEffect | Uncertain
"""The observations after which an operation can stay pending."""


def settle(container: Container, result: Result, role: DriverRole, now: datetime, *, fresh_token: str) -> Write:
    """Decide what follows an attempt.

    Args:
        container: The container as read, with the operation.
        result: The result of the attempt.
        role: On whose behalf the attempt was made.
        now: The current time (UTC).
        fresh_token: A client token that replaces an expired one.
    """
    pending = _pending(container)
    seen, findings = result
    match seen:
        case Reached():
            return _reached(container, seen, findings)
        case Ended():
            return _ended(container, seen, findings)
        case NeverRan():
            facts = (seen.task.facts if seen.task else Observed())._replace(reason=seen.reason)
            commit = _failed(container, seen.at, facts, findings, findings.tasks)
            last = left_by(container, seen.task) if seen.task else None
            return commit._replace(change=commit.change._replace(last_task=last), task=seen.task)
        case Reverted():
            assert pending.command.given_up is not None
            return _failed(container, now, Observed(reason=pending.command.given_up.reason), findings, None)
        case NoEffect() if role is DriverRole.CLAIMER and _nothing_happened(pending, findings):
            return Abandon(seen.reason)
        case NoEffect() if seen.final:
            return _failed(container, now, Observed(reason=seen.reason), findings, left_behind(container, findings))
        case Unobserved() | Uncertain() | NoEffect() if role.owns and _is_used_up(pending, result, now):
            return _give_up(container, seen, findings, now)
        case _:
            return _leave(container, seen, result, role, now, fresh_token)


# --- the end of a step ------------------------------------------------------------------------------------------------


def _reached(container: Container, seen: Reached, findings: Findings) -> Commit:
    pending = _pending(container)
    goal = GOAL[pending.step]
    step = next_step(pending.operation, pending.step)
    tasks, task, exited = findings.tasks, seen.task, None
    if pending.step is Step.START and task is not None and task.is_stopped:
        # The task's exit is a second row. If the driver crashes before writing it, an event or a sweep does.
        tasks, exited = {pending.token: KnownTask(arn=task.arn, shown=True, version=task.version)}, task
    change = change_by(pending, goal, seen.at, seen.facts, tasks)._replace(attributes=seen.attributes)
    if pending.step in (Step.STOP, Step.KILL) and task is not None:
        change = change._replace(last_task=left_by(container, task))
    return Commit(change, step, None if step else completed(container, pending, goal), task, exited)


def _ended(container: Container, seen: Ended, findings: Findings) -> Commit:
    """Write the row of a task that ended on its own. Then continue the operation, or end it with a conflict."""
    pending = _pending(container)
    unclear = seen.task is None and awaits_host(container, pending)
    change = change_by_exit(container, seen.at, seen.task, findings.tasks or {}, unclear=unclear)
    verdict = decide(change.to_status, pending.operation, None, container.runtime.platform)
    if isinstance(verdict, Proceed):
        return Commit(change, verdict.step)
    assert isinstance(verdict, Refused)
    ended = container.model_copy(update={"status": change.to_status, "operation": None})
    return Commit(change, answer=conflict(ended, pending.operation, verdict.message))


def _failed(container: Container, at: datetime, facts: Observed, findings: Findings, tasks: Ledger | None) -> Commit:
    change = change_by(_pending(container), Status.FAILED, at, facts, tasks)
    return Commit(change._replace(attributes=findings.attributes))


def _nothing_happened(pending: PendingOperation, findings: Findings) -> bool:
    """Check whether a refusal of the claimer's call proves that the operation has had no effect at all."""
    first = pending.attempts == 0 and not pending.answered
    return first and not findings.acted and not pending.has_row and pending.superseded is None


# --- giving up --------------------------------------------------------------------------------------------------------


def _is_used_up(pending: PendingOperation, result: Result, now: datetime) -> bool:
    """Check whether the step has run out of attempts."""
    if pending.command.given_up is not None or pending.attempts < LAST_ATTEMPT or not _counts(pending, result, now):
        return False
    return now - pending.begun_at >= LEAST_TIME


def _give_up(container: Container, seen: Unobserved | Uncertain | NoEffect, findings: Findings, now: datetime) -> Write:
    """Give up a step that has run out of attempts.

    A pause is first reverted, because a frozen process does not handle SIGTERM. Other operations end immediately. The
    container keeps its ledger, and a sweep ends the tasks in it.
    """
    pending = _pending(container)
    reason = f"Gave up after {pending.attempts} attempts: {seen.reason}"
    if pending.step is Step.PAUSE:
        update = {
            "command": pending.command.model_copy(
                update={
                    "number": next_command_number(container, now),
                    "expires_at": now + DEADLINE,
                    "given_up": GivenUp(reason=reason, since=now),
                }
            ),
            "deadline": now + DEADLINE,
        }
        return Note(with_findings(container, findings), pending.model_copy(update=update))
    task = seen.task if isinstance(seen, Unobserved) else None
    tasks = left_behind(container, findings)
    commit = _failed(container, now, (task.facts if task else Observed())._replace(reason=reason), findings, tasks)
    return GiveUp(arns(tasks) if pending.step is Step.START else [], commit)


def left_behind(container: Container, findings: Findings) -> dict[str, KnownTask]:
    """Return the ledger that an operation leaves to the next one, and to the sweep that ends its tasks.

    Another driver may still call RunTask with the operation's client token, until the operation's deadline.
    """
    pending = _pending(container)
    tasks = container.tasks if findings.tasks is None else findings.tasks
    return callable_until(tasks, pending.token, pending.deadline)


# --- leaving the operation pending ------------------------------------------------------------------------------------


def _leave(
    container: Container, seen: Left, result: Result, role: DriverRole, now: datetime, fresh_token: str
) -> Write:
    """Decide how an operation stays pending."""
    pending, findings = _pending(container), result.findings
    match seen:
        case Launched(task):
            # Events of the task are recognized by its ARN during the wait.
            return Note(with_findings(container, findings), _found(pending, result, role, now), task)
        case Noting():
            # Only the driver acts on a service, so a refused call still proves that nothing has happened.
            before = container.model_copy(update=dict(seen.attributes))
            service = (pending.service or ServiceChange()).model_copy(update=dict(seen.service_change))
            return Note(before, pending.model_copy(update={"service": service}), keeps_alone=True)
        case TokenExpired():
            # A new client token is stored before it is used.
            before = with_findings(container, findings)
            tasks = {**before.tasks, fresh_token: KnownTask(called_from=now)}
            before = before.model_copy(update={"tasks": tasks})
            launch = (pending.launch or Launch()).model_copy(update={"client_token": fresh_token})
            return Note(before, pending.model_copy(update={"launch": launch}))
        case Changed(task):
            return Overtaken(task)
        case Unobserved():
            return _accept(container, result, role, now)
        case Uncertain() if seen.throttled and role.owns:
            return _accept(container, result, role, now)
        case NoEffect() | Uncertain():
            # A sweep or a retry can take the operation over immediately. While a pause is reverted, the deadline stays.
            if not role.owns or pending.command.given_up is not None:
                return Release(container, None, seen.reason)
            released = {"deadline": _released_at(container, findings, now)}
            found = _found(pending, result, role, now).model_copy(update=released)
            return Release(with_findings(container, findings), found, seen.reason)
        case _:
            assert_never(seen)


def _accept(container: Container, result: Result, role: DriverRole, now: datetime) -> Accept:
    """Answer 202, and store the findings that later drivers and events need.

    After a call that ECS has throttled, the operation is released: the sweep, which keeps a pace, continues it.
    """
    pending, findings = _pending(container), result.findings
    keeps = role.answers and pending.idempotency is not None and not pending.answered
    before, found = with_findings(container, findings), _found(pending, result, role, now)
    if isinstance(result.observation, Uncertain):
        found = found.model_copy(update={"deadline": _released_at(container, findings, now)})
    elif role.owns and (findings.absent or any(known.absent_since for known in before.tasks.values())):
        found = found.model_copy(update={"deadline": min(pending.deadline, now + _LOOK_AGAIN)})
    if role is DriverRole.EVENT:
        # The handler of an event stores nothing but a task that it has run, or that has ended. Any write raises the
        # generation, and the operation's driver would have to read the container again.
        has_news = set(arns(before.tasks)) != set(arns(container.tasks))
    else:
        has_news = found != pending or differ(before.tasks, container.tasks)
    task = result.observation.task if isinstance(result.observation, Unobserved) else None
    if not keeps and not has_news:
        return Accept(container, None, task=task)
    if keeps and found.idempotency is not None:
        answered = found.idempotency.model_copy(update={"answered": True})
        found = found.model_copy(update={"idempotency": answered})
    return Accept(before, found, keeps, task)


def _found(pending: PendingOperation, result: Result, role: DriverRole, now: datetime) -> PendingOperation:
    """Return the operation with the findings of an attempt. An attempt that does not count is taken back."""
    findings = result.findings
    update: dict[str, Any] = {"command": pending.command.model_copy(update={"sent": findings.sent_command})}
    if pending.service is not None:
        update["service"] = pending.service.model_copy(update={"absent": dict(findings.absent)})
    was_counted = role is DriverRole.SWEEP and pending.attempts > 0
    if was_counted and not _counts(pending, result, now):
        return pending.model_copy(update=update | {"attempts": pending.attempts - 1})
    return pending.model_copy(update=update)


def _counts(pending: PendingOperation, result: Result, now: datetime) -> bool:
    """Check whether an attempt counts towards giving up the step."""
    if isinstance(result.observation, Uncertain) and result.observation.throttled:
        return False
    return not result.findings.on_its_way or now - pending.begun_at >= ON_ITS_WAY


def _released_at(container: Container, findings: Findings, now: datetime) -> datetime:
    """Return the deadline of an operation that its driver leaves to the next one: now.

    If a command to the host may be in flight, it is the command's expiry time instead. The next driver's command
    must not be delivered before that.
    """
    pending = _pending(container)
    in_flight = findings.acted and awaits_host(container, pending)
    return pending.command_expiry if in_flight else now


def with_findings(container: Container, findings: Findings) -> Container:
    """Return the container with the ledger as an attempt has left it."""
    return container if findings.tasks is None else container.model_copy(update={"tasks": dict(findings.tasks)})


def stored_findings(pending: PendingOperation) -> Findings:
    """Return findings that leave the operation as it is stored."""
    absent = pending.service.absent if pending.service is not None else {}
    return Findings(sent_command=pending.command.sent, absent=absent)


def _pending(container: Container) -> PendingOperation:
    assert container.operation is not None
    return container.operation
