"""POST /api/v1/containers/{id}/start: run its task, and answer when it is running."""

import longshore.coldstart
from longshore import bootstrap
from longshore.http import Answer, Request, endpoint, operation_answer
from longshore.lifecycle import Operation


@endpoint
def handler(request: Request) -> Answer:
    return operation_answer(bootstrap.operations().perform(request.to_perform(Operation.START)))


longshore.coldstart.ready(bootstrap.operations)
