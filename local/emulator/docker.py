"""Tasks as real Docker containers, and a host that runs the scripts of commands.

    RunTask ────► docker create, docker start ──► `docker events` tells of their ends ──► TaskSimulation
    StopTask ───► docker stop, with the container's stopTimeout
    SendCommand ► /bin/sh, with the script of the document

Docker is used through its command line: the document's script needs that anyway, so there is one Docker for both, found
and configured (DOCKER_HOST, contexts) in one way. Of a container definition count image, entryPoint, command,
environment, user, workingDirectory, cpu, memory, dockerLabels and stopTimeout. Each container gets Docker's default
network, whatever the network mode.
"""

import io
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from local.emulator.ecs import SIGKILLED, NotStartedError, SimulatedContainer, SimulatedTask, TaskSimulation
from local.emulator.ssm import Outcome, Script

# On each container: which process made it, and, as the ECS agent has them, what it is.
STACK = "longshore.stack"
TASK = "com.amazonaws.ecs.task-arn"
CONTAINER = "com.amazonaws.ecs.container-name"

BUSYBOX = "busybox:local"

_EVENTS = ("die", "pause", "unpause")
_JSON = "{{json .}}"
_RECONNECT = 0.5  # seconds
_NAME = 12  # digits of the task's id in the name of a container

log = logging.getLogger(__name__)

Answer = subprocess.CompletedProcess[str]


class DockerUnavailableError(Exception):
    """Docker, or the image that is asked for, can't be used; the message says why."""


