"""An HTTP proxy that loses requests and responses."""

import threading
from collections import Counter
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class LossyProxy:
    """Forwards requests to `upstream`, and closes the connection instead of returning every third response.

    Every fourth of these requests is not forwarded. For the others, the response of the upstream is lost. `fates`
    counts the requests by outcome.
    """

    def __init__(self, upstream: str) -> None:
        self.fates: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._requests = 0
        self._lost = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self, urlsplit(upstream).netloc))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def fate(self) -> str:
        """Return the outcome of the next request."""
        with self._lock:
            self._requests += 1
            fate = "answered"
            if self._requests % 3 == 0:
                self._lost += 1
                fate = "never forwarded" if self._lost % 4 == 0 else "reply lost"
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


def _handler(proxy: LossyProxy, upstream: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._forward()

        def do_POST(self) -> None:
            self._forward()

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fate = proxy.fate()
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
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            """Log nothing."""

    return Handler
