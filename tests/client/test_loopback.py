"""The server that receives the provider's redirect."""

from http.server import BaseHTTPRequestHandler
from threading import Event, Thread

import httpx
import pytest
from longshore_client.cli.loopback import loopback


def test_the_browser_has_its_page_before_the_program_can_end(monkeypatch: pytest.MonkeyPatch) -> None:
    received, before_the_page = Event(), []
    end_headers = BaseHTTPRequestHandler.end_headers

    def end_headers_late(handler: BaseHTTPRequestHandler) -> None:
        before_the_page.append(received.wait(0.2))
        end_headers(handler)

    monkeypatch.setattr(BaseHTTPRequestHandler, "end_headers", end_headers_late)
    with loopback(0) as server:
        server.expect("state")

        def wait() -> None:
            server.wait(10)
            received.set()

        program = Thread(target=wait)
        program.start()
        page = httpx.get(server.redirect_uri, params={"state": "state", "code": "code"})
        program.join()
    assert (page.status_code, before_the_page) == (200, [False])
