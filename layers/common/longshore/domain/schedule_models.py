"""The shapes of the API's responses about schedules, for the API reference.

`schedules` creates the responses without pydantic, which takes a third of a cold start.
"""

from typing import Any

from pydantic import BaseModel

from longshore.domain.base import Timestamp
from longshore.domain.lifecycle import Operation


class ScheduleView(BaseModel):
    """`data` of GET and PUT /projects/{project_id}/schedules/{name}, and an element of the list of schedules."""

    name: str
    operation: Operation
    expression: str
    timezone: str
    targets: dict[str, Any]
    enabled: bool
    created_by: str
    updated_at: Timestamp
    next_runs: list[Timestamp]


class Schedules(BaseModel):
    """`data` of GET /projects/{project_id}/schedules."""

    schedules: list[ScheduleView]


class DeletedSchedule(BaseModel):
    """`data` of DELETE /projects/{project_id}/schedules/{name}."""

    name: str
