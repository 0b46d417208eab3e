"""GET /api/v1/containers/{id}: what a caller needs to know after a conflict or a 202."""

from longshore import bootstrap
from longshore.http import Answer, Request, endpoint
from longshore.models import ContainerView


@endpoint
def handler(request: Request) -> Answer:
    container = bootstrap.reader().container(request.user_id, request.container_id)
    return Answer("Container retrieved successfully", ContainerView.of(container))
