"""A fake Docker daemon on a Unix socket that records requests and keeps containers in memory. It runs no processes."""

import json
import queue
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


class FakeDaemon:
    """The part of the Docker Engine API that `local.emulator.docker` uses. A context manager."""

    def __init__(self, socket: Path) -> None:
        self.images = {"busybox:local"}
        self.containers: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.refused: dict[str, str] = {}
        self._streams: list[queue.Queue[dict[str, Any] | None]] = []
        self._server = ThreadingUnixStreamServer(str(socket), _handler(self))
        self.url = f"unix://{socket}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end_streams()
        self._server.shutdown()
        self._server.server_close()

    def emit(self, action: str, identity: str, at: int | None = None, **attributes: str) -> None:
        """Send an event of a container, at a time in nanoseconds."""
        labels = self.containers[identity]["Labels"]
        event = {
            "Action": action,
            "Actor": {"ID": identity, "Attributes": {**labels, **attributes}},
            "timeNano": at or time.time_ns(),
        }
        for stream in self._streams:
            stream.put(event)

    def end_streams(self) -> None:
        """End all streams of events, as a daemon does that restarts."""
        streams, self._streams = self._streams, []
        for stream in streams:
            stream.put(None)

    @property
    def streams(self) -> int:
        """The number of open streams of events."""
        return len(self._streams)

    def listen(self, write: Callable[[bytes], object]) -> None:
        events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._streams.append(events)
        while (event := events.get()) is not None:
            write(json.dumps(event).encode() + b"\n")

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Return the status and the JSON body of the answer to a request."""
        for pattern, message in self.refused.items():
            if re.fullmatch(pattern, f"{method} {path}"):
                return 500, {"message": message}
        match method, path.strip("/").split("/"):
            case "GET", ["version"]:
                return 200, {"ApiVersion": "1.44"}
            case "GET", ["images", *name, "json"]:
                exists = "/".join(name) in self.images
                return (200, {"Id": "sha256:1"}) if exists else (404, {"message": "No such image"})
            case "POST", ["images", "create"]:
                return 200, {"error": f"pull access denied for {query['fromImage']}"}
            case "POST", ["containers", "create"]:
                identity = f"{len(self.containers) + 1:064x}"
                self.containers[identity] = {**body, "Id": identity, "Name": query["name"], "running": False}
                return 201, {"Id": identity, "Warnings": []}
            case "GET", ["containers", "json"]:
                (label,) = json.loads(query["filters"])["label"]
                found = [each for each in self.containers.values() if _has(each["Labels"], label)]
                return 200, [{"Id": each["Id"], "Labels": each["Labels"]} for each in found]
            case "GET", ["containers", identity, "json"] if identity in self.containers:
                return 200, {
                    **self.containers[identity],
                    "State": {"OOMKilled": self.containers[identity].get("oom", False)},
                }
            case "DELETE", ["containers", identity] if identity in self.containers:
                del self.containers[identity]
                return 204, None
            case "POST", ["containers", identity, _] if identity in self.containers:
                return 204, None
        return 404, {"message": f"no such thing: {path}"}


def _has(labels: dict[str, str], label: str) -> bool:
    name, _, value = label.partition("=")
    return name in labels and value in ("", labels[name])


def _handler(daemon: FakeDaemon) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            url = urlsplit(self.path)
            path = re.sub(r"^/v[0-9.]+", "", url.path)
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            daemon.requests.append(f"{self.command} {path}" + (f"?t={query['t']}" if "t" in query else ""))
            self.close_connection = True
            if path == "/events":
                self._stream()
                return
            status, answer = daemon.answer(self.command, path, query, json.loads(body) if body else None)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            daemon.listen(lambda line: self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line)))
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
