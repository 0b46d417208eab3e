"""A host that runs the script of the SSM document with a fake Docker and a fake clock."""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from settling import eventually

from local import template
from local.emulator.ssm import STATE_FOLDER, Script, render

A, B, C = ("a" * 64, "b" * 64, "0123456789abcdef" * 4)
CONTAINER = "507f1f77bcf86cd799439011"
OTHER = "507f1f77bcf86cd799439012"
NOW = 1_800_000_000
FAR_FUTURE = "9" * 11  # for a command that never expires

# A fake of the docker command with Docker's results and messages. A container is a file that contains its state. With a
# fifo `blocks/ACTION-ID` the command hangs until the test releases it. With a file `refuses/ACTION-ID` it fails. With a
# file `loses/ACTION-ID` it takes effect but reports an error.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")/.." || exit 9
echo "$*" >>calls
[ ! -e down ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }
if [ "$1" = ps ]; then
  for word in "$@"; do case "$word" in id=*) cat "containers/${word#id=}" 2>/dev/null; exit 0 ;; esac; done
  exit 9
fi
if [ -p "blocks/$1-$2" ]; then read -r _ <"blocks/$1-$2"; fi
state=$(cat "containers/$2" 2>/dev/null)
if [ -e "refuses/$1-$2" ]; then echo "Error response from daemon: no" >&2; exit 1; fi
case "$1 $state" in
  "pause running") echo paused >"containers/$2" ;;
  "unpause paused") echo running >"containers/$2" ;;
  "kill running" | "kill paused") echo exited >"containers/$2" ;;
  "pause paused") echo "Error response from daemon: container $2 is already paused" >&2; exit 1 ;;
  "unpause "?*) echo "Error response from daemon: container $2 is not paused" >&2; exit 1 ;;
  *" ") echo "Error response from daemon: No such container: $2" >&2; exit 1 ;;
  *) echo "Error response from daemon: container $2 is not running" >&2; exit 1 ;;
