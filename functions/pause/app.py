"""POST /api/v1/containers/{id}/pause: freeze its processes, which keep their memory and sockets."""

import longshore.coldstart
from longshore import bootstrap
from longshore.http import Answer, Request, endpoint, operation_answer
from longshore.lifecycle import Operation


@endpoint
def handler(request: Request) -> Answer:
    return operation_answer(bootstrap.operations().perform(request.to_perform(Operation.PAUSE)))


longshore.coldstart.ready(bootstrap.operations, bootstrap.ssm)
