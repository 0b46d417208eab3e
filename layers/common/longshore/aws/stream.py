"""Records of the stream of the history table, and the queue of those that could not be published."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from longshore.aws.attributes import deserialize_item
from longshore.domain.errors import ExternalServiceError, UnreadableItemError
from longshore.domain.models import Container
from longshore.domain.status_changes import StatusChange


class Record(NamedTuple):
    """A new row in the stream.

    Attributes:
        sequence_number: The position in the stream.
        created_at: When the row was written. A record without a time, which is not from the stream, is from 1970.
        container_id: The container, or an empty string if it cannot be read.
        content: The record as Lambda passes it.
    """

    sequence_number: str
    created_at: datetime
    container_id: str
    content: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The key of the row, for logs."""
        time = self.content["dynamodb"].get("Keys", {}).get("transition_time", {}).get("S", "")
        return f"{self.container_id} {time}"

    def change(self, container: Container | None) -> StatusChange:
        """Return the status change of the row.

        Args:
            container: The container, if it exists.

        Raises:
            UnreadableItemError: The row is damaged, or was written by a later version.
        """
        try:
            row = deserialize_item(self.content["dynamodb"]["NewImage"])
            known = container if container is not None and container.project_id == row.get("project_id") else None
            facts = {"container_name": known and known.name, "labels": known.labels if known else {}}
            return StatusChange.model_validate({"from_status": None} | row | facts)
        except (AttributeError, KeyError, TypeError, ValueError, ValidationError) as error:
            raise UnreadableItemError(self.container_id) from error


def records_of(event: Mapping[str, Any]) -> list[Record]:
    """Return the records of a Lambda event, in order."""
    return [_record(content) for content in event["Records"]]


def _record(content: Mapping[str, Any]) -> Record:
    written = content["dynamodb"]
    identity = written.get("Keys", {}).get("container_id", {}).get("S", "")
    created_at = datetime.fromtimestamp(written.get("ApproximateCreationDateTime", 0), UTC)
    return Record(str(written.get("SequenceNumber", "")), created_at, str(identity), content)


class UndeliveredQueue:
    """The SQS queue of records that could not be published. A message is a complete record, as JSON."""

    # The development environment has no types for SQS.
    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self._url = url

    def send(self, record: Record) -> None:
        """Send a record to the queue. If the reply is lost, botocore repeats the call, and the queue has it twice.

        Raises:
            ExternalServiceError: SQS failed. The queue may have received the record.
        """
        body = json.dumps(record.content, separators=(",", ":"))
        try:
            self._sqs.send_message(QueueUrl=self._url, MessageBody=body)
        except (ClientError, BotoCoreError) as error:
            raise ExternalServiceError("SQS did not accept the record") from error
