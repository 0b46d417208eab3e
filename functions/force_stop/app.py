"""POST /api/v1/containers/{id}/force-stop: kill the task's processes and supersede any pending operation."""

import longshore.wiring.coldstart
from longshore.domain.lifecycle import Operation
from longshore.edge.http import Answer, Request, endpoint, operation_answer
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    operations = api_functions.operations()
    outcome = operations.perform(request.to_perform(Operation.FORCE_STOP))
    return operation_answer(outcome, request.preferences.within(operations.wait))


longshore.wiring.coldstart.ready(api_functions.operations, api_functions.ssm)
