"""GET /api/v1/projects/{project_id}/schedules: return the schedules of a project."""

import longshore.wiring.coldstart
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import schedule_functions


@endpoint
def handler(request: Request) -> Answer:
    found = schedule_functions.saved_schedules().list(request.user_id, request.project_id)
    return Answer("Schedules retrieved successfully", found)


longshore.wiring.coldstart.ready(schedule_functions.saved_schedules)
