"""The HTTP server of the emulator, and its threads."""

import logging
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.wrappers import Response

from local.emulator import bridge, events, wire
from local.emulator.access import AccessCheck, Credentials
from local.emulator.docker import DockerEngine
from local.emulator.dynamodb import DynamoDbGuard
from local.emulator.ecs import REGION, TaskSimulation
from local.emulator.errors import AwsError
from local.emulator.faults import DROP, Call, Calls, Faults
from local.emulator.scaling import ScalableTargets
from local.emulator.ssm import CommandSimulation

TICK = 0.02
log = logging.getLogger(__name__)

# https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")


@dataclass(frozen=True)
class InvokeAnswer:
    """The response to lambda:Invoke: JSON, or empty for an asynchronous invocation.

    `failed` means that the function raised an error, which the payload describes.
    """

    payload: str = ""
    failed: bool = False


class _DroppedError(ConnectionError):
    """The connection was closed by an injected fault. werkzeug handles it like a client that disconnected."""


class _Server(ThreadedWSGIServer):
    """A threaded server that ends all threads and closes all sockets when it is closed."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, app: Callable[..., Iterable[bytes]]) -> None:
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(host, port, app, handler=_Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        # The thread of a client that connected but sent nothing would never end.
        with self._open_lock:
            waiting = list(self._open)
        for connection in waiting:
            try:
                connection.shutdown(socket.SHUT_RD)
            except OSError:
                continue
        super().server_close()


class _Handler(MotoRequestHandler):  # type: ignore[misc]  # moto is not type-checked
    """moto's request handler, which logs requests at the debug level."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002, ARG002
        log.debug(message, *args)


