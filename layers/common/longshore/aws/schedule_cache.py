"""Copies of what EventBridge Scheduler holds, so that a list of schedules does not read each of them with GetSchedule.

EventBridge Scheduler is the record of schedules. ListSchedules returns their names and when each was modified, and not
their settings. The table has one item per project: its definitions by name, each with the time of the modification that
it was read after. A copy is used only if ListSchedules returns the same time. A copy can therefore be missing or
outdated, but never wrong: writers of schedules do not know the table, and nothing has to be repaired after a crash.

Two modifications could have the same time. So a definition is copied only when its last modification is older than
`_SETTLED`: every later modification has another time.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from longshore.aws.scheduler import Definition
from longshore.aws.transactions import call

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_SETTLED = timedelta(seconds=10)
_LARGEST = 390_000  # bytes; an item has at most 400 KB


class ScheduleCache:
    """Reads and writes the copies.

    Raises:
        ExternalServiceError: Every method: DynamoDB failed after retries.
    """

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def definitions(self, project_id: str) -> dict[str, Definition]:
        """Return the copies of a project by name. Copies that this version cannot read are left out."""
        key = {"project_id": {"S": project_id}}
        item = call(lambda: self._dynamodb.get_item(TableName=self._table, Key=key)).get("Item")
        try:
            copies = json.loads(item["definitions"]["S"]) if item else {}
            return {name: Definition(**copy) for name, copy in copies.items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            return {}

    def keep(self, project_id: str, definitions: Mapping[str, Definition], now: datetime) -> None:
        """Replace the copies of a project.

        Args:
            project_id: The project.
            definitions: The definitions by name. Those that were modified just before `now` are left out.
            now: A time (UTC) before the definitions were read.
        """
        settled = {
            name: definition._asdict()
            for name, definition in definitions.items()
            if datetime.fromisoformat(definition.modified_at) < now - _SETTLED
        }
        text = json.dumps(settled, separators=(",", ":"))
        if len(text) > _LARGEST:
            return
        item = {"project_id": {"S": project_id}, "definitions": {"S": text}}
        call(lambda: self._dynamodb.put_item(TableName=self._table, Item=item))
