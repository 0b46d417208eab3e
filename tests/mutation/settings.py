"""The mutated modules, and the commands that have to find the mutants."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path("layers/common/longshore")
MODULES = (
    "aws/batches",
    "aws/history_pages",
    "aws/history_size",
    "aws/hosts",
    "aws/index",
    "aws/items",
    "aws/services",
    "aws/store",
    "aws/transactions",
    "aws/updates",
    "aws/writes",
    "domain/results",
    "domain/retention",
    "engine/attempt",
    "engine/apply",
    "engine/continuation",
    "engine/counts",
    "engine/driver",
    "engine/events",
    "engine/settle",
    "engine/lifetimes",
    "engine/lookups",
    "engine/observations",
    "engine/operations",
    "engine/pace",
    "engine/publishing",
    "engine/recorder",
    "engine/schedules",
    "engine/service_attempt",
    "engine/service_drift",
    "engine/service_events",
    "engine/service_steps",
    "engine/steps",
    "engine/drift",
    "engine/ending",
    "engine/endings",
    "engine/sweeps",
    "engine/waits",
)
EQUIVALENTS = Path("tests/mutation/equivalent.toml")
WORK = Path(".local/mutate")

LEAST_FOUND = 90.0
"""The share of the mutants that the tests have to find, in percent; equivalent mutants do not count."""

MEMORY = 6_000_000
"""The maximum address space of a command in KB, because a mutant may allocate without limit."""


@dataclass(frozen=True)
class Command:
    """A command that fails if it notices a mutant.

    Attributes:
        name: What the results call it.
        arguments: Arguments for Python, which runs in `folder` of the copy.
        tests: Further arguments, only for pytest: the tests. Of these, only the files that execute the changed lines
            are run, if there are any.
        seconds: Timeout. It is extended to five times what the command takes on the unmutated code.
        requires: A path without which the command does not exist yet.
    """

    name: str
    arguments: tuple[str, ...]
    seconds: float
    tests: tuple[str, ...] = ()
    folder: str = "."
    requires: str = "."


_PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
_SIMULATION = ("-m", "simulation", "--seed", "1", "--jobs", "1", "--runs")

# Each mutant runs against these in order until one fails, the fastest and most effective first. None of them depends on
# real time, so a busy machine does not find more mutants than an idle one.
COMMANDS = (
    Command("engine tests", _PYTEST, 180, ("tests/engine",)),
    Command("a few simulated runs", (*_SIMULATION, "40"), 60, folder="tests"),
    Command("unit tests", _PYTEST, 120, ("tests/unit", "--ignore", "tests/unit/test_no_skips.py")),
    Command("simulation", (*_SIMULATION, "300"), 240, folder="tests"),
    Command("exploration", ("-m", "exploration", "--quick"), 600, folder="tests", requires="tests/exploration"),
)
