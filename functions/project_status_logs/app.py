"""GET /api/v1/projects/{project_id}/status-logs: return a page of the history of all containers of a project."""

import longshore.wiring.coldstart
from longshore.domain.project_pages import ProjectLogsQuery
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    query = request.query(lambda given: ProjectLogsQuery.parse(request.project_id, given))
    page = api_functions.project_reader().page(request.user_id, query)
    return Answer("Project status logs retrieved successfully", page)


longshore.wiring.coldstart.ready(api_functions.project_reader)
