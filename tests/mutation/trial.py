"""Runs the commands on mutants, each in a copy of the repository."""

import compileall
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mutation.catalogue import Mutant
from mutation.reach import Reach
from mutation.settings import MEMORY, Command

_KEPT_OUTPUT = 2000  # characters
_BASELINE_FACTOR = 5


@dataclass(frozen=True)
class Verdict:
    """The result of the commands.

    Attributes:
        command: The name of the command that failed, or None if all passed.
        seconds: The time of all commands.
        timed_out: Whether the command failed by its timeout.
        output: The end of the output of the last command.
    """

    command: str | None
    seconds: float
    timed_out: bool
    output: str


class StoppedError(Exception):
    """The run is being interrupted."""


class Processes:
    """Runs commands, and can end all of them from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, command: Command, folder: Path, seconds: float) -> tuple[int | None, str]:
        """Run a command in a copy.

        Args:
            command: The command.
            folder: The root of the copy.
            seconds: The timeout, after which the command and its children are killed.

        Returns:
            The exit status (None: it was killed) and the end of its output.

        Raises:
            StoppedError: `stop` has been called.
        """
        paths = [folder / "layers" / "common", folder, folder / "tests"]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
        }
        log = folder.with_suffix(".log")
        with log.open("wb") as output:
            with self._lock:
                if self._stopped:
                    raise StoppedError
                process = subprocess.Popen(
                    ["/bin/sh", "-c", f'ulimit -v {MEMORY}; exec "$@"', "sh", sys.executable, *command.arguments],
                    cwd=folder / command.folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._running.add(process)
            status: int | None = None
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(seconds)
            _kill_group(process)
        with self._lock:
            self._running.discard(process)
            if self._stopped:
                raise StoppedError
        return status, log.read_bytes()[-_KEPT_OUTPUT:].decode(errors="replace")

    def stop(self) -> None:
        """Kill all running commands, and run no others."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill_group(process)


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    # Children may outlive their parent.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Copy:
    """A copy of the repository's tracked files, in which the mutants are tested in sequence."""

    def __init__(self, root: Path, folder: Path, files: Sequence[str]) -> None:
        """Make the copy.

        Args:
            root: The repository.
            folder: The place of the copy; its previous content is deleted.
            files: The paths of the tracked files, relative to the root.
        """
        self.folder = folder
        self._written: set[str] = set()
        shutil.rmtree(folder, ignore_errors=True)
        for name in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
        if (root / ".venv").exists():
            (folder / ".venv").symlink_to((root / ".venv").resolve())
        # Unlike compiled files with timestamps, these are never used for a changed source.
        checked = py_compile.PycInvalidationMode.CHECKED_HASH
        for part in ("layers", "local", "tests"):
            compileall.compile_dir(folder / part, quiet=2, invalidation_mode=checked)
        self._signatures = self._look()
        self._contents = {path: (folder / path).read_bytes() for path in self._signatures}

    def apply(self, path: str, source: bytes) -> None:
        """Replace a file until the next reset."""
        self._written.add(path)
        (self.folder / path).write_bytes(source)

    def reset(self) -> None:
        """Undo `apply` and all changes that the commands have made."""
        present = self._look()
        for path in present.keys() - self._signatures.keys():
            (self.folder / path).unlink()
        for path, signature in self._signatures.items():
            # Two writes in quick succession can have the same time and size.
            if path in self._written or present.get(path) != signature:
                (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / path).write_bytes(self._contents[path])
                self._signatures[path] = _signature(self.folder / path)
        self._written.clear()

    def _look(self) -> dict[str, tuple[int, int]]:
        return {
            str(path.relative_to(self.folder)): _signature(path)
            for parent, _, names in os.walk(self.folder)
            for path in (Path(parent, name) for name in names)
        }


def _signature(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_mtime_ns, status.st_size


class Trial:
    """Runs the commands on the code, unmutated or with a mutant, in order until a command fails."""

    def __init__(self, commands: Sequence[Command], processes: Processes) -> None:
        self._commands = commands
        self._processes = processes
        self._limits = {command.name: command.seconds for command in commands}
        self._reach: dict[str, Reach] = {}

    def run(self, copy: Copy, mutant: Mutant | None = None) -> Verdict:
        """Run the commands.

        Args:
            copy: The copy to run them in. It is reset before and after.
            mutant: The change; None runs the unmutated code. This extends the timeouts by its duration, and records
                which tests execute which lines.

        Returns:
            The result of the commands.

        Raises:
            StoppedError: The run is being interrupted.
        """
        copy.reset()
        began = time.monotonic()
        output = ""
        try:
            if mutant is not None:
                copy.apply(mutant.path, mutant.mutated_source)
            for command in self._commands:
                started = time.monotonic()
                run = self._recording(command, copy) if mutant is None else self._selecting(command, mutant)
                status, output = self._processes.run(run, copy.folder, self._limits[command.name])
                if status != 0:
                    return Verdict(command.name, time.monotonic() - began, status is None, output)
                if mutant is None:
                    needed = _BASELINE_FACTOR * (time.monotonic() - started)
                    self._limits[command.name] = max(self._limits[command.name], needed)
                    if command.tests:
                        self._reach[command.name] = Reach.read(_record_of(copy))
            return Verdict(None, time.monotonic() - began, timed_out=False, output=output)
        finally:
            copy.reset()

    def _recording(self, command: Command, copy: Copy) -> Command:
        if not command.tests:
            return command
        options = ("-p", "mutation.reach", "--reach", str(_record_of(copy)))
        return replace(command, arguments=(*command.arguments, *options, *command.tests))

    def _selecting(self, command: Command, mutant: Mutant) -> Command:
        reach = self._reach.get(command.name)
        tests = reach.tests(mutant.path, mutant.lines) if reach else []
        return replace(command, arguments=(*command.arguments, *(tests or command.tests)))


def _record_of(copy: Copy) -> Path:
    return copy.folder.with_suffix(".json")
