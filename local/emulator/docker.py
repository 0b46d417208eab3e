"""The engine that runs emulated tasks as Docker containers, and runs the scripts of commands on this machine.

    RunTask ────► create and start the containers ──► Docker's events report their exits ──► TaskSimulation
    StopTask ───► stop the containers, with their stopTimeout
    SendCommand ► /bin/sh, with the script of the document

The engine finds Docker like Docker's command line, which the script uses: by DOCKER_HOST or the current context.
It supports these parameters of container definitions: image, entryPoint, command, environment, user, workingDirectory,
cpu, memory, dockerLabels and stopTimeout. Every container is attached to Docker's default network, whatever the network
mode of its task definition.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.types import CancellableStream

from local.emulator import docker_images
from local.emulator.docker_images import BUSYBOX, FAILURES, DockerUnavailableError, exists, pull, reason
from local.emulator.ecs import SIGKILLED, NotStartedError, SimulatedContainer, SimulatedTask, TaskSimulation
from local.emulator.ssm import Outcome, Script
from local.emulator.ssm.agent import run_script

__all__ = [
    "BUSYBOX",
    "CONTAINER",
    "STACK",
    "TASK",
    "DockerEngine",
    "DockerUnavailableError",
    "check",
    "provide_busybox",
]

# Labels of each container: the process that created it, and its identity as the ECS agent labels it.
STACK = "longshore.stack"
TASK = "com.amazonaws.ecs.task-arn"
CONTAINER = "com.amazonaws.ecs.container-name"

_EVENTS = ("die", "pause", "unpause")
_RECONNECT = 0.5  # seconds
_NAME = 12  # digits of the task id in the name of a container
_TIMEOUT = 3600  # seconds; a pull can be silent for long
_JOIN = 10  # seconds

log = logging.getLogger(__name__)


class DockerEngine:
    """Runs the containers of an emulator's tasks, and the scripts of its commands, on this machine.

    `open` first removes the containers of stacks that have crashed. `close` removes all containers of this stack.
    """

    def __init__(self) -> None:
        self.stack = f"{platform.node()}/{os.getpid()}"
        self._tasks: TaskSimulation | None = None
        self._client: docker.DockerClient | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._stream: CancellableStream[dict[str, Any]] | None = None
        # Docker ids of containers, by task ARN and the name in the container definition.
        self._ids: dict[tuple[str, str], str] = {}
        # The folder in which the scripts store the command numbers, which start at 1 in each stack.
        self._state: Path | None = None

    # ── open and close ──

    def open(self, tasks: TaskSimulation) -> None:
        """Start to report the exits and pauses of containers to the simulation.

        Raises:
            DockerUnavailableError: Docker does not respond, or a required tool is missing.
        """
        check()
        self._tasks = tasks
        self._client = _connect()
        self._state = Path(tempfile.mkdtemp(prefix="longshore-host-"))
        self._closing.clear()
        self._remove(
            identity
            for identity, stack in self._containers(STACK).items()
            if stack == self.stack or _is_abandoned(stack)
        )
        since = time.time_ns()
        self._in_thread(lambda: self._listen(since))

    def close(self) -> None:
        """Remove the containers of this stack and end all threads. A second call does nothing."""
        self._closing.set()
        if self._client is None:
            return
        with self._lock:
            threads, stream = list(self._threads), self._stream
        if stream is not None:
            _cancel(stream)
        # This also ends the threads that wait for a container to stop.
        self._remove(self._containers(f"{STACK}={self.stack}"))
        for thread in threads:
            thread.join(_JOIN)
        # Remove the containers that were being created in the meantime.
        self._remove(self._containers(f"{STACK}={self.stack}"))
        self._ids.clear()
        if self._state is not None:
            shutil.rmtree(self._state, ignore_errors=True)
            self._state = None
        self._client.close()
        self._client = None

    @property
    def _docker(self) -> docker.DockerClient:
        if self._client is None:
            raise RuntimeError("the Docker engine is not open")
        return self._client

    def _containers(self, label: str) -> dict[str, str]:
        """Return the stacks of the containers with a label, by Docker id."""
        try:
            found = self._docker.containers.list(all=True, sparse=True, filters={"label": label})
        except FAILURES:
            return {}
        return {str(container.id): container.attrs["Labels"][STACK] for container in found}

    def _remove(self, identities: Iterable[str]) -> None:
        """Kill and remove containers, with their volumes."""
        for identity in identities:
            # Another thread may have removed it.
            with suppress(*FAILURES):
                self._docker.api.remove_container(identity, v=True, force=True)

    def _in_thread(self, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("A call of Docker failed")
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name="emulator-docker", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    # ── tasks ──

    def start(self, task: SimulatedTask) -> None:
        """Create and start the containers of a task in the background, and report the result to the simulation."""
        self._in_thread(lambda: self._start(task))

    def _start(self, task: SimulatedTask) -> None:
        assert self._tasks is not None
        try:
            ids = self.launch(task)
        except NotStartedError as error:
            self._tasks.not_started(task.arn, error.container, str(error))
        else:
            if not self._tasks.started(task.arn, ids):
                self.remove(task)

    def launch(self, task: SimulatedTask, paused: bool = False) -> dict[str, str]:
        """Start the containers of a task.

        Returns:
            The Docker ids by container name.

        Raises:
            NotStartedError: A container could not be created or started. All of them are removed.
        """
        ids = {}
        try:
            for definition in task.definition.containers:
                name = str(definition["name"])
                ids[name] = self._ids[task.arn, name] = self._create(task, definition)
            for name, identity in ids.items():
                with _failing_as(name, "CannotStartContainerError"):
                    self._docker.api.start(identity)
        except NotStartedError:
            self._remove(self._forget(task))
            raise
        if paused:
            for identity in ids.values():
                with suppress(*FAILURES):
                    self._docker.api.pause(identity)
        return ids

    def _create(self, task: SimulatedTask, definition: Mapping[str, Any]) -> str:
        name, image = str(definition["name"]), str(definition["image"])
        if not exists(self._docker, image):
            with _failing_as(name, "CannotPullContainerError"):
                pull(self._docker, image, self._closing.is_set)
        # The ECS agent uses the same format, which makes the output of `docker ps` readable.
        revision = task.definition.arn.rpartition("/")[2].replace(":", "-")
        labels = {STACK: self.stack, TASK: task.arn, CONTAINER: name}
        with _failing_as(name, "CannotCreateContainerError"):
            container = self._docker.containers.create(
                image,
                name=f"ecs-{revision}-{name}-{task.id[:_NAME]}",
                labels={**(definition.get("dockerLabels") or {}), **labels},
                **options(definition),
            )
        return str(container.id)

    def stop(self, task: SimulatedTask, container: SimulatedContainer) -> None:
        """Send SIGTERM to a container, and SIGKILL after its stopTimeout. Docker thaws a paused container first."""
        seconds = round(container.stop_timeout.total_seconds())
        identity = self._ids[task.arn, container.name]
        self._in_thread(lambda: self._stop(identity, seconds))

    def _stop(self, identity: str, seconds: int) -> None:
        # The container may have been removed.
        with suppress(*FAILURES):
            self._docker.api.stop(identity, timeout=seconds)

    def remove(self, task: SimulatedTask) -> None:
        """Kill and remove the containers of a task in the background."""
        if ids := self._forget(task):
            self._in_thread(lambda: self._remove(ids))

    def _forget(self, task: SimulatedTask) -> list[str]:
        ids = [self._ids.pop((task.arn, container.name), None) for container in task.containers]
        return [identity for identity in ids if identity is not None]

    # ── events ──

    def _listen(self, since: int) -> None:
        """Report exits and pauses to the simulation until `close`. `since` is in nanoseconds."""
        filters = {"label": f"{STACK}={self.stack}", "event": list(_EVENTS)}
        while not self._closing.is_set():
            with suppress(*FAILURES):
                stream = self._docker.events(since=since // 10**9, filters=filters, decode=True)
                with self._lock:
                    self._stream = stream
                if self._closing.is_set():
                    _cancel(stream)
                for event in stream:
                    # The parameter `since` has a precision of one second.
                    if event["timeNano"] >= since:
                        since = event["timeNano"]
                        self._report(event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"])
            # The stream ends when Docker restarts.
            self._closing.wait(_RECONNECT)

    def _report(self, action: str, identity: str, attributes: Mapping[str, str]) -> None:
        assert self._tasks is not None
        task, container = attributes[TASK], attributes[CONTAINER]
        if action == "die":
            code = int(attributes["exitCode"])
            self._tasks.exited(task, container, code, self._why_killed(identity) if code == SIGKILLED else None)
        else:
            self._tasks.frozen(task, container, action == "pause")

    def _why_killed(self, identity: str) -> str | None:
        with suppress(*FAILURES):
            if self._docker.api.inspect_container(identity)["State"]["OOMKilled"]:
                return "OutOfMemoryError: Container killed due to memory usage"
        return None

    # ── commands ──

    def run(self, script: Script, done: Callable[[Outcome], None]) -> None:
        """Run the script of a command on this machine, in the background."""
        assert self._state is not None
        moved = script.with_state_in(self._state)
        self._in_thread(lambda: done(run_script(moved)))


def check() -> None:
    """Check that Docker answers its command line, and that the other tools of the commands' script are installed.

    Raises:
        DockerUnavailableError: Docker does not respond, or a tool is missing.
    """
    for tool in ("flock", "setsid"):
        if shutil.which(tool) is None:
            raise DockerUnavailableError(f"{tool} of util-linux is not installed")
    if shutil.which("docker") is None:
        raise DockerUnavailableError("Docker's command line (docker) is not installed")
    version = subprocess.run(
        ["docker", "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if version.returncode:
        error = version.stderr.strip().rpartition("\n")[2] or f"exit status {version.returncode}"
        raise DockerUnavailableError(f"Docker does not respond: {error}")


def provide_busybox(image: str = BUSYBOX) -> None:
    """Create or pull the image of the demo tasks.

    Raises:
        DockerUnavailableError: Docker does not respond, or the image can be neither created nor pulled.
    """
    client = _connect()
    try:
        docker_images.provide_busybox(client, image)
    finally:
        client.close()


def options(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a container definition, except names and labels, as the Docker SDK takes them."""
    found: dict[str, Any] = {
        "command": definition.get("command"),
        "entrypoint": definition.get("entryPoint"),
        "environment": {pair["name"]: pair["value"] for pair in definition.get("environment") or []},
        "user": definition.get("user"),
        "working_dir": definition.get("workingDirectory"),
        "cpu_shares": definition.get("cpu"),
        "mem_limit": f"{definition['memory']}m" if definition.get("memory") else None,
    }
    return {name: value for name, value in found.items() if value}


def _connect() -> docker.DockerClient:
    """Connect to Docker. Raises DockerUnavailableError."""
    try:
        return docker.from_env(timeout=_TIMEOUT)
    except FAILURES as error:
        raise DockerUnavailableError(f"Docker does not respond: {reason(error)}") from error


@contextmanager
def _failing_as(container: str, kind: str) -> Iterator[None]:
    """Turn errors of Docker into NotStartedError with the name that ECS gives them."""
    try:
        yield
    except FAILURES as error:
        raise NotStartedError(container, f"{kind}: {reason(error)}") from error


def _cancel(stream: CancellableStream[dict[str, Any]]) -> None:
    # The stream may have ended on its own.
    with suppress(OSError, AttributeError):
        stream.close()


def _is_abandoned(stack: str) -> bool:
    """Return whether the process that ran a stack on this machine has ended."""
    node, _, process = stack.rpartition("/")
    if node != platform.node() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
