"""The local stack: the emulated AWS, the template's resources, the functions, the gateway and the HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import boto3

from local import template, tokens
from local.concurrency import ACCOUNT_QUOTA
from local.demo_services import seed_services
from local.dynamodb_local import DynamoDbLocal, fetch
from local.emulator import Credentials, Emulator
from local.emulator.docker import DockerEngine, check, provide_busybox
from local.environment import Environment
from local.event_source import EventSource, mappings
from local.eventbridge import EventBridge, instance_state_change
from local.fleet import seed_fleet
from local.gateway import Gateway
from local.invocations import DeadLetter
from local.pages import with_pages
from local.provision import provision
from local.runtime import Runtime
from local.scheduler import Scheduler
from local.seed import seed as seed_demo
from local.server import Server, listen, url_of
from local.table_streams import open_stream
from local.webhooks import sender, subscribe

_T = TypeVar("_T")

# DynamoDB Local can separate data by access key id, so a database that outlives the stack always gets the same id.
_EXTERNAL_DATABASE_KEY_ID = "longshorelocal"

CACHE = template.ROOT / ".local"
_TEMPLATE = template.ROOT / "template.yaml"


class LocalStack:
    """Longshore on this machine. A context manager; `stop()` restores the environment of the process.

    Only one stack can run per process, because moto's state and the environment are global.

    Args:
        port: The port; 0 selects a free port.
        host: The address to listen on.
        dynamodb: "moto", "local" (DynamoDB Local, downloaded if necessary; needs Java) or the URL of a database.
        parameters: Parameter values of the template, or a function that returns them for the base URL of the stack.
        seed: Whether to write the demo project.
        fleet: Whether to write the fleet too, 60 containers in three projects. It needs `seed`.
        services: Whether to create the ECS services of the demo too. It needs `seed`.
        docker: Whether to run tasks as Docker containers, and the commands' scripts on this machine.
        emulator_options: Arguments of `Emulator`.
        timeouts: Timeouts of functions in seconds, by logical id, instead of those in the template.
        events: Whether events of ECS and schedules invoke functions.
        template_path: The template.
        credentials: The access key of the emulated AWS; by default a random one, or for the URL of a database always
            the same one. DynamoDB Local keeps the tables of each access key id apart.
        streams: Whether new rows of tables invoke the functions that read their streams. It needs `events`.
        webhook: A URL that receives all status changes; None for none.
        history_rows: How many rows the longest history of the demo project has.
        concurrency: The concurrent executions of the account, which the functions share.
    """

    def __init__(
        self,
        port: int = 3000,
        host: str = "127.0.0.1",
        dynamodb: str = "moto",
        parameters: Mapping[str, str] | Callable[[str], Mapping[str, str]] | None = None,
        seed: bool = True,
        *,
        fleet: bool = False,
        services: bool = False,
        docker: bool = False,
        emulator_options: Mapping[str, Any] | None = None,
        timeouts: Mapping[str, int] | None = None,
        events: bool = True,
        template_path: Path = _TEMPLATE,
        credentials: Credentials | None = None,
        streams: bool = True,
        webhook: str | None = None,
        history_rows: int = 1000,
        concurrency: int = ACCOUNT_QUOTA,
    ) -> None:
        if dynamodb not in {"moto", "local"} and not dynamodb.startswith(("http://", "https://")):
            raise ValueError(f'dynamodb must be "moto", "local" or a URL, not "{dynamodb}"')
        self._port = port
        self._host = host
        self._dynamodb = dynamodb
        self._parameters = parameters or {}
        self._seed = seed
        self._fleet = fleet
        self._services = services
        self._docker = docker
        self._emulator_options = dict(emulator_options or {})
        self._timeouts = dict(timeouts or {})
        self._events = events
        self._streams = streams
        self._webhook = webhook
        self._template_path = template_path
        self._cleanup = ExitStack()
        self._clients: dict[str, Any] = {}
        self._clients_lock = threading.Lock()
        self._runtime: Runtime | None = None
        self._server: Server | None = None
        self._emulator: Emulator | None = None
        self._eventbridge: EventBridge | None = None
        self._scheduler: Scheduler | None = None
        self._dynamodb_url = ""
        self.credentials = credentials or Credentials.random(
            None if dynamodb in {"moto", "local"} else _EXTERNAL_DATABASE_KEY_ID
        )
        self._history_rows = history_rows
        self._concurrency = concurrency
        self.template: template.Stack | None = None

    def start(self) -> Self:
        """Start the stack. It serves requests when the method returns.

        Raises:
            ListenError: The port or host cannot be used.
            TemplateError: The template cannot be used locally.
            RuntimeConfigurationError: The functions cannot be loaded.
            ProvisionError: An existing table differs from the template.
            DynamoDbLocalUnavailableError: DynamoDB Local cannot be downloaded or run.
            DockerUnavailableError: Docker is not available.
        """
        with ExitStack() as cleanup:
            # Listen first, to fail early. Connections wait until the stack is ready.
            listener = listen(self._host, self._port)
            cleanup.callback(listener.close)
            environment = cleanup.enter_context(Environment(self.credentials))
            given = self._parameters(url_of(listener)) if callable(self._parameters) else self._parameters
            stack = self.template = template.load(self._template_path, given)
            if stack.api is None:
                raise template.TemplateError("the template has no API")
            functions = {
                name: replace(function, timeout=self._timeouts.get(name, function.timeout))
                for name, function in with_pages(stack.functions).items()
            }
            runtime = Runtime(functions, stack.layers, self._concurrency)

            eventbridge = self._eventbridge = EventBridge(
                stack,
                runtime.invoke,
                rules_now=lambda: self.emulator.rules(),
                send=sender(lambda arn: self.emulator.webhook(arn)),
            )
            scheduler = self._scheduler = Scheduler(
                stack,
                lambda: self.emulator.schedules(),
                lambda group, name: self.emulator.delete_schedule(group, name),
                eventbridge.invocations.send,
            )
            own: dict[str, Any] = {
                "credentials": self.credentials,
                "on_event": self._on_event,
                "on_published": eventbridge.put,
                "on_invoke": eventbridge.answer_invoke,
                "docker": _start_docker(images=self._seed) if self._docker else None,
            }
            self._emulator = Emulator(**{**self._emulator_options, **own})
            self._emulator.start()
            cleanup.callback(self._emulator.stop)
            self._dynamodb_url = _start_dynamodb(self._dynamodb, cleanup, self._emulator.url)
            cleanup.callback(self._clients.clear)
            environment.point_at(self._emulator.url, self._dynamodb_url)
            provision(
                stack,
                dynamodb=self.client("dynamodb"),
                secretsmanager=self.client("secretsmanager"),
                ssm=self.client("ssm"),
                ecs=self.client("ecs"),
                events=self.client("events"),
                scheduler=self.client("scheduler"),
                sqs=self.client("sqs"),
                token_key=tokens.key(),
            )
            runtime.start()
            cleanup.callback(runtime.stop)
            self._runtime = runtime
            eventbridge.start()
            cleanup.callback(eventbridge.stop)
            if self._seed:
                seed_demo(self, self._history_rows)
            if self._fleet:
                seed_fleet(self)
            if self._services:
                seed_services(self)
            if self._webhook:
                subscribe(self.client("events"), str(stack.parameters.get("EventBusName", "")), self._webhook)
            if self._events:
                eventbridge.start_schedules()
                scheduler.start()
                cleanup.callback(scheduler.stop)
            if self._events and self._streams:
                for mapped in mappings(stack):
                    cleanup.enter_context(EventSource(mapped, open_stream(self, mapped.table), runtime.invoke))
            self._server = Server(Gateway(stack.api, runtime.invoke), listener)
            self._server.start()
            cleanup.callback(self._server.stop)
            self._cleanup = cleanup.pop_all()
        return self

    def stop(self) -> None:
        """Stop the stack, and restore the environment. A second call does nothing."""
        self._cleanup.close()
        self._runtime = None
        self._server = None
        self._emulator = None
        self._eventbridge = None
        self._scheduler = None

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
    def url(self) -> str:
        """The base URL, without a trailing slash. The API is at `{url}/api/v1`."""
        return _started(self._server).url

    @property
    def emulator(self) -> Emulator:
        """The emulated AWS, with its controls for tests."""
        return _started(self._emulator)

    @property
    def eventbridge(self) -> EventBridge:
        """The EventBridge rules."""
        return _started(self._eventbridge)

    @property
    def scheduler(self) -> Scheduler:
        """The schedules of EventBridge Scheduler."""
        return _started(self._scheduler)

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The events of asynchronous invocations whose last retry failed, oldest first."""
        return self.eventbridge.dead_letters

    @property
    def database(self) -> str:
        """A description of the database: its kind and its URL."""
        kind = {"moto": "moto (in memory)", "local": "DynamoDB Local (in memory)"}.get(self._dynamodb, "external")
        return f"{kind} at {self._dynamodb_url}"

    @property
    def dynamodb_url(self) -> str:
        """The endpoint of the database for clients on this machine."""
        return self._dynamodb_url

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The template's parameter values."""
        return _started(self.template).parameters

    def invoke(self, function: str, event: Any) -> Any:
        """Invoke a function by logical id, without the gateway. Raises FunctionError and FunctionTimeoutError."""
        return _started(self._runtime).invoke(function, event)

    def fire(self, rule: str, at: datetime | None = None) -> int:
        """Fire a rule, by logical id or name, with the scheduled time `at` (UTC; by default the next whole second).

        Returns:
            The number of targets; 0 for a disabled rule.

        Raises:
            KeyError: There is no such rule.
        """
        return self.eventbridge.fire(rule, at)

    def terminate_server(self, ec2_instance_id: str) -> None:
        """Terminate an EC2 instance: its tasks stop, and EC2 sends events. The instance may be unknown to ECS."""
        self.emulator.ecs.terminate_instance(ec2_instance_id)
        for state in ("shutting-down", "terminated"):
            self.eventbridge.put(instance_state_change(ec2_instance_id, state, datetime.now(UTC)))

    def client(self, service: str) -> Any:
        """Return a boto3 client of the emulated AWS. Clients are cached and thread-safe."""
        with self._clients_lock:
            if service not in self._clients:
                url = self._dynamodb_url if service.startswith("dynamodb") else self.emulator.url
                make: Callable[..., Any] = self._session.client
                self._clients[service] = make(service, endpoint_url=url)
            return self._clients[service]

    @cached_property
    def _session(self) -> boto3.session.Session:
        return boto3.session.Session(
            aws_access_key_id=self.credentials.access_key_id,
            aws_secret_access_key=self.credentials.secret_access_key,
            region_name=template.REGION,
        )

    def table_name(self, logical_id: str) -> str:
        """Return the name of a table by its logical id in the template. Raises KeyError."""
        return _started(self.template).physical_name(logical_id)

    def _on_event(self, event: dict[str, Any]) -> None:
        also: Callable[[dict[str, Any]], object] | None = self._emulator_options.get("on_event")
        if also is not None:
            also(event)
        if self._events and self._eventbridge is not None:
            self._eventbridge.put(event)


def _start_docker(*, images: bool) -> DockerEngine:
    check()
    if images:
        provide_busybox()
    return DockerEngine()


def _start_dynamodb(database: str, cleanup: ExitStack, emulator_url: str) -> str:
    if database == "moto":
        return emulator_url
    if database == "local":
        return cleanup.enter_context(DynamoDbLocal(fetch(CACHE))).url
    return database.rstrip("/")


def _started(part: _T | None) -> _T:
    if part is None:
        raise RuntimeError("the local stack is not started")
    return part
