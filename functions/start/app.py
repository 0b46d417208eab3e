"""POST /api/v1/containers/{id}/start: run the container's task and wait until it is running."""

import longshore.wiring.coldstart
from longshore.domain.lifecycle import Operation
from longshore.edge.http import Answer, Request, endpoint, operation_answer
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    return operation_answer(api_functions.operations().perform(request.to_perform(Operation.START)))


longshore.wiring.coldstart.ready(api_functions.operations)
