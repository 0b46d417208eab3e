"""An HTTP proxy in front of the local stack that loses replies: the call is carried out, and nobody is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_OF_THE_CONNECTION = {"connection", "content-length", "date", "host", "server", "transfer-encoding"}


class DroppingProxy:
    """`drop` counts the replies to POST that are to be lost; `keys` are the Idempotency-Keys of those that came."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.drop = 0
        self.keys: list[str] = []
        self.url = ""


@contextmanager
def dropping_proxy(upstream: str) -> Iterator[DroppingProxy]:
    """A proxy on a free port, for as long as the context."""
    proxy = DroppingProxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._forward()

        def do_POST(self) -> None:
            proxy.keys.append(self.headers["Idempotency-Key"])
            self._forward(lost=len(proxy.keys) <= proxy.drop)

        def _forward(self, lost: bool = False) -> None:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
            reply = httpx.request(self.command, proxy.upstream + self.path, headers=headers, timeout=60)
            self.close_connection = True
            if lost:
                return
            self.send_response(reply.status_code)
            for name, value in reply.headers.items():
                if name.lower() not in _OF_THE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
