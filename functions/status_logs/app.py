"""GET /api/v1/containers/{id}/status-logs: return a page of the container's history in one of eight sort orders."""

import longshore.wiring.coldstart
from longshore.domain.pages import StatusLogsQuery
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    container_id, query = request.container_id, request.query(StatusLogsQuery.parse)
    page = api_functions.history_reader().page(request.user_id, container_id, query)
    return Answer("Container status logs retrieved successfully", page)


longshore.wiring.coldstart.ready(api_functions.history_reader)
