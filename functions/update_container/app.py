"""PATCH /api/v1/containers/{id}: change the container's details, and what limits its running time."""

import longshore.wiring.coldstart
from longshore.domain.changes import ContainerChange
from longshore.domain.clock import SystemClock
from longshore.domain.models import Container
from longshore.domain.pending import PendingOperation
from longshore.domain.views import ContainerView
from longshore.edge.http import Answer, Request, endpoint
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    now = SystemClock().now()
    change = request.body(lambda text: ContainerChange.parse(text, now))
    container = api_functions.container_changes().apply(request.user_id, request.container_id, change)
    return Answer("Container updated successfully", ContainerView.of(container).model_dump(mode="json"))


longshore.wiring.coldstart.ready(
    api_functions.container_changes,
    Container.model_rebuild,
    PendingOperation.model_rebuild,
    ContainerView.model_rebuild,
)
