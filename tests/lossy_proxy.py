"""An HTTP proxy in front of the API that loses requests and replies."""

import threading
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import urlsplit

Fate = Literal["answered", "reply lost", "never forwarded"]


class LossyProxy:
    """Forwards requests to `upstream`, and closes the connection instead of sending some of the replies.

    Attributes:
        fates: The number of requests by fate.
        keys: The Idempotency-Keys of all POST requests, in order.
    """

    def __init__(self, upstream: str, choose: Callable[[str], Fate] | None = None, *, keep_alive: bool = True) -> None:
        """Create a proxy on a free port.

        Args:
            upstream: The base URL of the API.
            choose: Returns the fate of the next request, by its method. By default every third request is lost; every
                fourth lost request is not forwarded.
            keep_alive: Whether connections serve several requests. A browser repeats a request automatically when a
                connection that it reuses is closed.
        """
        self.fates: Counter[str] = Counter()
        self.keys: list[str] = []
        self.keep_alive = keep_alive
        self._choose = choose or _every_third()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, urlsplit(upstream).netloc))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fate(self, method: str, key: str) -> Fate:
        """Record a request, and return its fate."""
        with self._lock:
            if method == "POST":
                self.keys.append(key)
            fate = self._choose(method)
            self.fates[fate] += 1
            return fate

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def first_posts_lost(number: int) -> Callable[[str], Fate]:
    """Return a choice that loses the replies to the first POST requests."""
    lost = iter(range(number))

    def choose(method: str) -> Fate:
        return "answered" if method != "POST" or next(lost, None) is None else "reply lost"

    return choose


def _every_third() -> Callable[[str], Fate]:
    requests = count(1)

    def choose(_: str) -> Fate:
        number = next(requests)
        if number % 3:
            return "answered"
        return "reply lost" if number % 12 else "never forwarded"

    return choose


def _handler(proxy: LossyProxy, upstream: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._forward()

        def do_POST(self) -> None:
            self._forward()

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fate = proxy.fate(self.command, self.headers.get("Idempotency-Key", ""))
            if fate == "never forwarded":
                self.close_connection = True
                return
            connection = HTTPConnection(upstream, timeout=60)
            try:
                connection.request(self.command, self.path, body, dict(self.headers))
                reply = connection.getresponse()
                content = reply.read()
            finally:
                connection.close()
            if fate == "reply lost":
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            if not proxy.keep_alive:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            """Log nothing."""

    return Handler
