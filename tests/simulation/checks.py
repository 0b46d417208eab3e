"""The invariants, which are checked at every moment of a run or after it.

1. A container has at most one live task. A task lives until its `lastStatus` is STOPPED. RunTask never creates a second
   one, except by a call that was already sent when its driver lost the operation (`alive`). After the run, the only
   live tasks are those of running and paused containers, one each.
2. The processes of a container are frozen if and only if it is paused, once its last command has had time to take
   effect. An operation does not freeze processes that it has asked to stop.
3. After every write, the rows form a chain and the last row has the container's status. A row is true: no `stopped`
   while a task lives or a RunTask call is under way, `running` only with exactly one live task, and no exit of a task
   that still lives. Its times and metadata are those of its operation and its task (`row_checks`). An operation starts
   only where the table of transitions allows it. A force-stop is not given up without a StopTask.
4. Counters and ranks equal the counted values.
5. Answers are true. Completed: the row exists when the answer is returned, and ECS agrees (`answers_of_ecs`).
   Accepted: the operation, or the operation that superseded it, ends with a row. Conflict: another operation had put
   the container into that state at a moment between request and answer. An operation that ends without a row has had no
   effect. No exceptions other than the library's own. An Idempotency-Key has one effect and one answer, except for
   failures and for 202s before the final answer. A stored answer is never replaced.
6. A scheduled stop does not undo what a user requested after its scheduled time.
7. No operation stays pending.
8. `lifetime_checks` has the invariants of lifetimes and protections.
"""

from typing import TYPE_CHECKING, Any

from longshore.aws.attributes import deserialize_item

from simulation import lifetime_checks
from simulation.history_checks import check_history, check_page
from simulation.ledger import Ledger
from simulation.records import LIVE, Asked, Fate, Violation

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["Asked", "Fate", "Ledger", "Violation", "check_history", "check_page", "settled"]


def settled(world: "World", asked: list[Asked]) -> None:
    """Check the final state. Raises Violation."""
    ledger = world.ledger
    for container_id, container in ledger.containers.items():
        if "operation" in container:
            operation = container["operation"]
            raise Violation(f"{operation['operation']} {operation['id']} is still pending at {operation['step']}")
        if not world.service_checks.settled(container) and container_id not in ledger.without_tasks:
            check_tasks(world, container_id, container)
        if container_id in ledger.full:
            continue  # The last changes of this container have no rows.
        try:
            check_history(container, _stored_rows(world, container_id))
        except AssertionError as error:
            raise Violation(f"the history of {container_id}: {error}") from error
    lifetime_checks.settled(world)
    world.answers.settled(asked)


def _stored_rows(world: "World", container_id: str) -> list[dict[str, Any]]:
    items = world.dynamodb.tables["status-logs"].items
    return [deserialize_item(item) for key, item in sorted(items.items()) if key[0] == container_id]


def check_tasks(world: "World", container_id: str, container: dict[str, Any]) -> None:
    """Raise Violation unless the tasks of a container without a pending operation match its status."""
    ledger = world.ledger
    live = list(ledger.alive.all_tasks(container_id))
    status = container["status"]
    words = ", ".join(f"{task.id[-6:]} ({ledger.story(task)})" for task in live) or "none"
    if status in LIVE:
        if len(live) != 1:
            raise Violation(f"{status}, and its live tasks are {words}")
        paused = {process.paused for process in live[0].containers if process.running}
        if paused != {status == "paused"} and ledger.strict:
            raise Violation(ledger.effects.words(container_id, frozen=any(paused)))
    elif live and ledger.strict:
        raise Violation(f"a live task is forgotten: {status}, and its live tasks are {words}")
    elif live and (status != "failed" or [task.arn for task in live] != [container.get("task_arn")]):
        raise Violation(f"{status}, and its live tasks are {words}")
