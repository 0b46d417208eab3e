"""The security headers of every kind of response."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import httpx
import pytest
from api_client import Api

from local.seed import container_id
from local.stack import LocalStack

HEADERS = {
    "Strict-Transport-Security": "max-age=63072000",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}
CONTAINER = f"/api/v1/containers/{container_id(11)}"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", CONTAINER, {"Authorization": "valid"}, 200),
        ("GET", f"{CONTAINER}0", {"Authorization": "valid"}, 400),
        ("GET", CONTAINER, {}, 401),
        ("GET", CONTAINER, {"Authorization": "Bearer x"}, 401),
        ("GET", "/none", {}, 404),
        ("GET", "/none", {"Authorization": "Bearer x"}, 404),
        ("GET", CONTAINER, {"Host": "rebound.example"}, 404),
        ("GET", CONTAINER, {"X-Long": "x" * 11_000}, 404),
        ("GET", "/", {}, 200),
        ("GET", "/console", {}, 307),
        ("GET", "/console/", {}, 200),
        ("HEAD", "/console/", {}, 200),
        ("GET", "/console/", {"If-None-Match": "*"}, 304),
        ("GET", "/console/none", {}, 404),
        ("GET", "/docs", {}, 307),
        ("GET", "/openapi.yaml", {}, 200),
    ],
)
def test_every_response(
    stack: LocalStack, api: Api, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    if headers.get("Authorization") == "valid":
        headers = {"Authorization": f"Bearer {api.token('operator')}"}
    response = httpx.request(method, stack.url + path, headers=headers)
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


def test_a_request_that_is_not_http(stack: LocalStack) -> None:
    port = urlsplit(stack.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert received.startswith("HTTP/1.1 404 ")
    assert all(f"{name}: {value}\r\n" in received for name, value in HEADERS.items())


def test_the_reference_has_an_origin_of_its_own(stack: LocalStack) -> None:
    """A browser refuses a sandboxed page with the opener policy `same-origin`."""
    response = httpx.get(f"{stack.url}/docs/")
    expected = HEADERS | {"Cross-Origin-Opener-Policy": "unsafe-none"}
    assert {name: response.headers.get(name) for name in HEADERS} == expected
    rules = [rule.strip().split(" ") for rule in response.headers["Content-Security-Policy"].split(";")]
    (sandbox,) = [rule for rule in rules if rule[0] == "sandbox"]
    assert "allow-scripts" in sandbox
    assert "allow-same-origin" not in sandbox
