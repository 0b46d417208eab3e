"""GET /api/v1/containers/{id}: what a caller needs to know after a conflict or a 202."""

import longshore.coldstart
from longshore import bootstrap
from longshore.http import Answer, Request, endpoint
from longshore.models import Container, ContainerView, PendingOperation


@endpoint
def handler(request: Request) -> Answer:
    container = bootstrap.reader().container(request.user_id, request.container_id)
    return Answer("Container retrieved successfully", ContainerView.of(container))


longshore.coldstart.ready(
    bootstrap.reader, Container.model_rebuild, PendingOperation.model_rebuild, ContainerView.model_rebuild
)
