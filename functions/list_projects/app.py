"""GET /api/v1/projects: return the projects that the caller is a member of, with the caller's roles."""

import longshore.wiring.coldstart
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    projects = api_functions.project_list().of_user(request.user_id)
    return Answer("Projects retrieved successfully", {"projects": projects})


longshore.wiring.coldstart.ready(api_functions.project_list)
