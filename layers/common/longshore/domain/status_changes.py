"""The status changes that a stack publishes as events."""

from longshore.domain.models import StatusLog

SOURCE = "longshore"
"""The source of the events."""

DETAIL_TYPE = "Container Status Change"
"""The detail type of the events."""


class StatusChange(StatusLog):
    """`detail` of an event: a history row, and what a consumer needs to know of its container."""

    project_id: str  # the project that the container was in when the row was written
    container_name: str | None  # when the event is published; null if the container was deleted, or left the project
    labels: dict[str, str]  # when the event is published; empty if the name is null
    seq: int  # number of the row in the history of the container, without gaps
