"""The script of the SSM document, run on this machine with a Docker and a clock that only pretend."""

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

# Does and refuses what Docker does, with Docker's messages. A container is a file that holds its state.
# A fifo `blocks/ACTION-ID` makes Docker hang before it acts until the test lets it go on. A file `refuses/ACTION-ID`
# makes it refuse, and a file `loses/ACTION-ID` makes it act but report an error.
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
# Tells that a command has come as far as the lock.
FLOCK = """#!/bin/sh
echo "$1" >>"$(dirname "$0")/../lockers"
exec {flock} "$@"
"""

Answer = subprocess.CompletedProcess[str]


@cache
def host_document() -> dict[str, Any]:
    """The document, as CreateDocument gets it."""
    stack = template.load(template.ROOT / "template.yaml", {})
    (document,) = stack.of_type("AWS::SSM::Document").values()
    return dict(document["Content"])


def parameters(action: str, *ids: str, **others: str) -> dict[str, list[str]]:
    """The document's parameters. `others`: container, number and expires, where they matter."""
    given = {"container": CONTAINER, "number": "1", "expires": str(NOW + 60), **others}
    return {"action": [action], "runtimeIds": list(ids), **{name: [value] for name, value in given.items()}}


class ScriptHost:
    """A machine with Docker containers in files, on which the script runs in a shell: `sh` or `bash`."""

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
        """Docker refuses to do this."""
        (self._folder / "refuses" / f"{action}-{container}").touch()

    def loses(self, action: str, container: str) -> None:
        """Docker does this, but its answer is lost."""
        (self._folder / "loses" / f"{action}-{container}").touch()

    def is_down(self) -> None:
        (self._folder / "down").touch()

    @property
    def states(self) -> list[str]:
        """The states of the containers that exist, in the order of A, B and C."""
        files = [self._folder / "containers" / container for container in (A, B, C)]
        return [file.read_text().strip() for file in files if file.exists()]

    @property
    def calls(self) -> list[str]:
        """The arguments of each call of Docker."""
        log = self._folder / "calls"
        return log.read_text().splitlines() if log.exists() else []

    @contextmanager
    def hanging(self, action: str, container: str) -> Iterator["HangingDocker"]:
        """Docker hangs when it is asked this, until the test lets it go on or the block ends."""
        fifo = self._folder / "blocks" / f"{action}-{container}"
        os.mkfifo(fifo)
        hanging = HangingDocker(fifo)
        try:
            yield hanging
        finally:
            hanging.release()

    # ── the clock ──

    def set_time(self, now: int | None) -> None:
        """What the clock says, in seconds since 1970. None: it cannot be read."""
        clock = self._folder / "now"
        if now is None:
            clock.unlink()
        else:
            clock.with_suffix(".new").write_text(f"{now}\n")
            clock.with_suffix(".new").replace(clock)

    # ── the script ──

    def text(self, given: dict[str, list[str]]) -> str:
        """The script with these parameters, which nothing has checked."""
        return self.moved(render(host_document(), given).text)

    def moved(self, text: str) -> str:
        """The script with its state in this host's folder."""
        assert text.count(STATE_FOLDER) == 1
        return Script(text, 0).with_state_in(self.state).text

    def execute(self, text: str) -> Answer:
        """Run a script and wait for it."""
        return subprocess.run(self._command(text), capture_output=True, text=True, check=False, env=self.environment)

    def run(self, action: str, *ids: str, **others: str) -> Answer:
        """Run the script with a higher number than before, unless it is given."""
        return self.execute(self.text(self._parameters(action, *ids, **others)))

    def start(self, action: str, *ids: str, **others: str) -> "RunningScript":
        """Start the script as SSM Agent does, in a process group of its own."""
        script = RunningScript(self._command(self.text(self._parameters(action, *ids, **others))), self.environment)
        self._running.append(script)
        return script

    def close(self) -> None:
        """End the scripts that a test has not waited for."""
        for script in self._running:
            script.close()

    def _parameters(self, action: str, *ids: str, **others: str) -> dict[str, list[str]]:
        return parameters(action, *ids, **{"number": str(next(self._numbers)), **others})

    def _command(self, text: str) -> list[str]:
        return [str(self.bin / "sh"), "-c", text]

    # ── the lock and the state ──

    def stored(self, container: str = CONTAINER) -> str:
        """What the script has stored for a Longshore container."""
        return (self.state / container).read_text()

    def store(self, text: str) -> None:
        self.state.mkdir(exist_ok=True)
        (self.state / CONTAINER).write_text(text)

    def wait_for_lockers(self, number: int) -> None:
        """Wait until so many commands have tried to get a lock."""
        log = self._folder / "lockers"
        eventually(lambda: len(log.read_text().splitlines()) if log.exists() else 0, number.__eq__)

    def wait_for_lock(self) -> None:
        """Wait until no command holds the container's lock."""
        with (self.state / f"{CONTAINER}.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)


class HangingDocker:
    """A call of Docker that hangs."""

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
            return None  # nothing reads yet

    def release(self) -> None:
        """Let Docker go on."""
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
        """Wait for the script, and for everything that holds its output."""
        output, error = self._process.communicate(timeout=60)
        return Answer(self._process.args, self._process.returncode, output, error)

    def close(self) -> None:
        """End the script if it is still running."""
        if self._process.returncode is None:
            self.kill()

    def kill(self) -> Answer:
        """Kill the script's process group, as SSM Agent does when it takes too long."""
        os.killpg(self._process.pid, signal.SIGKILL)
        return self.ended()
