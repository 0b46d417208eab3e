"""How hostile the simulated AWS of a run is.

Swarm testing: each run draws which behaviours exist at all, and then how strong they are. A run with few behaviours
goes deeper into each of them than a run with all of them.
"""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

_PRESENT = 0.25  # how likely a run has a behaviour
_PRESENT_FIRST = 0.08  # how likely version 0.1 runs, which leaves no room for other behaviours


class Reached(StrEnum):
    """Hostile behaviours, counted when the code under test receives them."""

    STOP_UNKNOWN_NEW = "StopTask does not know a new task"
    STOP_UNKNOWN_FLICKER = "StopTask does not know an older task for a moment"
    MISSING_NEW = "DescribeTasks answers MISSING for a new task"
    MISSING_FLICKER = "DescribeTasks answers MISSING for an older task for a moment"
    UNLISTED = "ListTasks does not list a new task"
    COMMAND_LATE = "a command runs late"
    COMMAND_TWICE = "a command runs twice"
    COMMAND_NEVER = "a command is never delivered"
    DOCKER_HANGS = "Docker hangs during a command"
    EVENT_LATE = "an event arrives more than an hour late"
    EVENT_TWICE = "an event arrives twice"
    EVENT_EARLY = "an event arrives before ECS shows the task"
    EVENT_LOST = "an event is lost"
    TOKEN_EXPIRED = "a client token has expired"
    TOKEN_CONFLICT = "RunTask answers ConflictException"
    FAILURE_REPEATED = "RunTask repeats a remembered failure"
    FAILURE_FORGOTTEN = "RunTask does not remember a failure"
    OUTAGE = "sweeps were down for hours while an operation was pending"
    THROTTLED = "ECS throttles"
    UNREADABLE = "an unreadable item"
    OTHER_CLUSTER = "a container of another cluster"
    MISSING_CLUSTER = "a container of a cluster that does not exist"
    TWIN = "a request is repeated with its key within milliseconds"
    HISTORY_FULL = "a history is full"
    CODE_UPGRADED = "the operation of version 0.1 is pending when the new version starts"
    CODE_DOWNGRADED = "the operation of the new version is pending when version 0.1 starts"
    SCHEDULE_LATE = "a scheduled stop arrives hours late"
    SCHEDULE_TWICE = "a scheduled stop arrives twice"
    PROJECT_LEFT = "a container leaves its project before a scheduled stop"


