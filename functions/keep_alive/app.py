"""POST /api/v1/containers/{id}/keep-alive: count the time until the container's idle timeout anew."""

import longshore.wiring.coldstart
from longshore.domain.models import Container
from longshore.domain.pending import PendingOperation
from longshore.domain.views import ContainerView
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    container = api_functions.container_changes().keep_alive(request.user_id, request.container_id)
    return Answer("Container kept alive", ContainerView.of(container).model_dump(mode="json"))


longshore.wiring.coldstart.ready(
    api_functions.container_changes,
    Container.model_rebuild,
    PendingOperation.model_rebuild,
    ContainerView.model_rebuild,
)
