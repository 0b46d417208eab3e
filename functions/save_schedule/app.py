"""PUT /api/v1/projects/{project_id}/schedules/{name}: create a schedule, or replace the one with this name."""

import longshore.wiring.coldstart
from longshore.domain.clock import SystemClock
from longshore.domain.schedules import ScheduleSettings
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import schedule_functions


@endpoint
def handler(request: Request) -> Answer:
    project_id, name = request.project_id, request.schedule_name
    settings = request.body(lambda body: ScheduleSettings.parse(body, SystemClock().now()))
    saved = schedule_functions.saved_schedules().save(
        request.user_id,
        project_id,
        name,
        settings,
        members=schedule_functions.members(),
        target=schedule_functions.target(),
    )
    return Answer("Schedule saved successfully", saved)


longshore.wiring.coldstart.ready(
    schedule_functions.saved_schedules, schedule_functions.members, schedule_functions.target
)
