"""Runs Spin on the model: generates a verifier, compiles it, runs it, and reads what it has found."""

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

MODEL = Path(__file__).parent / "container.pml"
_DEPTH = 1_000_000  # steps of the longest run
_VIOLATION = re.compile(r"^spin: (\w+\.pml):(\d+), Error: assertion violated", re.MULTILINE)


class SpinError(Exception):
    """Spin or the compiler has failed, or the search was not completed."""


@dataclass(frozen=True)
class Configuration:
    """A part of the model's behaviour to search.

    Args:
        name: The name in reports.
        macros: The macros of the model, which `container.pml` lists.
        liveness: Whether to check that every operation settles, instead of the assertions.
        optimized: Whether to optimize the verifier. The compilation takes six seconds longer, and the search half of
            the time.
    """

    name: str
    macros: tuple[tuple[str, int], ...]
    liveness: bool = False
    optimized: bool = False

    @property
    def options(self) -> list[str]:
        macros = [f"-D{name}={value}" for name, value in self.macros]
        return [*macros, "-DLIVENESS"] if self.liveness else macros

    def planting(self, fault: str) -> "Configuration":
        """Return the configuration with a mistake planted in the protocol."""
        return replace(self, name=f"{self.name}, {fault}", macros=(*self.macros, (fault, 1)), optimized=False)


@dataclass(frozen=True)
class Finding:
    """What Spin has found.

    Attributes:
        states: The number of different states.
        seconds: The time of the search, without the compilation.
        error: The violated assertion; None if there is none.
        trace: The events of the counterexample: the lines that the model prints.
    """

    configuration: Configuration
    states: int
    seconds: float
    error: str | None = None
    trace: list[str] = field(default_factory=list)


def missing() -> list[str]:
    """Return the programs that are needed and not installed."""
    return [program for program in ("spin", "gcc") if shutil.which(program) is None]


def verify(configuration: Configuration) -> Finding:
    """Search all states of a configuration, or up to the first violation.

    Raises:
        SpinError: Spin or the compiler has failed, or the search was not completed.
    """
    with _folder() as folder:
        _run(folder, "spin", "-a", *configuration.options, MODEL.name)
        search = ("-DNFAIR=3",) if configuration.liveness else ("-DSAFETY",)
        optimization = "-O2" if configuration.optimized else "-O0"
        _run(folder, "gcc", "-w", optimization, "-DVECTORSZ=2048", "-DCOLLAPSE", *search, "-o", "pan", "pan.c")
        began = time.monotonic()
        options = ("-a", "-f") if configuration.liveness else ()
        report = _run(folder, "./pan", f"-m{_DEPTH}", *options)
        seconds = time.monotonic() - began
        states = re.search(r"(\d+) states, stored", report)
        errors = re.search(r"errors: (\d+)", report)
        if states is None or errors is None or "max search depth too small" in report or "out of memory" in report:
            raise SpinError(report)
        if errors[1] == "0":
            if "Search not completed" in report:
                raise SpinError(report)
            return Finding(configuration, int(states[1]), seconds)
        printed = _run(folder, "spin", "-T", "-t", *configuration.options, MODEL.name)
        return Finding(configuration, int(states[1]), seconds, _violated(folder, printed), _events(printed))


def simulate(configuration: Configuration, seed: int, steps: int = 3000) -> list[str]:
    """Return the events of a random run of the model.

    Raises:
        SpinError: Spin has failed, or the run violates an assertion.
    """
    with _folder() as folder:
        options = [f"-n{seed}", f"-u{steps}", *configuration.options]
        printed = _run(folder, "spin", "-T", *options, MODEL.name)
        if _VIOLATION.search(printed):
            raise SpinError(printed)
        return _events(printed)


def _violated(folder: Path, printed: str) -> str:
    """Return the assertion that a replayed counterexample violates, as the model's source has it."""
    violation = _VIOLATION.search(printed)
    if violation is None:
        return "an operation never settles"
    line = (folder / violation[1]).read_text().splitlines()[int(violation[2]) - 1]
    return line.split("/*")[0].strip().rstrip(";")


def _events(printed: str) -> list[str]:
    """Return the lines that the model prints. They begin with a worker, `ecs` or `time`."""
    return [line for line in printed.splitlines() if re.match(r"(\d+|ecs|time) [a-z]", line)]


@contextmanager
def _folder() -> Iterator[Path]:
    """Create a temporary folder with the model, in which Spin writes its files."""
    with tempfile.TemporaryDirectory(prefix="protocol-") as name:
        folder = Path(name)
        for file in MODEL.parent.glob("*.pml"):
            shutil.copy(file, folder)
        yield folder


def _run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    # Spin exits with 1 after it has printed the trace of a violation.
    if done.returncode != 0 and command[0] != "spin":
        raise SpinError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    if command[0] == "spin" and command[1] == "-a" and done.returncode != 0:
        raise SpinError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout
