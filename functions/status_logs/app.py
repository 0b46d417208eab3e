"""GET /api/v1/containers/{id}/status-logs: a page of the container's history, in any of eight orders."""

import longshore.coldstart
from longshore import bootstrap
from longshore.http import Answer, Request, endpoint
from longshore.models import StatusLogsQuery


@endpoint
def handler(request: Request) -> Answer:
    page = bootstrap.reader().status_logs(request.user_id, request.container_id, request.query)
    return Answer("Container status logs retrieved successfully", page)


longshore.coldstart.ready(bootstrap.reader, StatusLogsQuery.model_rebuild)
