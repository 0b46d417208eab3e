"""The access log: the stage's format, rendered with the `$context` variables of requests."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from api_client import Api

from local.gateway import Gateway, Request
from local.seed import container_id
from local.stack import LocalStack

VARIABLE = re.compile(r"\$context\.([A-Za-z.]+)")


def logged(stack: LocalStack, user: str) -> dict[str, Any]:
    """Send a request of a user, and return the fields of its line in the access log.

    Raises:
        ValueError: The line is not JSON, or has a field twice.
    """
    assert stack.template is not None
    assert stack.template.api is not None
    gateway = Gateway(stack.template.api, lambda function, event, wait=None: stack.invoke(function, event))  # noqa: ARG005
    token = ("Authorization", f"Bearer {Api(stack.url).token(user)}")
    response = gateway.handle(Request("GET", f"/api/v1/containers/{container_id(11)}", headers=(token,)))
    (stage,) = stack.template.of_type("AWS::ApiGateway::Stage").values()
    # API Gateway inserts the values as they are, and a hyphen for a variable without a value.
    line = VARIABLE.sub(lambda name: response.context.get(name[1], "-"), stage["AccessLogSetting"]["Format"])
    fields: dict[str, Any] = json.loads(line, object_pairs_hook=once)
    return fields


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError(f"a field occurs twice: {pairs}")
    return fields


@pytest.mark.parametrize(
    "user",
    [
        "operator",
        'x","user":"admin","status":"200',
        'x"}\\',
        "\\",
        '\\","status":"200',
        "{'a'}",
        "josé 名",
        "$context.requestId",
    ],
)
def test_a_user_cannot_change_the_line(stack: LocalStack, user: str) -> None:
    fields = logged(stack, user)
    assert fields["user"] == user
    assert set(fields) == set(logged(stack, "operator"))
    assert fields["method"] == "GET"
