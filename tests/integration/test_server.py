"""Tests of the local HTTP server in front of the gateway."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from small_api import AUTH, Clock, Functions, make_gateway

from local.gateway import Gateway
from local.server import ListenError, Server, listen


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def gateway(tmp_path: Path, functions: Functions) -> Gateway:
    return make_gateway(tmp_path, functions, Clock())


@pytest.fixture
def server(gateway: Gateway) -> Iterator[Server]:
    server = Server(gateway, listen("127.0.0.1", 0))
    server.start()
    yield server
    server.stop()


def raw(server: Server, request: bytes) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_a_request_reaches_the_function_unchanged(server: Server) -> None:
    answer = raw(
        server,
        b"POST /things/a%2Fb/run?x=1&x=%20 HTTP/1.1\r\nHost: localhost\r\nAuthorization: t\r\n"
        b"X-Two: 1\r\nX-Two: 2\r\nContent-Length: 2\r\n\r\nhi",
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    event = json.loads(body)
    assert event["path"] == "/things/a%2Fb/run"
    assert event["pathParameters"] == {"id": "a/b"}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", " "]}
    assert event["multiValueHeaders"]["X-Two"] == ["1", "2"]
    assert event["body"] == "hi"
    # Without special handling, http.server merges the slashes.
    assert b" 403 " in raw(server, b"GET //open HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b" 200 " in raw(server, b"GET http://elsewhere/open HTTP/1.1\r\nHost: localhost\r\n\r\n")


@pytest.mark.parametrize(
    "request_line",
    [
        b"nonsense",
        b"GET /open HTTP/9.9",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1",
        b"GET /open HTTP/1.1\r\n" + b"X-A: 1\r\n" * 200,
        b"GET /open HTTP/1.1\r\nX-Long: " + b"x" * 70_000,
        b"POST /open HTTP/1.1\r\nContent-Length: 99999999999",
    ],
)
def test_invalid_http_is_rejected_in_the_format_of_the_gateway(server: Server, request_line: bytes) -> None:
    head, _, body = raw(server, request_line + b"\r\n\r\n").partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1.1 4\d\d ", head)
    assert json.loads(body).keys() == {"message"}


def test_head_and_chunks(server: Server) -> None:
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        response = client.head("/nothing")
        assert (response.status_code, response.content) == (403, b"")
        assert int(response.headers["Content-Length"]) > 0
        assert client.post("/things/1/run", headers=dict([AUTH]), content=iter([b"a", b"b"])).json()["body"] == "ab"


def test_neither_token_nor_query_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        client.get("/things/1?token=hidden", headers=dict([AUTH]))
    local_lines = [record.getMessage() for record in caplog.records if record.name.startswith("local")]
    assert [line for line in local_lines if line.startswith("GET /things/1 200 ") and "user=u1" in line]
    assert not [line for line in local_lines if "secret-token" in line or "hidden" in line]


def test_64_concurrent_clients(tmp_path: Path) -> None:
    everyone = threading.Barrier(64)

    class Meeting(Functions):
        def __call__(self, function: str, event: Any, wait: float | None = None) -> Any:  # noqa: ARG002
            # Each call waits for all others. With fewer than 64 concurrent calls the barrier breaks.
            everyone.wait(timeout=30)
            return {"statusCode": 200, "body": "{}"}

    server = Server(make_gateway(tmp_path, Meeting(), Clock()), listen("127.0.0.1", 0))
    server.start()
    try:
        with ThreadPoolExecutor(64) as pool:
            request = b"GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n"
            answers = list(pool.map(lambda _: raw(server, request), range(64)))
    finally:
        server.stop()
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


def test_a_port_in_use(server: Server) -> None:
    with pytest.raises(ListenError, match=str(server.port)):
        listen("127.0.0.1", server.port)
