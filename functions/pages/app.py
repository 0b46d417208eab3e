"""GET and HEAD of /console, /docs and /openapi.yaml: serve the console and the API reference. Takes no token."""

import longshore.wiring.coldstart
from longshore.edge.http import Document, PublicRequest, public_endpoint
from longshore.edge.static import StaticFiles

files = StaticFiles.beside(__file__)


@public_endpoint
def handler(request: PublicRequest) -> Document:
    return files.get(request)


longshore.wiring.coldstart.ready()
