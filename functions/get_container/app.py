"""GET /api/v1/containers/{id}: what a caller needs to know after a conflict or a 202."""

import longshore.wiring.coldstart
from longshore.domain.models import Container, ContainerView, PendingOperation
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    container = api_functions.container_reader().container(request.user_id, request.container_id)
    return Answer("Container retrieved successfully", ContainerView.of(container).model_dump(mode="json"))


longshore.wiring.coldstart.ready(
    api_functions.container_reader, Container.model_rebuild, PendingOperation.model_rebuild, ContainerView.model_rebuild
)
