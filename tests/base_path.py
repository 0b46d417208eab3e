"""An HTTP proxy that serves the local stack below a base path, as API Gateway serves a stage."""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import httpx
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

_OF_THE_CONNECTION = {"host", "connection", "content-length", "transfer-encoding", "date", "server"}


class BasePath:
    """Forwards requests for `/live/…` to the stack without `/live`, and answers 403 to all others, like API Gateway."""

    def __init__(self, upstream: str, base_path: str = "/live") -> None:
        self._base_path = base_path
        self._client = httpx.Client(base_url=upstream, timeout=60)
        self._server = make_server("127.0.0.1", 0, self._app, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{self._base_path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._client.close()

    def _app(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self._response(Request(environ))(environ, start_response)

    def _response(self, request: Request) -> Response:
        target = request.environ["RAW_URI"]
        if not target.startswith(f"{self._base_path}/"):
            return Response(status=403)
        headers = [(name, value) for name, value in request.headers if name.lower() not in _OF_THE_CONNECTION]
        forwarded = self._client.build_request(
            request.method, target.removeprefix(self._base_path), headers=headers, content=request.get_data()
        )
        reply = self._client.send(forwarded, stream=True)
        body = b"".join(reply.iter_raw())
        reply.close()
        kept = [(name, value) for name, value in reply.headers.items() if name.lower() not in _OF_THE_CONNECTION]
        return Response(body, reply.status_code, kept)
