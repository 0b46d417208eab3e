"""POST /api/v1/containers/{id}/force-stop: kill its processes, also in place of a pending operation."""

import longshore.coldstart
from longshore import bootstrap
from longshore.http import Answer, Request, endpoint, operation_answer
from longshore.lifecycle import Operation


@endpoint
def handler(request: Request) -> Answer:
    return operation_answer(bootstrap.operations().perform(request.to_perform(Operation.FORCE_STOP)))


longshore.coldstart.ready(bootstrap.operations, bootstrap.ssm)
