"""POST /api/v1/containers/{id}/stop: stop the task (SIGTERM, then SIGKILL) and wait until it has stopped."""

import longshore.wiring.coldstart
from longshore.domain.lifecycle import Operation
from longshore.edge.http import Answer, Request, endpoint, operation_answer
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    operations = api_functions.operations()
    outcome = operations.perform(request.to_perform(Operation.STOP))
    return operation_answer(outcome, request.preferences.within(operations.wait))


longshore.wiring.coldstart.ready(api_functions.operations, api_functions.ssm)
