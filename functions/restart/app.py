"""POST /api/v1/containers/{id}/restart: stop the container's task, if it has one, and run a new task."""

import longshore.wiring.coldstart
from longshore.domain.lifecycle import Operation
from longshore.edge.http import Answer, Request, endpoint, operation_answer
from longshore.wiring import api_functions


@endpoint
def handler(request: Request) -> Answer:
    operations = api_functions.operations()
    outcome = operations.perform(request.to_perform(Operation.RESTART))
    return operation_answer(outcome, request.preferences.within(operations.wait))


longshore.wiring.coldstart.ready(api_functions.operations, api_functions.ssm)