class Emulator:
    """An emulated AWS on one port. Only one can run per process: moto's state is global, and `start` clears it.

    host, port: where to listen; port 0 selects a free port. Containers need 0.0.0.0 to reach the emulator.
    names: the names and addresses by which containers reach the emulator. Other names than those of the loopback
        address are refused.
    credentials: the access key that requests must be signed with; by default a random one.
    run_delay, stop_delay, command_delay: seconds until a task runs, until it exits after SIGTERM, and until a command
        ends.
    service_delay: seconds from a change of a service or of its tasks until the service scheduler acts on it.
    on_event: called with each event that ECS or Systems Manager sends to EventBridge, from one thread, without locks.
        The events of each service are in order.
    on_invoke: handles lambda:Invoke. Takes the function's name or ARN, the payload and whether the invocation is
        asynchronous. Raises AwsError.
    on_published: called with each event that PutEvents has accepted, and the name of its bus, like `on_event`.
    docker: runs the tasks as containers and the commands' scripts on this machine; by default both are simulated.

    `ecs`, `ssm` and `scaling` have controls for tests, `faults` injects faults, and `calls` records requests. `start`
    replaces the first three and clears the others.
    """

    ecs: TaskSimulation
    ssm: CommandSimulation
    scaling: ScalableTargets
    _simulations: dict[str, TaskSimulation | CommandSimulation | ScalableTargets]

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        names: Iterable[str] = (),
        credentials: Credentials | None = None,
        run_delay: float = 0.4,
        stop_delay: float = 0.3,
        command_delay: float = 0.1,
        on_event: Callable[[dict[str, Any]], object] | None = None,
        on_invoke: Callable[[str, bytes, bool], InvokeAnswer] | None = None,
        on_published: Callable[[dict[str, Any], str], object] | None = None,
        docker: DockerEngine | None = None,
        service_delay: float = 0.2,
    ) -> None:
        self._host = host
        self._port = port
        self.credentials = credentials or Credentials.random()
        self._access = AccessCheck(self.credentials, names)
        self._delays = (run_delay, stop_delay, command_delay, service_delay)
        self._on_event = on_event
        self._on_invoke = on_invoke
        self._on_published = on_published
        self._published: deque[tuple[dict[str, Any], str]] = deque()
        self._docker = docker
        self.faults = Faults()
        self.calls = Calls()
        self._server: _Server | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._patches = ExitStack()
        self._reset()

    def _reset(self) -> None:
        run_delay, stop_delay, command_delay, service_delay = self._delays
        catalog = bridge.MotoCatalog()
        self.ecs = TaskSimulation(
            catalog, _utcnow, run_delay, stop_delay, engine=self._docker, service_delay=service_delay
        )
        self.ssm = CommandSimulation(self.ecs, bridge.document, _utcnow, command_delay, host=self._docker)
        self.scaling = ScalableTargets(self.ecs, _utcnow, service_delay)
        self._simulations = {"ecs": self.ecs, "ssm": self.ssm, "application-autoscaling": self.scaling}
        self.faults.clear()
        self.calls.clear()
        self._published.clear()
        self._dynamodb = DynamoDbGuard(_utcnow)
        self._moto = DomainDispatcherApplication(create_backend_app)

    # ── start and stop ──

    def start(self) -> Self:
        """Clear all state and start to listen.

        Raises:
            RuntimeError: The emulator is already started.
            OSError: The port is in use.
            DockerUnavailableError: Docker is not available.
        """
        if self._server is not None:
            raise RuntimeError("the emulator is already started")
        bridge.reset()
        self._reset()
        self._stopping.clear()
        with ExitStack() as patches:
            if self._docker is not None:
                self._docker.open(self.ecs)
                patches.callback(self._docker.close)
            patches.enter_context(bridge.patched())
            self._server = _Server(self._host, self._port, self._respond)
            self._patches = patches.pop_all()
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,), name="emulator-http"),
            threading.Thread(target=self._tick, name="emulator-clock"),
            threading.Thread(target=self._deliver, name="emulator-events"),
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and end all threads. A second call does nothing."""
        if self._server is None:
            return
        # Stop the clock and the deliveries first: a receiver of events may call the emulator.
        self._stopping.set()
        for thread in self._threads[1:]:
            if thread is not threading.current_thread():
                thread.join()
        self._server.shutdown()
        self._threads[0].join()
        self._server.server_close()
        self._server = None
        self._threads = []
        self._patches.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port. Raises RuntimeError before `start`."""
        if self._server is None:
            raise RuntimeError("the emulator is not started")
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The URL for clients on this machine (AWS_ENDPOINT_URL)."""
        host = "127.0.0.1" if self._host in ("0.0.0.0", "") else self._host
        return f"http://{host}:{self.port}"

    def rules(self) -> list[dict[str, Any]]:
        """Return the current EventBridge rules, each as the properties of an AWS::Events::Rule."""
        return bridge.rules(REGION)

    def schedules(self) -> list[dict[str, Any]]:
        """Return the current schedules of EventBridge Scheduler, each as GetSchedule returns it."""
        return bridge.schedules(REGION)

    def age_schedules(self, seconds: float) -> None:
        """Move the last modification of all schedules of EventBridge Scheduler into the past."""
        bridge.age_schedules(seconds, REGION)

    def delete_schedule(self, group: str, name: str) -> None:
        """Delete a schedule of EventBridge Scheduler, if it exists."""
        bridge.delete_schedule(group, name, REGION)

    def webhook(self, arn: str) -> bridge.Webhook | None:
        """Return the HTTP endpoint of an EventBridge API destination, or None if there is none."""
        return bridge.webhook(arn, REGION)

    def stream_records(self, table: str, start: int) -> list[dict[str, Any]]:
        """Return the records of a table's stream from a position on, as Lambda passes them to a function."""
        with self._dynamodb.lock:
            return bridge.stream_records(table, REGION, start)

    def _tick(self) -> None:
        while not self._stopping.wait(TICK):
            now = _utcnow()
            self.ssm.advance(now)
            self.ecs.advance(now)
            self.scaling.advance(now)

    def _deliver(self) -> None:
        while not self._stopping.wait(TICK):
            if self._on_event is not None:
                for event in [*self.ecs.drain_events(), *self.ssm.drain_events()]:
                    self._call(self._on_event, event)
            while self._published:
                published = self._published.popleft()
                if self._on_published is not None:
                    self._call(self._on_published, *published)

    def _call(self, receiver: Callable[..., object], *arguments: Any) -> None:
        if self._stopping.is_set():
            return
        try:
            receiver(*arguments)
        except Exception:
            log.exception("Event receiver failed")

    # ── requests ──

    def _respond(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = _invocation(wire.parse(environ), environ)
        try:
            self._access.check(request, environ, self.port)
        except AwsError as refusal:
            return wire.failure(request, refusal)(environ, start_response)
        if str(environ.get("PATH_INFO", "")).startswith("/moto-api"):
            # moto's control API would change state that the simulation depends on.
            return Response("not available", 404)(environ, start_response)
        self.calls.record(request.call)
        fault = self.faults.take(request.call)
        if fault is None:
            return self._answer(request, environ)(environ, start_response)
        if fault.delay and not fault.after_effect:
            time.sleep(fault.delay)
        if fault.error is None or fault.after_effect:
            response = self._answer(request, environ)
            if fault.delay and fault.after_effect:
                time.sleep(fault.delay)
            if fault.error is None:
                return response(environ, start_response)
        if fault.error == DROP:
            _close(environ)
            raise _DroppedError("an injected fault")
        error = AwsError(fault.error, fault.message, fault.status, **fault.extra)
        return wire.failure(request, error)(environ, start_response)

    def _answer(self, request: wire.Request, environ: dict[str, Any]) -> Response:
        call = request.call
        try:
            simulated = self._simulations.get(call.service)
            if simulated is not None and call.operation in simulated.OPERATIONS:
                return wire.success(request, simulated.handle(call.operation, call.parameters, request.region))
            if call.service == "ecs":
                bridge.show_tasks(self.ecs, request.region)
            if call.service == "lambda" and call.operation == "Invoke":
                return self._invoke(call, environ)
            if call.service == "dynamodb":
                return self._dynamodb.handle(request, lambda: self._forward(environ))
            if call.service == "events" and call.operation == "PutEvents":
                return self._put_events(call, environ)
            return self._forward(environ)
        except AwsError as error:
            return wire.failure(request, error)
        except Exception:
            log.exception("Emulated call failed: %s %s", call.service, call.operation)
            return wire.failure(request, AwsError("InternalFailure", "The emulator failed.", 500))

    def _invoke(self, call: Call, environ: dict[str, Any]) -> Response:
        if self._on_invoke is None:
            raise AwsError("ResourceNotFoundException", "There are no functions.", 404)
        name, kind = call.parameters["FunctionName"], call.parameters["InvocationType"]
        if kind not in ("Event", "RequestResponse"):
            raise AwsError("InvalidParameterValueException", f"The invocation type {kind} is not emulated.")
        answer = self._on_invoke(name, environ["wsgi.input"].read(), kind == "Event")
        headers = {"X-Amz-Executed-Version": "$LATEST"}
        if answer.failed:
            headers["X-Amz-Function-Error"] = "Unhandled"
        return Response(answer.payload, 202 if kind == "Event" else 200, headers, content_type="application/json")

    def _put_events(self, call: Call, environ: dict[str, Any]) -> Response:
        response = self._forward(environ)
        self._published += events.accepted(call.parameters, response.get_data())
        return response

    def _forward(self, environ: dict[str, Any]) -> Response:
        response = Response.from_app(self._moto, environ, buffered=True)
        # moto allows every web page to read its responses.
        for name in [name for name, _ in response.headers if name.lower().startswith("access-control-")]:
            del response.headers[name]
        return response


def _invocation(request: wire.Request, environ: dict[str, Any]) -> wire.Request:
    """Return the request with the operation and parameters from its path if it is lambda:Invoke."""
    match = _INVOKE.fullmatch(str(environ.get("PATH_INFO", "")))
    if request.call.service != "lambda" or match is None:
        return request
    parameters = {
        "FunctionName": match[1],
        "InvocationType": environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse"),
        "Payload": request.call.parameters,
    }
    return replace(request, call=Call("lambda", "Invoke", parameters))


def _close(environ: dict[str, Any]) -> None:
    connection = environ.get("werkzeug.socket")
    if connection is not None:
        connection.shutdown(socket.SHUT_RDWR)


def _utcnow() -> datetime:
    return datetime.now(UTC)
