"""GET /api/v1/containers/{id}: return the container, optionally once it has settled or has a given status."""

import longshore.wiring.coldstart
from longshore.domain.models import Container
from longshore.domain.pending import PendingOperation
from longshore.domain.views import ContainerView
from longshore.domain.waiting import WaitQuery
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    query = request.query(WaitQuery.parse)
    container = api_functions.container_reader().container(request.user_id, request.container_id, query)
    return Answer("Container retrieved successfully", ContainerView.of(container).model_dump(mode="json"))


longshore.wiring.coldstart.ready(
    api_functions.container_reader, Container.model_rebuild, PendingOperation.model_rebuild, ContainerView.model_rebuild
)
