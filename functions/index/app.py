"""GET / and GET /api/v1: return links to the API reference, the console and the OpenAPI document. Takes no token."""

import os

import longshore.wiring.coldstart
from longshore.edge.http import Answer, public_endpoint


@public_endpoint
def handler() -> Answer:
    urls = {name: os.environ[f"{name.upper()}_URL"] for name in ("reference", "console", "openapi")}
    return Answer("Longshore API", {"links": {name: url for name, url in urls.items() if url}})


longshore.wiring.coldstart.ready()