esac
if [ -e "loses/$1-$2" ]; then echo "error during connect: EOF" >&2; exit 1; fi
echo "$2"
"""
DATE = """#!/bin/sh
[ "$*" = +%s ] || exit 9
cat "$(dirname "$0")/../now"
"""
# Records that a command has reached the lock.
FLOCK = """#!/bin/sh
echo "$1" >>"$(dirname "$0")/../lockers"
exec {flock} "$@"
"""

Answer = subprocess.CompletedProcess[str]


@cache
def host_document() -> dict[str, Any]:
    """Return the content of the document as passed to CreateDocument."""
    stack = template.load(template.ROOT / "template.yaml", {})
    (document,) = stack.of_type("AWS::SSM::Document").values()
    return dict(document["Content"])


def parameters(action: str, *ids: str, **others: str) -> dict[str, list[str]]:
    """Return the parameters of the document. `others` may replace container, number and expires."""
    given = {"container": CONTAINER, "number": "1", "expires": str(NOW + 60), **others}
    return {"action": [action], "runtimeIds": list(ids), **{name: [value] for name, value in given.items()}}


class ScriptHost:
    """A host whose Docker containers are files, and that runs the script in a shell: `sh` or `bash`."""

    def __init__(self, folder: Path, shell: str) -> None:
        self._folder = folder / "host"
        self.state = self._folder / "state"
        for name in ("bin", "containers", "refuses", "loses", "blocks"):
            (self._folder / name).mkdir(parents=True)
        self.bin = self._folder / "bin"
        flock = str(shutil.which("flock"))
        for name, text in {"docker": DOCKER, "date": DATE, "flock": FLOCK.format(flock=flock)}.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        # Both parts of the script run in the same shell: bash called `sh` is what Amazon Linux has.
        (self.bin / "sh").symlink_to(str(shutil.which("bash" if shell == "bash" else "dash")))
        self.environment = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}
        self._numbers = count(1)
        self._running: list[RunningScript] = []
        self.set_time(NOW)

    # ── the containers ──

    def has(self, **states: str) -> None:
        for name, state in states.items():
            (self._folder / "containers" / {"a": A, "b": B, "c": C}[name]).write_text(f"{state}\n")

    def refuses(self, action: str, container: str) -> None:
        """Let Docker reject the action."""
        (self._folder / "refuses" / f"{action}-{container}").touch()

    def loses(self, action: str, container: str) -> None:
        """Let the action of Docker take effect, but report an error."""
        (self._folder / "loses" / f"{action}-{container}").touch()

    def is_down(self) -> None:
        (self._folder / "down").touch()

    @property
    def states(self) -> list[str]:
        """Return the states of the existing containers, in the order A, B, C."""
        files = [self._folder / "containers" / container for container in (A, B, C)]
        return [file.read_text().strip() for file in files if file.exists()]

    @property
    def calls(self) -> list[str]:
        """Return the arguments of each Docker call."""
        log = self._folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    @contextmanager
    def hanging(self, action: str, container: str) -> Iterator["HangingDocker"]:
        """Let the action of Docker hang until the test releases it or the block ends."""
        fifo = self._folder / "blocks" / f"{action}-{container}"
        os.mkfifo(fifo)
        hanging = HangingDocker(fifo)
        try:
            yield hanging
        finally:
            hanging.release()

    # ── the clock ──

    def set_time(self, now: int | None) -> None:
        """Set the clock to seconds since 1970. With None it cannot be read."""
        clock = self._folder / "now"
        if now is None:
            clock.unlink()
        else:
            clock.with_suffix(".new").write_text(f"{now}\n")
            clock.with_suffix(".new").replace(clock)

    # ── the script ──

    def text(self, given: dict[str, list[str]]) -> str:
        """Return the script with these parameters, without validating them."""
        return self.moved(render(host_document(), given).text)

    def moved(self, text: str) -> str:
        """Return the script with its state folder on this host."""
        assert text.count(STATE_FOLDER) == 1
        return Script(text, 0).with_state_in(self.state).text

    def execute(self, text: str) -> Answer:
        """Run a script to its end."""
        return subprocess.run(self._command(text), capture_output=True, text=True, check=False, env=self.environment)

    def run(self, action: str, *ids: str, **others: str) -> Answer:
        """Run the script to its end. By default with the next higher number."""
        return self.execute(self.text(self._parameters(action, *ids, **others)))

    def start(self, action: str, *ids: str, **others: str) -> "RunningScript":
        """Start the script in its own process group, as SSM Agent does."""
        script = RunningScript(self._command(self.text(self._parameters(action, *ids, **others))), self.environment)
        self._running.append(script)
        return script

    def close(self) -> None:
        """Kill the scripts that are still running."""
        for script in self._running:
            script.close()

    def _parameters(self, action: str, *ids: str, **others: str) -> dict[str, list[str]]:
        return parameters(action, *ids, **{"number": str(next(self._numbers)), **others})

    def _command(self, text: str) -> list[str]:
        return [str(self.bin / "sh"), "-c", text]

    # ── the lock and the state ──

    def stored(self, container: str = CONTAINER) -> str:
        """Return what the script has stored for a Longshore container."""
        return (self.state / container).read_text()

    def store(self, text: str) -> None:
        self.state.mkdir(exist_ok=True)
        (self.state / CONTAINER).write_text(text)

    def wait_for_lockers(self, number: int) -> None:
        """Wait until this number of commands has tried to take a lock."""
        log = self._folder / "lockers"
        eventually(lambda: len(log.read_text().splitlines()) if log.exists() else 0, number.__eq__)

    def wait_for_lock(self) -> None:
        """Wait until no command holds the container's lock."""
        with (self.state / f"{CONTAINER}.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)


class HangingDocker:
    """A Docker call that hangs."""

    def __init__(self, fifo: Path) -> None:
        self._fifo = fifo
        self._writer: int | None = None

    def reached(self) -> None:
        """Wait until Docker has been called."""
        self._writer = eventually(self._open, lambda writer: writer is not None)

    def _open(self) -> int | None:
        try:
            return os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None  # no reader yet

    def release(self) -> None:
        """Let the call continue."""
        self._fifo.unlink(missing_ok=True)
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None


class RunningScript:
    """A script that has been started."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment,
        )

    def ended(self) -> Answer:
        """Wait until the script and all processes that hold its output have ended."""
        output, error = self._process.communicate(timeout=60)
        return Answer(self._process.args, self._process.returncode, output, error)

    def close(self) -> None:
        """Kill the script if it is still running."""
        if self._process.returncode is None:
            self.kill()

    def kill(self) -> Answer:
        """Kill the script's process group, as SSM Agent does after the timeout."""
        os.killpg(self._process.pid, signal.SIGKILL)
        return self.ended()
