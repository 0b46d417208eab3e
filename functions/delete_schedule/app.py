"""DELETE /api/v1/projects/{project_id}/schedules/{name}: delete a schedule, if it exists."""

import longshore.wiring.coldstart
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import schedule_functions


@endpoint
def handler(request: Request) -> Answer:
    project_id, name = request.project_id, request.schedule_name
    deleted = schedule_functions.saved_schedules().delete(request.user_id, project_id, name)
    return Answer("Schedule deleted successfully", deleted)


longshore.wiring.coldstart.ready(schedule_functions.saved_schedules)