@dataclass(frozen=True)
class Hostility:
    """The settings of one run. The defaults are those of a gentle AWS.

    Rates are probabilities per call, task or event; times are in seconds unless the name says otherwise.
    """

    # --- always there, in some strength ---
    run_delay: float = 0.4  # from RunTask to RUNNING
    stop_delay: float = 0.3
    command_delay: float = 0.1
    wait: float = 20.0  # for how long a call waits for effects
    index_lag: int = 0  # by how many writes a global index may be behind
    clock_skew: float = 0.0  # how far the clocks of functions may differ from the true time
    priorities: bool = False  # interleave by priorities with a few change points instead of uniform pauses
    liveness: bool = False  # after the chaos only ECS and one worker are healed

    # --- behaviours ---
    stop_unknown: float = 0.0  # for how long StopTask may not know a new task
    missing: float = 0.0  # for how long DescribeTasks may answer MISSING for a new task
    unlisted: float = 0.0  # for how long ListTasks may not list a new task
    stop_flickers: float = 0.0  # how likely a look at an older task begins a flicker of StopTask
    missing_flickers: float = 0.0  # the same for DescribeTasks
    commands_late: float = 0.0
    commands_twice: float = 0.0
    commands_never: float = 0.0
    docker_hangs: float = 0.0
    events_late: float = 0.0
    events_twice: float = 0.0
    events_lost: float = 0.0
    outage_hours: float = 0.0  # for how long the sweeps are down
    runtime_changes: float = 0.0  # how likely a container's definition is changed while an operation is pending
    failures_remembered: bool = True  # whether RunTask repeats failures for a client token
    quota: float = 0.0  # calls per second for each of ECS's quotas; 0 means no quota
    quota_burst: int = 10
    unreadable: int = 0  # how many items cannot be read
    other_clusters: bool = False
    twins: float = 0.0  # how likely a request with a key is repeated within milliseconds
    history_room: float | None = None  # how many GB a container's history may still grow by
    first_version: str = ""  # "before" or "after": when version 0.1 runs
    schedules_odd: float = 0.0  # how likely a scheduled stop arrives late, twice, or hours late
    project_changes: float = 0.0  # how likely a container leaves its project before a scheduled stop

    @classmethod
    def none(cls) -> "Hostility":
        """A gentle AWS."""
        return cls()

    @classmethod
    def draw(cls, rng: random.Random, only: Collection[str] | None = None) -> "Hostility":
        """Draw a run's settings.

        Args:
            rng: The source of randomness.
            only: Names of behaviours; each of them exists in the run, and no other does.

        Raises:
            ValueError: A name in `only` is not a behaviour's.
        """
        if unknown := set(only or ()) - set(BEHAVIOURS):
            raise ValueError(f"unknown behaviours: {', '.join(sorted(unknown))}; known: {', '.join(BEHAVIOURS)}")
        settings: dict[str, Any] = {name: draw(rng) for name, draw in _ALWAYS.items()}
        for name, draw in _BEHAVIOURS.items():
            value, present = draw(rng), rng.random() < (_PRESENT_FIRST if name == "first_version" else _PRESENT)
            if present if only is None else name in only:
                settings[name] = value
        if "outage_hours" in settings:
            # Operations stay pending more often when they take longer than a call waits.
            settings |= {"wait": rng.choice((0, 2)), "run_delay": rng.choice((3, 12, 25))}
        if "quota" in settings:
            settings["quota_burst"] = rng.choice((2, 5, 20))
        if settings.get("first_version"):
            # Version 0.1 withstands no more than the behaviours that it was tested with.
            settings = {name: settings[name] for name in (*_ALWAYS, "first_version")} | {
                "liveness": False,
                "priorities": False,
            }
        return cls(**settings)

    @property
    def commands_differ(self) -> bool:
        """Whether commands run late, twice, long or never."""
        return any((self.commands_late, self.commands_twice, self.commands_never, self.docker_hangs))

    @property
    def behaviours(self) -> list[str]:
        """The names of the behaviours that exist in the run."""
        gentle = Hostility()
        return [name for name in _BEHAVIOURS if getattr(self, name) != getattr(gentle, name)]


def _choice(*values: Any) -> Callable[[random.Random], Any]:
    return lambda rng: rng.choice(values)


_ALWAYS: dict[str, Callable[[random.Random], Any]] = {
    "run_delay": _choice(0.4, 0.4, 3, 12, 25, 75),
    "stop_delay": _choice(0.3, 0.3, 2, 8),
    "command_delay": _choice(0.1, 0.1, 1, 6),
    "wait": _choice(0, 2, 8, 20, 20),
    "index_lag": _choice(0, 0, 1, 5),
    "clock_skew": _choice(0, 0, 0.02, 0.5),
    "priorities": lambda rng: rng.random() < 0.25,
    "liveness": lambda rng: rng.random() < 0.15,
}
_BEHAVIOURS: dict[str, Callable[[random.Random], Any]] = {
    "stop_unknown": _choice(2.0, 10.0, 60.0, 300.0),
    "missing": _choice(2.0, 10.0, 60.0, 300.0),
    "unlisted": _choice(2.0, 10.0, 60.0, 300.0),
    "stop_flickers": _choice(0.05, 0.3, 0.8),
    "missing_flickers": _choice(0.03, 0.1, 0.4),
    "commands_late": _choice(0.2, 0.7),
    "commands_twice": _choice(0.2, 0.7),
    "commands_never": _choice(0.1, 0.4),
    "docker_hangs": _choice(0.1, 0.4),
    "events_late": _choice(0.02, 0.1, 0.4),
    "events_twice": _choice(0.1, 0.5),
    "events_lost": _choice(0.05, 0.5, 1.0),
    "outage_hours": _choice(1.05, 2.0, 24.2, 24.5, 26.0, 26.0),
    "runtime_changes": _choice(0.3, 1.0),
    "failures_remembered": _choice(False),
    "quota": _choice(0.1, 0.5, 2.0),
    "unreadable": _choice(1, 2, 3),
    "other_clusters": _choice(True),
    "twins": _choice(0.3, 0.8),
    "history_room": _choice(0.0, 0.0, 0.15, 0.55, 0.75),
    "first_version": _choice("before", "after"),
    "schedules_odd": _choice(0.3, 0.8),
    "project_changes": _choice(0.3, 0.8),
}
BEHAVIOURS = tuple(_BEHAVIOURS)
