"""The server on this machine that receives the provider's redirect after a sign-in in the browser (RFC 8252)."""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from threading import Thread
from urllib.parse import parse_qsl, urlsplit

from longshore_client.cli.exits import Exit, Problem

_HOST = "127.0.0.1"
_PATH = "/callback"
_IDLE_SECONDS = 10
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Loopback:
    """Receives the redirect. Requests with another state are refused, and do not end the wait.

    Attributes:
        redirect_uri: The URI that the provider redirects to.
    """

    def __init__(self, server: ThreadingHTTPServer, answers: "Queue[dict[str, str]]", expected: list[str]) -> None:
        self.redirect_uri = f"http://{_HOST}:{server.server_address[1]}{_PATH}"
        self._answers = answers
        self._expected = expected

    def expect(self, state: str) -> None:
        """Accept a redirect with this state."""
        self._expected.append(state)

    def wait(self, seconds: float) -> dict[str, str]:
        """Return the parameters of the redirect. Raise Problem after the given time."""
        try:
            return self._answers.get(timeout=seconds)
        except Empty:
            raise Problem(
                "SIGN_IN_TIMEOUT", "the browser did not return from the sign-in in time", Exit.AUTHENTICATION
            ) from None


@contextmanager
def loopback(port: int) -> Iterator[Loopback]:
    """Listen for the redirect. Port 0 selects a free port. Raise Problem if the port is in use."""
    answers: Queue[dict[str, str]] = Queue()
    expected: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        timeout = _IDLE_SECONDS

        def do_GET(self) -> None:
            target = urlsplit(self.path)
            if target.path != _PATH:
                self._respond(404, "Not found.")
                return
            answer = dict(parse_qsl(target.query))
            state = answer.get("state", "")
            if not any(hmac.compare_digest(state.encode(), each.encode()) for each in expected):
                self._respond(400, "This page does not belong to the sign-in that is in progress.")
                return
            expected.clear()
            text = "Return to the terminal. You can close this page."
            if "error" in answer:
                text = f"The sign-in was refused ({answer['error']}). Return to the terminal."
            try:
                self._respond(200, text)
            finally:
                answers.put(answer)  # The program may end as soon as it has the answer.

        def _respond(self, status: int, text: str) -> None:
            self.send_response(status)
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(f"<!doctype html><title>Longshore</title><p>{escape(text)}</p>".encode())

        def log_message(self, *_: object) -> None:
            """Log nothing: the request line contains the code."""

    try:
        server = ThreadingHTTPServer((_HOST, port), Handler)
    except OSError as error:
        message = f"cannot listen on port {port}: {error.strerror}"
        advice = ["Specify another port with --port, or sign in with --device."]
        raise Problem("PORT_IN_USE", message, advice=advice) from error
    thread = Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield Loopback(server, answers, expected)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
