"""The attributes of a container's item that users set: its name and labels.

Operations neither read these attributes nor write them (`CHANGEABLE` in `items.py` does not contain them), and this
module writes no attribute that an operation's condition contains. Both can therefore write the same item in any order.
"""

import random
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from longshore.aws.attributes import deserialize_item, serialize
from longshore.aws.items import container_of
from longshore.aws.store import ConditionFailed
from longshore.aws.transactions import StoreError, call
from longshore.domain.changes import ContainerChange
from longshore.domain.clock import Clock, to_text
from longshore.domain.models import Container

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

# A conflict with a transaction that is writing the item says nothing about the condition: the write is repeated.
_REFUSALS = ("ConditionalCheckFailedException", "TransactionConflictException")
_CONFLICT_TRIES = 10
_CONFLICT_PAUSE = 0.025  # seconds; doubled after each try, up to half a second


class ContainerDetails:
    """Writes the names and labels of containers."""

    def __init__(self, dynamodb: "DynamoDBClient", containers: str, clock: Clock) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._clock = clock

    def write(self, container_id: str, project_id: str, change: ContainerChange) -> Container | ConditionFailed:
        """Change a container that belongs to the project.

        The write sets values, so it may be repeated after a lost reply.

        Args:
            container_id: The container.
            project_id: The project for which the user's role was checked.
            change: The new values.

        Returns:
            The container after the write. If it does not exist or belongs to another project, why nothing was written.

        Raises:
            StoreError: DynamoDB failed after retries. The change may have been written.
            UnreadableItemError: The item is damaged, or was written by a later version.
        """
        values = {name: value for name, value in change._asdict().items() if value is not None}
        values["updated_at"] = to_text(self._clock.now())
        request: Any = {
            "TableName": self._containers,
            "Key": {"id": {"S": container_id}},
            "UpdateExpression": "SET " + ", ".join(f"#{name} = :{name}" for name in values),
            # False also for an item that does not exist.
            "ConditionExpression": "#project_id = :project_id",
            "ExpressionAttributeNames": {f"#{name}": name for name in (*values, "project_id")},
            "ExpressionAttributeValues": {
                f":{name}": serialize(value) for name, value in (values | {"project_id": project_id}).items()
            },
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
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