class DockerEngine:
    """Runs the containers of an emulator's tasks, and the scripts of its commands, on this machine.

    `open` first removes what stacks that have crashed left behind; `close` removes every container of this one.
    """

    def __init__(self) -> None:
        self.stack = f"{platform.node()}/{os.getpid()}"
        self._tasks: TaskSimulation | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        # Those that may last, and that `close` has to end.
        self._processes: set[subprocess.Popen[str]] = set()
        # The Docker ids of containers, by the task's ARN and the name in its definition.
        self._ids: dict[tuple[str, str], str] = {}
        # Where the scripts keep the numbers of commands, which each stack counts from 1.
        self._state: Path | None = None

    # ── life ──

    def open(self, tasks: TaskSimulation) -> None:
        """Start to tell the simulation what becomes of containers. Raises DockerUnavailableError."""
        check()
        self._tasks = tasks
        self._state = Path(tempfile.mkdtemp(prefix="longshore-host-"))
        self._closing.clear()
        self._remove_leftovers()
        since = time.time()
        self._in_thread(lambda: self._listen(since))

    def close(self) -> None:
        """Remove the stack's containers and end all threads. A second close does nothing."""
        self._closing.set()
        with self._lock:
            threads, processes = list(self._threads), list(self._processes)
        for process in processes:
            process.terminate()
        # Whatever waits for a container to stop is done then.
        _remove(self._containers())
        for thread in threads:
            thread.join()
        # Those that were being created meanwhile.
        _remove(self._containers())
        self._ids.clear()
        if self._state is not None:
            shutil.rmtree(self._state, ignore_errors=True)
            self._state = None

    def _containers(self) -> list[str]:
        return _docker("ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={STACK}={self.stack}").stdout.split()

    def _remove_leftovers(self) -> None:
        columns = '{{.ID}} {{.Label "' + STACK + '"}}'
        answer = _docker("ps", "--all", "--no-trunc", "--filter", f"label={STACK}", "--format", columns)
        found = [line.split(" ", 1) for line in answer.stdout.splitlines()]
        _remove(identity for identity, stack in found if stack == self.stack or _is_abandoned(stack))

    def _in_thread(self, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("Docker could not be asked")
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, name="emulator-docker", daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()

    # ── the engine of the tasks ──

    def start(self, task: SimulatedTask) -> None:
        """Create and start the task's containers, and tell the simulation how it went."""
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
        """Start the task's containers and wait for that; their ids by name. NotStartedError, and then none is left."""
        ids = {}
        try:
            for definition in task.definition.containers:
                name = str(definition["name"])
                ids[name] = self._ids[task.arn, name] = self._create(task, definition)
            for name, identity in ids.items():
                _succeeded(_docker("start", identity), name, "CannotStartContainerError")
        except NotStartedError:
            _remove(self._forget(task))
            raise
        if paused:
            _docker("pause", *ids.values())
        return ids

    def _create(self, task: SimulatedTask, definition: Mapping[str, Any]) -> str:
        name, image = str(definition["name"]), str(definition["image"])
        if _docker("image", "inspect", image).returncode:
            _succeeded(self._pull(image), name, "CannotPullContainerError")
        # What the ECS agent would call it, so that people can read `docker ps`.
        revision = task.definition.arn.rpartition("/")[2].replace(":", "-")
        options = ["--name", f"ecs-{revision}-{name}-{task.id[:_NAME]}"]
        labels = {STACK: self.stack, TASK: task.arn, CONTAINER: name}
        options += _each("--label", {**(definition.get("dockerLabels") or {}), **labels})
        answer = _docker("create", *options, *_options(definition), image, *_command(definition))
        _succeeded(answer, name, "CannotCreateContainerError")
        return answer.stdout.strip()

    def _pull(self, image: str) -> Answer:
        process = self._open("pull", "--quiet", image)
        try:
            output, error = process.communicate()
        finally:
            self._discard(process)
        return Answer(process.args, process.returncode, output, error)

    def stop(self, task: SimulatedTask, container: SimulatedContainer) -> None:
        """Send a container SIGTERM, and SIGKILL after its stopTimeout. A paused one is thawed for it, as by ECS."""
        seconds = round(container.stop_timeout.total_seconds())
        identity = self._ids[task.arn, container.name]
        self._in_thread(lambda: _docker("stop", "-t", str(seconds), identity))

    def remove(self, task: SimulatedTask) -> None:
        """Kill what still runs of the task, and remove its containers."""
        if ids := self._forget(task):
            self._in_thread(lambda: _remove(ids))

    def _forget(self, task: SimulatedTask) -> list[str]:
        ids = [self._ids.pop((task.arn, container.name), None) for container in task.containers]
        return [identity for identity in ids if identity is not None]

    # ── what becomes of containers ──

    def _listen(self, since: float) -> None:
        """Tell the simulation of each end and each pause, until `close`."""
        filters = [f"label={STACK}={self.stack}", *(f"event={event}" for event in _EVENTS)]
        while not self._closing.is_set():
            process = self._open("events", "--since", f"{since:.9f}", *_each("--filter", filters), "--format", _JSON)
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    event = json.loads(line)
                    since = int(event["timeNano"]) / 1e9
                    self._tell(event["Action"], event["Actor"]["ID"], event["Actor"]["Attributes"])
                process.wait()
            finally:
                self._discard(process)
            # The stream has ended, as it does when Docker is started again.
            self._closing.wait(_RECONNECT)

    def _tell(self, action: str, identity: str, attributes: Mapping[str, str]) -> None:
        assert self._tasks is not None
        task, container = attributes[TASK], attributes[CONTAINER]
        if action == "die":
            code = int(attributes["exitCode"])
            self._tasks.exited(task, container, code, _why_killed(identity) if code == SIGKILLED else None)
        else:
            self._tasks.frozen(task, container, action == "pause")

    def _open(self, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with self._lock:
            self._processes.add(process)
        if self._closing.is_set():
            process.terminate()
        return process

    def _discard(self, process: "subprocess.Popen[str]") -> None:
        with self._lock:
            self._processes.discard(process)
        # Closes its pipes too.
        with process:
            process.terminate()

    # ── the host of the commands ──

    def run(self, script: Script, done: Callable[[Outcome], None]) -> None:
        """Run a command's script on this machine."""
        assert self._state is not None
        moved = script.with_state_in(self._state)
        self._in_thread(lambda: done(run_script(moved)))


def check() -> None:
    """Raise DockerUnavailableError unless Docker answers, and the commands' script finds what it needs."""
    for tool in ("flock", "setsid"):
        if shutil.which(tool) is None:
            raise DockerUnavailableError(f"{tool} of util-linux is not installed")
    if shutil.which("docker") is None:
        raise DockerUnavailableError("Docker's command line (docker) is not installed")
    answer = _docker("version")
    if answer.returncode:
        raise DockerUnavailableError(f"Docker does not answer: {_reason(answer)}")


def provide_busybox(image: str = BUSYBOX) -> None:
    """Have the image of the demo's tasks: from this machine's static busybox, or else pulled.

    Raises DockerUnavailableError.
    """
    if not _docker("image", "inspect", image).returncode:
        return
    busybox = shutil.which("busybox")
    if busybox is not None:
        _import(busybox, image)
        # One that needs shared libraries does not run in an image without any.
        if not _docker("run", "--rm", "--network=none", image, "true").returncode:
            return
        _docker("image", "rm", image)
    pulled = _docker("pull", "--quiet", "busybox:stable")
    if pulled.returncode:
        raise DockerUnavailableError(
            f"there is no image {image}: install busybox-static, or let Docker pull it ({_reason(pulled)})"
        )
    _docker("tag", "busybox:stable", image)


def _import(busybox: str, image: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(os.path.realpath(busybox), "bin/busybox")
        for applet in ("sh", "sleep", "true"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    subprocess.run(["docker", "import", "-", image], input=archive.getvalue(), capture_output=True, check=False)


def run_script(script: Script) -> Outcome:
    """Run a script as SSM Agent does, with this process's environment.

    When it exceeds its time, its process group is killed; what it has started in another session goes on.
    """
    with subprocess.Popen(
        ["/bin/sh", "-c", script.text],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, error = process.communicate(timeout=script.timeout)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            output, error = process.communicate()
            return Outcome(None, output, error)
    if process.returncode:
        error += f"failed to run commands: exit status {process.returncode}"
    return Outcome(process.returncode, output, error)


def _options(definition: Mapping[str, Any]) -> list[str]:
    """What `docker create` takes of a container definition, but for names, labels and the command."""
    options = _each("--env", {pair["name"]: pair["value"] for pair in definition.get("environment") or []})
    for name, option in {"user": "--user", "workingDirectory": "--workdir", "cpu": "--cpu-shares"}.items():
        if definition.get(name):
            options += [option, str(definition[name])]
    if definition.get("memory"):
        options += ["--memory", f"{definition['memory']}m"]
    if definition.get("entryPoint"):
        options += ["--entrypoint", str(definition["entryPoint"][0])]
    return options


def _command(definition: Mapping[str, Any]) -> list[str]:
    # Docker's --entrypoint takes one word.
    return [*(definition.get("entryPoint") or [])[1:], *(definition.get("command") or [])]


def _each(option: str, values: Mapping[str, Any] | Iterable[str]) -> list[str]:
    """An option once for each value."""
    words = [f"{name}={value}" for name, value in values.items()] if isinstance(values, Mapping) else values
    return [part for word in words for part in (option, word)]


def _docker(*arguments: str) -> Answer:
    return subprocess.run(
        ["docker", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )


def _remove(identities: Iterable[str]) -> None:
    if ids := list(identities):
        _docker("rm", "--force", "--volumes", *ids)


def _succeeded(answer: Answer, container: str, kind: str) -> None:
    """Raise NotStartedError with ECS's name for it, unless Docker has done what it was asked."""
    if answer.returncode:
        raise NotStartedError(container, f"{kind}: {_reason(answer)}")


def _reason(answer: Answer) -> str:
    """The line of Docker's errors that says most."""
    lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("Error response from daemon")]
    return next(iter([*told, *reversed(lines)]), f"exit status {answer.returncode}")


def _why_killed(identity: str) -> str | None:
    killed = _docker("container", "inspect", "--format", "{{.State.OOMKilled}}", identity).stdout.strip() == "true"
    return "OutOfMemoryError: Container killed due to memory usage" if killed else None


def _is_abandoned(stack: str) -> bool:
    """Whether the process that ran a stack on this machine is gone."""
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
