"""POST /api/v1/containers/{id}/{operation} for an unknown operation: return an error that lists the operations."""

import longshore.wiring.coldstart
from longshore.edge.http import Answer, Request, endpoint, unknown_operation


@endpoint
def handler(request: Request) -> Answer:
    raise unknown_operation()


longshore.wiring.coldstart.ready()
