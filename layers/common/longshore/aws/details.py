"""Changes of a container's item that users request: its details, and the attributes that limit its running time.

Which write owns which attribute:

    name, labels, hold_until,         only this module. Operations write none of them; a claim requires that there is
    idle_timeout, idle_timeout_at,    no protection, and for a schedule that `hold_until` is as read
    kept_alive_at, protection
    stop_at, stop_at_by               this module, and the writes of operations named at `STOP_AT` in `items.py`. A
                                      claim and the end without a row require that they are as read; a row removes them
    desired_count, generation,        operations, and this module while nothing is pending, for a new count of a service
    calls_end_at, apply_count_at
    pending_shard, pending_deadline   operations (`CHANGEABLE` in `items.py`), and this module while nothing is pending

While an operation is pending, the key of the index is its deadline, and a change leaves it as it is; the end of the
operation then requires the changed attributes. Otherwise the change computes the key from the container as read, and
requires that nothing that the key depends on has changed. A write here changes the generation only while nothing is
pending, so a change never makes a driver repeat its step.
"""

import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from longshore.aws.attributes import deserialize_item
from longshore.aws.items import KEYS, LIFETIME, container_of
from longshore.aws.transactions import StoreError, call
from longshore.aws.updates import ConditionFailed
from longshore.aws.writes import Writes, as_read, same, same_key
from longshore.domain.clock import Clock
from longshore.domain.lifecycle import PROTECTED_FROM
from longshore.domain.models import Container

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# A conflict with a transaction that is writing the item says nothing about the condition: the write is repeated.
_REFUSALS = ("ConditionalCheckFailedException", "TransactionConflictException")
_CONFLICT_TRIES = 10
_CONFLICT_PAUSE = 0.025  # seconds; doubled after each try, up to half a second

# The operations from which a protection protects, as a clause. It is true if nothing is pending.
_OPERATIONS = {f"protected_{number}": operation.value for number, operation in enumerate(sorted(PROTECTED_FROM))}
_NOTHING_ENDS = f"NOT #operation.#operation IN ({', '.join(f':{name}' for name in _OPERATIONS)})"


class ContainerDetails:
    """Writes the attributes of containers that users change."""

    def __init__(self, dynamodb: "DynamoDBClient", containers: str, clock: Clock) -> None:
        self._dynamodb = dynamodb
        self._clock = clock
        self._writes = Writes(containers=containers, status_logs="", idempotency="")

    def write(
        self, container: Container, changes: Mapping[str, Any], *, unchanged: Iterable[str] = ()
    ) -> Container | ConditionFailed:
        """Change a container that still belongs to the same project.

        The write sets values, so it may be repeated after a lost reply.

        Args:
            container: The container as read: the project for which the user's role was checked, and what the key of the
                index depends on.
            changes: The new values of the attributes, by name. None removes an attribute.
            unchanged: Attributes that the write requires as read, besides those that the new values depend on.

        Returns:
            The container after the write. If it has been deleted, moved to another project or changed in a way that the
            new values depend on, why nothing was written.

        Raises:
            StoreError: DynamoDB failed after retries. The change may have been written.
            UnreadableItemError: The item is damaged, or was written by a later version.
        """
        after = container.model_copy(update={**changes, "updated_at": self._clock.now()})
        names = [*changes, "updated_at"]
        # False also for an item that does not exist.
        condition = same(container, ["project_id", *unchanged])
        if changes.get("protection") is not None:
            condition = condition.also(_NOTHING_ENDS, **_OPERATIONS)
        # Removing the protection restores a key that the recovery sweep has moved.
        if changes.keys() & {*LIFETIME, "desired_count"} or ("protection" in changes and changes["protection"] is None):
            if container.operation is not None:
                condition = condition.and_also(same(container, LIFETIME)).also("attribute_exists(#operation)")
            else:
                condition = condition.and_also(as_read(container, None)).and_also(same_key(container))
                names += KEYS
        request: Any = self._writes.update(after, condition, names)["Update"] | {"ReturnValues": "ALL_NEW"}
        for attempt in range(_CONFLICT_TRIES):
            answer = call(lambda: self._send(request))
            match answer.get("Error", {}).get("Code"):
                case None:
                    return container_of(deserialize_item(answer["Attributes"]))
                case "ConditionalCheckFailedException":
                    item = answer.get("Item")
                    return ConditionFailed(container_of(deserialize_item(item)) if item else None)
            pause = min(_CONFLICT_PAUSE * 2**attempt, 0.5)
            self._clock.sleep(pause * random.uniform(0.5, 1))
        raise StoreError("The database is busy with other requests for the same container")

    def _send(self, request: Any) -> Any:
        """Return the response, or the error if the write was refused because of its condition or a conflict."""
        try:
            return self._dynamodb.update_item(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] in _REFUSALS:
                return error.response
            raise
