"""POST /api/v1/containers/{id}/stop: SIGTERM, and after its grace SIGKILL; answer when the task has stopped."""

import longshore.coldstart
from longshore import bootstrap
from longshore.http import Answer, Request, endpoint, operation_answer
from longshore.lifecycle import Operation


@endpoint
def handler(request: Request) -> Answer:
    return operation_answer(bootstrap.operations().perform(request.to_perform(Operation.STOP)))


longshore.coldstart.ready(bootstrap.operations, bootstrap.ssm)
