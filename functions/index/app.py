"""GET / and GET /api/v1: return links to the API reference, the console and the OpenAPI document. Takes no token."""

import os

import longshore.wiring.coldstart
from longshore.edge.http import Answer, PublicRequest, public_endpoint

OWN = {"reference": "/docs", "console": "/console", "openapi": "/openapi.yaml"}


@public_endpoint
def handler(request: PublicRequest) -> Answer:
    served = os.environ["SERVE_CONSOLE"] == "true"
    urls = {name: os.environ[f"{name.upper()}_URL"] for name in OWN}
    links = {name: url or (request.base_path + OWN[name] if served else "") for name, url in urls.items()}
    return Answer("Longshore API", {"links": {name: link for name, link in links.items() if link}})


longshore.wiring.coldstart.ready()
