"""POST /api/v1/containers/{id}/restart: stop its task if it has one, then run a new one."""

import longshore.coldstart
from longshore import bootstrap
from longshore.http import Answer, Request, endpoint, operation_answer
from longshore.lifecycle import Operation


@endpoint
def handler(request: Request) -> Answer:
    return operation_answer(bootstrap.operations().perform(request.to_perform(Operation.RESTART)))


longshore.coldstart.ready(bootstrap.operations, bootstrap.ssm)
