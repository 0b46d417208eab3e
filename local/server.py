"""The HTTP server of the gateway: werkzeug's threaded server, with access to unmodified requests.

Each connection serves one request; werkzeug closes it afterwards.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler, select_address_family
from werkzeug.wsgi import get_input_stream

from local import hosts
from local.gateway import BODY_LIMIT, Gateway, Request, Response

LOG = logging.getLogger("local.server")
ACCESS_LOG = logging.getLogger("local.access")

_BACKLOG = 512
# The maximum time that `stop()` waits for requests in progress, in seconds.
_GRACE_SECONDS = 5.0
_HEADERS = "longshore.headers"
_TARGET = "longshore.target"


class ListenError(Exception):
    """The port is in use, or the host is not an address of this machine. The message states the reason."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Port 0 selects a free port. Raises ListenError."""
    listener = socket.socket(select_address_family(host, port), socket.SOCK_STREAM)
    try:
        # The port can be used again immediately after a server has ended.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        in_use = error.errno == errno.EADDRINUSE
        why = "it is in use by another program" if in_use else error.strerror
        raise ListenError(f"cannot listen on port {port} of {host}: {why}") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the base URL of a listening socket, without a trailing slash."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server:
    """Serves a gateway on a listening socket, in its own threads.

    Attributes:
        url: The base URL, without a trailing slash.
    """

    def __init__(self, gateway: Gateway, listener: socket.socket) -> None:
        """Create a server, which owns the listener.

        On a loopback address, the server only responds to requests whose Host header names a loopback address.
        """
        self._gateway = gateway
        host, port = listener.getsockname()[:2]
        is_loopback = ipaddress.ip_address(host).is_loopback
        self._names = hosts.LOOPBACK | {host} if is_loopback else None
        self.host: str = host
        self.port: int = port
        self.url = url_of(listener)
        self._server = _Server(host, port, self._app, handler=_Handler, fd=listener.fileno())
        self._server.gateway = gateway
        # The server uses a duplicate of the socket.
        listener.close()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="local-http", daemon=True)

    def start(self) -> None:
        """Start to serve in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting connections, wait for requests in progress, and close the socket."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.drain(_GRACE_SECONDS)
        self._server.server_close()

    def _app(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        started = time.monotonic()
        path, query = _split_target(environ[_TARGET])
        request = Request(
            method=environ["REQUEST_METHOD"],
            raw_path=path,
            raw_query=query,
            headers=environ[_HEADERS],
            source_ip=environ["REMOTE_ADDR"],
            protocol=environ["SERVER_PROTOCOL"],
        )
        response = self._answer(request, environ)
        _log_access(request, response, started)
        headers = [(name, _as_latin_1(value)) for name, value in response.headers]
        headers.append(("Content-Length", str(len(response.body))))
        start_response(f"{response.status} {_reason(response.status)}", headers)
        return [b"" if request.method == "HEAD" else response.body]

    def _answer(self, request: Request, environ: dict[str, Any]) -> Response:
        if self._names is not None and not hosts.is_allowed(request.header("Host"), self._names):
            return self._gateway.refuse(request, "DEFAULT_4XX", HTTPStatus.MISDIRECTED_REQUEST)
        try:
            body = get_input_stream(environ, max_content_length=BODY_LIMIT).read()
        except RequestEntityTooLarge:
            return self._gateway.refuse(request, "REQUEST_TOO_LARGE")
        except (HTTPException, OSError):
            return self._gateway.refuse(request, "BAD_REQUEST_BODY")
        try:
            return self._gateway.handle(replace(request, body=body))
        except Exception:
            LOG.exception("The local gateway failed")
            return self._gateway.refuse(request, "DEFAULT_5XX", 500)


class _Server(ThreadedWSGIServer):
    """A threaded server that counts the requests in progress, because its threads are daemons."""

    gateway: Gateway

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._in_progress = 0
        self._idle = threading.Condition()
        super().__init__(*arguments, **options)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Count a request in progress while the context is open."""
        with self._idle:
            self._in_progress += 1
        try:
            yield
        finally:
            with self._idle:
                self._in_progress -= 1
                self._idle.notify_all()

    def drain(self, seconds: float) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._in_progress == 0, seconds)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        LOG.debug("Connection failed: %r", sys.exc_info()[1])


class _Handler(WSGIRequestHandler):
    server: _Server
    # A client that connects but sends nothing must not block a thread forever.
    timeout = 60

    def make_environ(self) -> dict[str, Any]:
        environ = super().make_environ()
        # WSGI joins repeated headers and decodes the path, and http.server merges leading slashes.
        environ[_HEADERS] = list(self.headers.items())
        environ[_TARGET] = self.requestline.split()[1]
        return environ

    def run_wsgi(self) -> None:
        with self.server.busy():
            super().run_wsgi()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Reject malformed or too long requests with a gateway response."""
        request = Request(method=self.command or "GET", raw_path="/", source_ip=self.client_address[0])
        response = self.server.gateway.refuse(request, "DEFAULT_4XX", code if 400 <= code < 500 else 400)
        _log_access(request, response, time.monotonic())
        self.close_connection = True
        lines = [f"HTTP/1.1 {response.status} {_reason(response.status)}"]
        lines += [f"{name}: {_as_latin_1(value)}" for name, value in response.headers]
        lines += [f"Content-Length: {len(response.body)}", "Connection: close", "", ""]
        self.wfile.write("\r\n".join(lines).encode("latin-1") + response.body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing. The access log contains the request, without its query."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002, ARG002
        LOG.debug(message, *args)


def _split_target(target: str) -> tuple[str, str]:
    """Return the raw path and query of a request target, which can be an absolute URL."""
    if not target.startswith("/") and "://" in target:
        parts = urlsplit(target)
        return parts.path or "/", parts.query
    path, _, query = target.partition("?")
    return path, query


def _log_access(request: Request, response: Response, started: float) -> None:
    """Write a line of the access log. It contains neither headers, such as Authorization, nor the query."""
    ACCESS_LOG.info(
        "%s %s %s %d ms user=%s request_id=%s",
        request.method,
        request.raw_path,
        response.status,
        round((time.monotonic() - started) * 1000),
        response.context.get("authorizer.principalId", "-"),
        response.context.get("requestId", "-"),
    )


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _as_latin_1(value: str) -> str:
    """Return a header value that is sent as UTF-8 if Latin-1 cannot encode it."""
    try:
        value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("utf-8").decode("latin-1")
    return value
