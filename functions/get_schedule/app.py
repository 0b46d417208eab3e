"""GET /api/v1/projects/{project_id}/schedules/{name}: return a schedule."""

import longshore.wiring.coldstart
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import schedule_functions


@endpoint
def handler(request: Request) -> Answer:
    project_id, name = request.project_id, request.schedule_name
    found = schedule_functions.saved_schedules().get(request.user_id, project_id, name)
    return Answer("Schedule retrieved successfully", found)


longshore.wiring.coldstart.ready(schedule_functions.saved_schedules)
