"""GET /api/v1/projects/{project_id}/containers: return a page of the containers of a project."""

import longshore.wiring.coldstart
from longshore.domain.listing import ContainersQuery
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    project_id = request.project_id
    query = request.query(lambda given: ContainersQuery.parse(given, project_id))
    page = api_functions.container_lists().of_project(request.user_id, project_id, query)
    return Answer("Containers retrieved successfully", page)


longshore.wiring.coldstart.ready(api_functions.container_lists)
