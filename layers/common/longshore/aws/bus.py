"""Events on an EventBridge bus."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from longshore.domain.errors import ExternalServiceError
from longshore.domain.status_changes import DETAIL_TYPE, SOURCE, StatusChange

if TYPE_CHECKING:
    from types_boto3_events import EventBridgeClient
    from types_boto3_events.type_defs import PutEventsRequestEntryTypeDef

MOST_ENTRIES = 10
"""The largest number of events in one call of PutEvents."""

LARGEST_CALL = 256 * 1024 - 1
"""The largest total size of the events in one call of PutEvents, in bytes: it must be less than 256 KB."""

# EventBridge rejects the event itself, so that a repetition is rejected too. All other errors may end: for example, the
# policy of the bus may be corrected.
_PERMANENT = {"InvalidArgument", "MalformedDetail"}

_SIZE_OF_TIME = 14


class Event(NamedTuple):
    """An event of a container, ready to be sent. `size` is that which EventBridge counts, in bytes."""

    container_id: str
    entry: "PutEventsRequestEntryTypeDef"
    size: int


class Rejection(NamedTuple):
    """The reason why EventBridge did not accept an event. A permanent reason applies to every repetition."""

    code: str
    permanent: bool


class EventBus:
    """An event bus.

    Args:
        events: The client.
        name: The name of the bus.
        stack_arn: The ARN of the stack, which is the resource of all events.
    """

    def __init__(self, events: "EventBridgeClient", name: str, stack_arn: str) -> None:
        self._events = events
        self._name = name
        self._stack_arn = stack_arn

    def event(self, change: StatusChange) -> Event:
        """Return the event of a status change. It may be larger than LARGEST_CALL."""
        detail = change.model_dump_json()
        texts = (SOURCE, DETAIL_TYPE, detail, self._stack_arn)
        entry: PutEventsRequestEntryTypeDef = {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": DETAIL_TYPE,
            "Time": change.transition_time,
            "Resources": [self._stack_arn],
            "Detail": detail,
        }
        return Event(change.container_id, entry, _SIZE_OF_TIME + sum(len(text.encode()) for text in texts))

    def put(self, events: Sequence[Event]) -> list[Rejection | None]:
        """Send up to MOST_ENTRIES events, of at most LARGEST_CALL bytes, with one call.

        If the reply is lost, botocore repeats the call, and the bus receives the events twice.

        Returns:
            For each event, None if EventBridge has accepted it, else the reason.

        Raises:
            ExternalServiceError: EventBridge failed. It may have accepted all events or none.
        """
        try:
            answer = self._events.put_events(Entries=[event.entry for event in events])
        except (ClientError, BotoCoreError) as error:
            raise ExternalServiceError("EventBridge did not accept the events") from error
        return [
            None if "ErrorCode" not in result else Rejection(result["ErrorCode"], result["ErrorCode"] in _PERMANENT)
            for result in answer["Entries"]
        ]
