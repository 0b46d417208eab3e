"""GET /api/v1/containers: return a page of the containers of all projects that the caller is a member of."""

import longshore.wiring.coldstart
from longshore.domain.listing import ContainersQuery
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    query = request.query(ContainersQuery.parse)
    page = api_functions.container_lists().of_user(request.user_id, query)
    return Answer("Containers retrieved successfully", page)


longshore.wiring.coldstart.ready(api_functions.container_lists)
