"""What must always hold, at every moment of a run and after it.

1. A container has at most one live task. To the letter, and at every moment: of its tasks that were not asked to stop,
   at most one is anything but a stray. A stray is a task that came when the operation that ran it had ended already,
   because its caller was late, or one that ECS did not list yet to the force-stop that superseded its start. Nothing in
   ECS can prevent that, so it has to be noticed and stopped. When all has settled there are no strays: one task when
   the status is running or paused, none when it is stopped or expired, and none but the container's own when it has
   failed.
2. Its processes are frozen if and only if it is paused, once its last command has had the time to take effect.
3. The rows form a chain, and the last one says the status: after every single write. A row is true: `stopped` is not
   written while a task lives, `running` not of a task that never ran or whose end is known, and an exit not of a task
   that still lives. An operation begins only where the table of transitions allows it.
4. The counters and the ranks are what counting gives.
5. What was answered is true. Completed: the row is there when the answer is given. Accepted: the operation ends with a
   row, or the operation that superseded it does. A conflict: the container was in that state, because of something
   else, at a moment between request and answer. An operation that ends without a row has had no effect. No exception
   but the library's own. An Idempotency-Key has one effect, and one answer but for failures, and for a 202 while it is
   under way. The answer that it keeps is never replaced.
6. A scheduled stop does not undo what a user has asked for after its scheduled time.
7. Nothing stays pending.
"""

from typing import TYPE_CHECKING, Any

from longshore.aws.attributes import deserialize_item

from simulation.history_checks import check_history, check_page
from simulation.ledger import Ledger
from simulation.records import LIVE, Asked, Fate, Violation

if TYPE_CHECKING:
    from simulation.world import World

__all__ = ["Asked", "Fate", "Ledger", "Violation", "check_history", "check_page", "settled"]


def settled(world: "World", asked: list[Asked]) -> None:
    """Raise Violation unless everything holds that must hold in the end."""
    ledger = world.ledger
    for container_id, container in ledger.containers.items():
        if "operation" in container:
            operation = container["operation"]
            raise Violation(f"{operation['operation']} {operation['id']} is still pending at {operation['step']}")
        if container_id not in ledger.without_tasks:
            check_tasks(world, container_id, container)
        if container_id in ledger.full:
            continue  # Its last changes have no rows.
        try:
            check_history(container, _stored_rows(world, container_id))
        except AssertionError as error:
            raise Violation(f"the history of {container_id}: {error}") from error
    world.answers.settled(asked)


def _stored_rows(world: "World", container_id: str) -> list[dict[str, Any]]:
    items = world.dynamodb.tables["status-logs"].items
    return [deserialize_item(item) for key, item in sorted(items.items()) if key[0] == container_id]


def check_tasks(world: "World", container_id: str, container: dict[str, Any]) -> None:
    """Raise Violation unless the tasks of a container with nothing pending are as its status says."""
    ledger = world.ledger
    live = [task for task in world.ecs._tasks.values() if task.live and task.started_by == container_id]
    status, arn = container["status"], container.get("task_arn")
    words = ", ".join(f"{task.arn[-6:]} ({ledger.story(task)})" for task in live) or "none"
    if status in LIVE:
        if [task.arn for task in live] != [arn]:
            raise Violation(f"{status}, its task is {(arn or 'none')[-6:]}, and its live tasks are {words}")
        paused = {process.paused for process in live[0].containers if process.running}
        if paused != {status == "paused"} and ledger.strict:
            raise Violation(ledger.effects.words(container_id, frozen=any(paused)))
    elif live and (status != "failed" or [task.arn for task in live] != [arn]):
        raise Violation(f"{status}, its task is {(arn or 'none')[-6:]}, and its live tasks are {words}")
    elif live:
        world.remark("failed, with its own task alive")
