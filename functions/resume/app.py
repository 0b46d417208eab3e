"""POST /api/v1/containers/{id}/resume: unfreeze the task's processes, which continue where they stopped."""

import longshore.wiring.coldstart
from longshore.domain.lifecycle import Operation
from longshore.edge.http import Answer, Request, endpoint, operation_answer
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    return operation_answer(api_functions.operations().perform(request.to_perform(Operation.RESUME)))


longshore.wiring.coldstart.ready(api_functions.operations, api_functions.ssm)
