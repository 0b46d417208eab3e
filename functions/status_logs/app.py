"""GET /api/v1/containers/{id}/status-logs: a page of the container's history, in any of eight orders."""

from longshore import bootstrap
from longshore.http import Answer, Request, endpoint


@endpoint
def handler(request: Request) -> Answer:
    page = bootstrap.reader().status_logs(request.user_id, request.container_id, request.query)
    return Answer("Container status logs retrieved successfully", page)
