"""The whole local stack: an emulated AWS, what the template declares in it, the functions, the gateway, HTTP."""

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
from local.dynamodb_local import DynamoDbLocal, fetch
from local.emulator import Emulator
from local.emulator.docker import DockerEngine, check, provide_busybox
from local.environment import CREDENTIALS, Environment
from local.eventbridge import EventBridge, instance_state_change
from local.gateway import Gateway
from local.invocations import DeadLetter
from local.pages import pages as own_pages
from local.provision import provision
from local.runtime import Runtime
from local.seed import seed as seed_demo
from local.server import Page, Server, listen

_T = TypeVar("_T")

CACHE = template.ROOT / ".local"


class LocalStack:
    """Longshore on this machine. A context manager; `stop()` puts the process's environment back.

    `port` 0 takes a free one. `dynamodb` is "moto", "local" (DynamoDB Local, fetched when it is missing; needs Java)
    or the URL of a running database. `parameters` are the template's, over its defaults. `emulator_options` go to
    `Emulator`. `timeouts` (seconds) take the place of the functions' own, by logical id. Without `events` neither ECS
    nor the schedules invoke anything by themselves. With `docker`, tasks are Docker containers on this machine, and
    commands' scripts run on it. `pages` are served beside the API; None serves all that there are. Moto's state and
    the environment are the process's, so only one stack runs at a time.
    """

    def __init__(
        self,
        port: int = 3000,
        host: str = "127.0.0.1",
        dynamodb: str = "moto",
        parameters: Mapping[str, str] | None = None,
        seed: bool = True,
        *,
        docker: bool = False,
        emulator_options: Mapping[str, Any] | None = None,
        timeouts: Mapping[str, int] | None = None,
        events: bool = True,
        pages: Mapping[str, Page] | None = None,
        template_path: Path = template.ROOT / "template.yaml",
    ) -> None:
        if dynamodb not in {"moto", "local"} and not dynamodb.startswith(("http://", "https://")):
            raise ValueError(f'dynamodb must be "moto", "local" or a URL, not "{dynamodb}"')
        self._port = port
        self._host = host
        self._dynamodb = dynamodb
        self._parameters = dict(parameters or {})
        self._seed = seed
        self._docker = docker
        self._emulator_options = dict(emulator_options or {})
        self._timeouts = dict(timeouts or {})
        self._events = events
        self._pages = dict(own_pages() if pages is None else pages)
        self._template_path = template_path
        self._cleanup = ExitStack()
        self._clients: dict[str, Any] = {}
        self._clients_lock = threading.Lock()
        self._runtime: Runtime | None = None
        self._server: Server | None = None
        self._emulator: Emulator | None = None
        self._eventbridge: EventBridge | None = None
        self._dynamodb_url = ""
        self.template: template.Stack | None = None

    def start(self) -> Self:
        """Start everything; on return, requests are served.

        ListenError, TemplateError, RuntimeConfigurationError, ProvisionError, DynamoDbLocalUnavailableError,
        DockerUnavailableError.
        """
        with ExitStack() as cleanup:
            # First what fails soonest. Connections wait on it until all is ready.
            listener = listen(self._host, self._port)
            cleanup.callback(listener.close)
            environment = cleanup.enter_context(Environment())
            stack = self.template = template.load(self._template_path, self._parameters)
            if stack.api is None:
                raise template.TemplateError("the template has no API")
            functions = {
                name: replace(function, timeout=self._timeouts.get(name, function.timeout))
                for name, function in stack.functions.items()
            }
            runtime = Runtime(functions, stack.layers)

            eventbridge = self._eventbridge = EventBridge(
                stack, runtime.invoke, rules_now=lambda: self.emulator.rules()
            )
            own: dict[str, Any] = {
                "on_event": self._on_event,
                "on_invoke": eventbridge.answer_invoke,
                "docker": self._start_docker(),
            }
            self._emulator = Emulator(**{**self._emulator_options, **own})
            self._emulator.start()
            cleanup.callback(self._emulator.stop)
            self._dynamodb_url = self._start_dynamodb(cleanup, self._emulator.url)
            cleanup.callback(self._clients.clear)
            environment.point_at(self._emulator.url, self._dynamodb_url)
            provision(
                stack,
                dynamodb=self.client("dynamodb"),
                secretsmanager=self.client("secretsmanager"),
                ssm=self.client("ssm"),
                ecs=self.client("ecs"),
                events=self.client("events"),
                token_key=tokens.key(),
            )
            runtime.start()
            cleanup.callback(runtime.stop)
            self._runtime = runtime
            eventbridge.start()
            cleanup.callback(eventbridge.stop)
            if self._seed:
                seed_demo(self)
            if self._events:
                eventbridge.start_schedules()
            self._server = Server(Gateway(stack.api, runtime.invoke), listener, self._pages)
            self._server.start()
            cleanup.callback(self._server.stop)
            self._cleanup = cleanup.pop_all()
        return self

    def stop(self) -> None:
        """Stop serving, end what was started, and put the environment back. A second stop does nothing."""
        self._cleanup.close()
        self._runtime = None
        self._server = None
        self._emulator = None
        self._eventbridge = None

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
        """The base URL, without a slash at its end: the API is at `{url}/api/v1`."""
        return _started(self._server).url

    @property
    def emulator(self) -> Emulator:
        """The emulated AWS, with its controls for tests."""
        return _started(self._emulator)

    @property
    def eventbridge(self) -> EventBridge:
        """The rules of the template, and what they invoke."""
        return _started(self._eventbridge)

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """What asynchronous invocations failed to do for good, the oldest first."""
        return self.eventbridge.dead_letters

    @property
    def database(self) -> str:
        """Which database serves, for people: its kind and its URL."""
        kind = {"moto": "moto (in memory)", "local": "DynamoDB Local (in memory)"}.get(self._dynamodb, "external")
        return f"{kind} at {self._dynamodb_url}"

    @property
    def dynamodb_url(self) -> str:
        """Where this machine reaches the database."""
        return self._dynamodb_url

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The template's parameter values."""
        return _started(self.template).parameters

    def invoke(self, function: str, event: Any) -> Any:
        """Call a function by logical id, past the gateway. FunctionError, FunctionTimeoutError."""
        return _started(self._runtime).invoke(function, event)

    def fire(self, rule: str, at: datetime | None = None) -> int:
        """Fire a rule, by logical id or name, with the scheduled time `at` (UTC; by default the next whole second).

        Returns the number of targets, 0 for a disabled rule. KeyError.
        """
        return self.eventbridge.fire(rule, at)

    def terminate_server(self, ec2_instance_id: str) -> None:
        """Terminate an EC2 instance: its tasks stop, and EC2 tells of it. One that ECS does not know is told of too."""
        self.emulator.ecs.terminate_instance(ec2_instance_id)
        for state in ("shutting-down", "terminated"):
            self.eventbridge.put(instance_state_change(ec2_instance_id, state, datetime.now(UTC)))

    def client(self, service: str) -> Any:
        """A boto3 client of the emulated AWS; made once, and safe to share between threads."""
        with self._clients_lock:
            if service not in self._clients:
                url = self._dynamodb_url if service == "dynamodb" else self.emulator.url
                make: Callable[..., Any] = self._session.client
                self._clients[service] = make(service, endpoint_url=url)
            return self._clients[service]

    @cached_property
    def _session(self) -> boto3.session.Session:
        return boto3.session.Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=template.REGION,
        )

    def table_name(self, logical_id: str) -> str:
        """The name of a table, by its logical id in the template. KeyError."""
        return _started(self.template).physical_name(logical_id)

    def _on_event(self, event: dict[str, Any]) -> None:
        also: Callable[[dict[str, Any]], object] | None = self._emulator_options.get("on_event")
        if also is not None:
            also(event)
        if self._events and self._eventbridge is not None:
            self._eventbridge.put(event)

    def _start_docker(self) -> DockerEngine | None:
        if not self._docker:
            return None
        check()
        if self._seed:
            provide_busybox()
        return DockerEngine()

    def _start_dynamodb(self, cleanup: ExitStack, emulator_url: str) -> str:
        if self._dynamodb == "moto":
            return emulator_url
        if self._dynamodb == "local":
            database = cleanup.enter_context(DynamoDbLocal(fetch(CACHE)))
            return database.url
        return self._dynamodb.rstrip("/")


def _started(part: _T | None) -> _T:
    if part is None:
        raise RuntimeError("the local stack is not started")
    return part
