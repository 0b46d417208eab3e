"""A server without protection, which serves a web page of another origin."""

import threading
from typing import Any

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response


class OpenServer:
    """A server without protection: it allows every origin, and records the requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self._server = make_server("127.0.0.1", 0, self._respond, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _respond(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        self.requests.append((request.method, request.host, request.get_data(as_text=True)))
        headers = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*, Authorization"}
        page = "<!doctype html><link rel=icon href=data:,><p id=page>A page"
        return Response(page, 200, headers, content_type="text/html")(environ, start_response)
