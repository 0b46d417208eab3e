"""GET and HEAD of /console, /docs and /openapi.yaml: serve the console and the API reference. Takes no token."""

from functools import cache
from pathlib import Path

import longshore.wiring.coldstart
from longshore.edge.http import Document, PublicRequest, public_endpoint
from longshore.edge.static import StaticFiles


@cache
def files() -> StaticFiles:
    return StaticFiles(Path(__file__).with_name("site"))


@public_endpoint
def handler(request: PublicRequest) -> Document:
    return files().get(request)


longshore.wiring.coldstart.ready()
