"""GET / and GET /api/v1: return the links of the API and the settings of the sign-in. Takes no token."""

import os

import longshore.wiring.coldstart
from longshore.edge.http import Answer, PublicRequest, public_endpoint

OWN = {"reference": "/docs", "console": "/console", "openapi": "/openapi.yaml"}


@public_endpoint
def handler(request: PublicRequest) -> Answer:
    served = os.environ["SERVE_CONSOLE"] == "true"
    urls = {name: os.environ[f"{name.upper()}_URL"] for name in OWN}
    links = {name: url or (request.base_path + OWN[name] if served else "") for name, url in urls.items()}
    data = {
        "links": {name: link for name, link in links.items() if link},
        "sign_in": _sign_in() if os.environ["SIGN_IN_CLIENT_ID"] else None,
    }
    return Answer("Longshore API", data)


def _sign_in() -> dict[str, str | None]:
    parameter = os.environ["SIGN_IN_AUDIENCE_PARAMETER"]
    return {
        "issuer": os.environ["TOKEN_ISSUER"],
        "client_id": os.environ["SIGN_IN_CLIENT_ID"],
        "scopes": os.environ["SIGN_IN_SCOPES"],
        "audience": os.environ["TOKEN_AUDIENCE"],
        "audience_parameter": None if parameter == "none" else parameter,
    }


longshore.wiring.coldstart.ready()
