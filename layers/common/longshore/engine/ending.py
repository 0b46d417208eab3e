"""Ends tasks that a container must not have: StopTask, and a search for the task of a client token without one."""

from collections.abc import Sequence

from longshore.aws.ecs import EcsError, PlacementError
from longshore.domain.ledger import TOKEN_REUSED, with_listed
from longshore.engine.attempt import Attempt


def end_all(attempt: Attempt, tokens: Sequence[str], reason: str, *, may_run: bool = False) -> bool:
    """End tasks of the ledger. First those that are known, then those whose client token may have run one.

    Args:
        attempt: The attempt.
        tokens: The keys of the tasks in the ledger.
        reason: The reason for ECS.
        may_run: Whether RunTask may be called with a client token to find its task.

    Returns:
        Whether all of them are proven ended. A stray may have been added to the ledger meanwhile.

    Raises:
        ChangedError: Another worker has changed the operation.
        EcsError: ECS refused a call or did not answer.
    """
    known = [token for token in tokens if token in attempt.tasks and attempt.tasks[token].arn is not None]
    if known and not attempt.end(known, reason):
        return False
    for token in [token for token in tokens if token in attempt.tasks]:
        if _has_task(attempt, token, may_run=may_run):
            attempt.end([token], reason)
        if token not in attempt.ended:
            return False
    return True


def _has_task(attempt: Attempt, token: str, *, may_run: bool) -> bool:
    """Find the task of a client token whose driver has lost its operation. Returns False if none is known yet.

    ECS lists new tasks late, so only the client token identifies with certainty the task that a superseded start has
    run or is about to run. RunTask is therefore called again with that token. Every later call with the token returns
    the same task, which is stopped here:

        start        claim ------------------------------ RunTask(token): the task that was stopped
        force-stop           claim -- RunTask(token) -- StopTask -- commit

    If ECS cannot place the task, that is proof only when the other driver can no longer call RunTask. If the token is
    too old to be used, or another token may have run a task too, the tasks that ECS lists are searched. That no task is
    found is proof only after two searches, and five minutes after the last RunTask that the start can have called.
    """
    known = attempt.tasks[token]
    since = known.called_from or attempt.container.created_at
    if may_run and attempt.tasks.keys() == {token} and attempt.now() - since < TOKEN_REUSED:
        try:
            attempt.run(token)
        except PlacementError:
            attempt.note_unplaced(token)
            return False
        except EcsError as error:
            if not error.no_effect and not error.conflict:
                raise
        else:
            return True
    try:
        attempt.search(token, since)
    except EcsError:
        # StopTask needs no description: every task of the container that runs now has to end.
        for arn in attempt.undescribed:
            attempt.tasks = with_listed(attempt.tasks, arn)
        raise
    return token in attempt.tasks and attempt.tasks[token].arn is not None
