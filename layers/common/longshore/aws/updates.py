"""Conditional updates of containers' items, which are repeated if only the container's lifetime has changed.

Users change the attributes in `LIFETIME` at any time, without regard to drivers. After a write that leaves nothing
pending, the key of the index `pending-by-deadline` depends on them:

    driver   read ------------------------------- commit: refused, stop_at is not as read ---- commit: with stop_at
    user          PATCH stop_at (the key is the deadline, and stays)

The write therefore requires that they are as read. If they are not, it is repeated with their current values.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from longshore.aws.items import CHANGEABLE, LIFETIME, container_of
from longshore.aws.transactions import Transactions
from longshore.aws.writes import Condition, Writes, as_stored, same
from longshore.domain.models import Container


class ConditionFailed(NamedTuple):
    """A write was refused: the item no longer equals the snapshot.

    Attributes:
        current: The container as it is now; None if it has been deleted.
    """

    current: Container | None


class Updates:
    """Updates containers' items.

    Args:
        writes: Builds the writes.
        transactions: Sends them.
        read: Reads a container consistently.
    """

    def __init__(self, writes: Writes, transactions: Transactions, read: Callable[[str], Container | None]) -> None:
        self._writes = writes
        self._transactions = transactions
        self._read = read

    def apply(
        self,
        condition: Condition,
        after: Container,
        more: Sequence[Any] = (),
        *,
        names: Sequence[str] = CHANGEABLE,
        restored: Callable[[Container], Container] | None = None,
        transaction: bool = False,
    ) -> Container | ConditionFailed:
        """Update a container, and write other items in the same transaction.

        Args:
            condition: The condition that the current item must satisfy.
            after: The container after the update, with the attributes in `LIFETIME` as read.
            more: The writes of the other items.
            names: The attributes to write.
            restored: Returns the container to write, from `after` with the current attributes in `LIFETIME`.
            transaction: Whether to use a transaction for a single item, too.

        Returns:
            The container after the update, or why it was refused.

        Raises:
            StoreError: DynamoDB failed after retries. The items may have been written.
        """
        while True:
            written = restored(after) if restored else after
            depends = written.operation is None and (written.is_live or restored is not None)
            guarded = condition.and_also(same(after, LIFETIME)) if depends else condition
            update = self._writes.update(written, guarded, names)
            refused = self._transactions.write([update, *more], transaction=transaction)
            if refused is None:
                return as_stored(written)
            failed = self._failed(refused, after)
            if not depends or failed.current is None or _lifetime(failed.current) == _lifetime(after):
                return failed
            # If the container has changed in other ways too, the next update is refused because of them.
            after = after.model_copy(update=_lifetime(failed.current))

    def move_key(self, condition: Condition, container: Container, until: datetime) -> Container | ConditionFailed:
        """Update nothing but the key of the index `pending-by-deadline`.

        Args:
            condition: The condition that the current item must satisfy.
            container: The container.
            until: The time at which the recovery sweep is to find the container.
        """
        refused = self._transactions.write([self._writes.move_key(container, until, condition)])
        if refused is not None:
            return self._failed(refused, container)
        return container.model_copy(update={"pending_deadline": until})

    def _failed(self, refused: Sequence[Any], container: Container) -> ConditionFailed:
        return ConditionFailed(container_of(refused[0]) if refused[0] else self._read(container.id))


def _lifetime(container: Container) -> dict[str, Any]:
    return {name: getattr(container, name) for name in LIFETIME}
