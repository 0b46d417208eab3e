"""POST /api/v1/containers/{id}/{operation}, for an operation that does not exist: say which do."""

import longshore.wiring.coldstart
from longshore.edge.http import Answer, Request, endpoint, unknown_operation


@endpoint
def handler(request: Request) -> Answer:
    raise unknown_operation()


longshore.wiring.coldstart.ready()
