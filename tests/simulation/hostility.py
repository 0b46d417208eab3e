"""The settings of a run's simulated AWS.

They follow swarm testing: each run first draws which behaviours it has, and then their strengths. A run with few
behaviours tests each of them more deeply than a run with all of them.
"""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

_PRESENT = 0.25  # the probability that a run has a behaviour
_PRESENT_FIRST = 0.08  # the probability of version 0.2, which excludes the other behaviours


class Reached(StrEnum):
    """Hostile behaviours, each counted when it affects the code under test."""

    STOP_UNKNOWN_NEW = "StopTask does not find a new task"
    STOP_UNKNOWN_FLICKER = "StopTask does not find a known task for some seconds"
    MISSING_NEW = "DescribeTasks reports a new task as MISSING"
    MISSING_FLICKER = "DescribeTasks reports a known task as MISSING for some seconds"
    UNLISTED = "ListTasks does not return a new task"
    COMMAND_LATE = "a command runs late"
    COMMAND_TWICE = "a command runs twice"
    COMMAND_NEVER = "a command is not delivered"
    DOCKER_HANGS = "Docker hangs during a command"
    EVENT_LATE = "an event arrives more than an hour late"
    EVENT_TWICE = "an event arrives twice"
    EVENT_EARLY = "an event arrives before ECS shows the task"
    EVENT_LOST = "an event is lost"
    TOKEN_EXPIRED = "a client token has expired"
    TOKEN_CONFLICT = "RunTask returns ConflictException"
    FAILURE_REPEATED = "RunTask repeats a remembered failure"
    FAILURE_FORGOTTEN = "RunTask does not remember a failure"
    OUTAGE = "sweeps do not run for hours while an operation is pending"
    THROTTLED = "ECS throttles a request"
    UNREADABLE = "an item is unreadable"
    OTHER_CLUSTER = "a container belongs to another cluster"
    MISSING_CLUSTER = "a container belongs to a missing cluster"
    TWIN = "a request with a key is repeated within milliseconds"
    HISTORY_FULL = "a container's history is full"
    CODE_UPGRADED = "an operation of version 0.2 is pending at the upgrade"
    CODE_DOWNGRADED = "an operation of the current version is pending at the downgrade"
    SCHEDULE_LATE = "a scheduled stop arrives hours late"
    SCHEDULE_TWICE = "a scheduled stop arrives twice"
    PROJECT_LEFT = "a container leaves its project before a scheduled stop"
    LIFETIME_ENDED = "a sweep stops a container whose lifetime has ended"
    PROTECTED = "an operation is refused because of a protection"
    HOST_LOST = "a task on a lost host does not stop"
    STUCK_STOPPING = "a task stays STOPPING although its host is reachable"
    ABSENT = "ECS does not find a known task for minutes"
    RETURNED = "ECS shows a task again after minutes"
    RUN_LATE = "RunTask is processed after its reply was lost"
    STOP_LATE = "StopTask is processed after its reply was lost"
    CALL_DENIED = "a call to ECS or Systems Manager is denied for long"
    CALL_THROTTLED = "a call to ECS or Systems Manager is throttled for long"
    CALL_FAILED = "a call to ECS or Systems Manager fails for long"
    FAILED_ALIVE = "an operation begins on a failed container whose task lives"
    MALFORMED = "an attribute of a pending operation is malformed"
    SERVICE_SLOW = "the scheduler of services takes longer than a call waits"
    SERVICE_STALE = "DescribeServices shows an older state"
    DEPLOYMENT_STALE = "ListServiceDeployments shows an older state"
    SERVICE_CALL_LATE = "a call that changes a service is processed after its reply was lost"
    SERVICE_THROTTLED = "a call that changes a service is throttled"
    SERVICE_SCALED = "a scaling policy changes the count of a service"
    SERVICE_NOT_SCALED = "a scaling policy is suspended"
    SERVICE_COUNTED = "somebody changes the count of a service"
    SERVICE_DEPLOYED = "somebody starts a deployment of a service"
    SERVICE_BROKEN = "the circuit breaker ends a deployment"
    SERVICE_ROLLED_BACK = "the circuit breaker rolls a deployment back"
    SERVICE_BLUE_GREEN = "a blue/green deployment begins"
    SERVICE_PAUSED = "a deployment waits for a person"
    SERVICE_CONTINUED = "a person continues a deployment"
    SERVICE_REJECTED = "a person rolls a deployment back"
    SERVICE_PAUSE_OVER = "the wait of a deployment for a person times out"
    SERVICE_BLOCKED = "tasks of a service cannot be placed"
    SERVICE_DELETED = "somebody deletes a service"
    SERVICE_FORGOTTEN = "ECS forgets a deleted service"
    SERVICE_MOVED = "the count of a service is moved into its bounds"
    SERVICE_BOUNDED = "a scheduled action changes the bounds of a service"


@dataclass(frozen=True)
class ServiceHostility:
    """The settings of the services of a run. Times are in seconds, and rates are probabilities per call."""

    delay: float = 0.2  # the longest time until the scheduler looks at a service that has changed
    moves: float = 0.2  # the longest time until a count is moved into bounds that were registered
    stale: float = 0.0  # how much older the state that DescribeServices shows may be; less than SHOWN_AFTER
    late: bool = False  # a call whose reply is lost may be processed later, until the client's timeout
    throttled: float = 0.0  # of UpdateService and RegisterScalableTarget
    scales: int = 0  # how often a scaling policy acts
    bounded: int = 0  # how often a scheduled action changes the bounds
    counted: int = 0  # how often somebody changes a count or starts a deployment
    breaks: float = 0.0  # the probability that the circuit breaker ends a deployment
    rolls_back: float = 0.0  # the probability that the circuit breaker of a service rolls back
    blue_green: float = 0.0  # the probability that a service has blue/green deployments
    pauses: float = 0.0  # the probability that a blue/green deployment waits for a person
    blocked: int = 0  # how often the tasks of a service cannot be placed for some time
    deleted: bool = False  # somebody deletes a service

    @classmethod
    def draw(cls, rng: random.Random) -> "ServiceHostility":
        """Draw the settings of a run: which behaviours it has, and their strengths."""
        drawn: dict[str, Any] = {
            "delay": rng.choice((5.0, 20.0, 120.0)),
            "moves": rng.choice((1.0, 5.0, 30.0)),
            "stale": rng.choice((0.5, 1.0, 1.8)),
            "late": True,
            "throttled": rng.choice((0.1, 0.4)),
            "scales": rng.choice((3, 10)),
            "bounded": rng.choice((1, 3)),
            "counted": rng.choice((1, 3)),
            "breaks": rng.choice((0.3, 1.0)),
            "rolls_back": rng.choice((0.5, 1.0)),
            "blue_green": rng.choice((0.5, 1.0)),
            "pauses": rng.choice((0.5, 1.0)),
            "blocked": rng.choice((1, 2)),
            "deleted": True,
        }
        rates = {"late": 0.6, "scales": 0.6, "rolls_back": 0.6, "pauses": 0.6, "deleted": 0.15}
        return cls(**{name: value for name, value in drawn.items() if rng.random() < rates.get(name, 0.35)})


@dataclass(frozen=True)
class Hostility:
    """The settings of a run. The defaults have no hostile behaviours.

    Rates are probabilities per call, task or event. Times are in seconds unless the name says otherwise.
    """

    # --- in every run ---
    run_delay: float = 0.4  # from RunTask to RUNNING
    stop_delay: float = 0.3
    command_delay: float = 0.1
    wait: float = 20.0  # how long a call waits for effects
    index_lag: int = 0  # the most writes that a read of a global index does not show yet
    clock_skew: float = 0.0  # the most that a function's clock differs from the true time
    priorities: bool = False  # interleave by priorities with a few change points instead of random pauses
    liveness: bool = False  # after the phase with faults, only ECS and one worker are healed

    # --- behaviours ---
    stop_unknown: float = 0.0  # how long StopTask may not find a new task
    missing: float = 0.0  # how long DescribeTasks may report a new task as MISSING
    unlisted: float = 0.0  # how long ListTasks may not return a new task
    stop_flickers: float = 0.0  # the probability per request that StopTask stops finding an older task
    missing_flickers: float = 0.0  # the same for DescribeTasks
    commands_late: float = 0.0
    commands_twice: float = 0.0
    commands_never: float = 0.0
    docker_hangs: float = 0.0
    events_late: float = 0.0
    events_twice: float = 0.0
    events_lost: float = 0.0
    outage_hours: float = 0.0  # how long the sweeps do not run
    runtime_changes: float = 0.0  # the probability that a runtime is changed while an operation is pending
    failures_remembered: bool = True  # whether RunTask repeats failures for a client token
    quota: float = 0.0  # calls per second of each ECS quota; 0: no quota
    quota_burst: int = 10
    unreadable: int = 0  # the number of unreadable items
    other_clusters: bool = False
    twins: float = 0.0  # the probability that a request with a key is repeated within milliseconds
    history_room: float | None = None  # how many GB a container's history may still grow
    first_version: str = ""  # "before" or "after" the deployment: when version 0.2 runs
    deployed_during: str = ""  # the operation that is pending at the deployment; empty: any or none
    schedules_odd: float = 0.0  # the probability that a scheduled stop arrives late, twice, or hours late
    project_changes: float = 0.0  # the probability that a container leaves its project before a scheduled stop
    hosts_lost: bool = False  # hosts are lost for an hour or longer, so that their tasks do not stop
    stuck_stopping: float = 0.0  # the probability that a task that was asked to stop does not stop for hours
    absences: int = 0  # how often ECS does not find a known task for minutes
    calls_late: float = 0.0  # the probability that RunTask or StopTask is processed after its reply was lost
    refused_call: str = ""  # a call that is refused for long, and how: such as `StopTask:denied`
    failed_alive: float = 0.0  # the probability that a container is failed at the start, and has a live task
    malformed: bool = False  # an attribute of a pending operation becomes malformed
    lifetimes: bool = False  # callers limit the running time of containers, keep them alive and protect them
    services: ServiceHostility | None = None  # some containers stand for services

    @classmethod
    def none(cls) -> "Hostility":
        """Return settings without hostile behaviours."""
        return cls()

    @classmethod
    def draw(cls, rng: random.Random, only: Collection[str] | None = None) -> "Hostility":
        """Draw the settings of a run.

        Args:
            rng: The random stream.
            only: The names of the behaviours that the run has, instead of drawing them.

        Raises:
            ValueError: A name in `only` is unknown.
        """
        if unknown := set(only or ()) - set(BEHAVIOURS):
            raise ValueError(f"unknown behaviours: {', '.join(sorted(unknown))}; known: {', '.join(BEHAVIOURS)}")
        settings: dict[str, Any] = {name: draw(rng) for name, draw in _ALWAYS.items()}
        for name, draw in _BEHAVIOURS.items():
            value, present = draw(rng), rng.random() < (_PRESENT_FIRST if name == "first_version" else _PRESENT)
            if present if only is None else name in only:
                settings[name] = value
        if any(name in settings for name in ("outage_hours", "hosts_lost", "stuck_stopping", "refused_call")):
            # Operations stay pending more often if they take longer than a call waits.
            settings |= {"wait": rng.choice((0, 2)), "run_delay": rng.choice((3, 12, 25))}
        if "quota" in settings:
            settings["quota_burst"] = rng.choice((2, 5, 20))
        # Drawn last, so that the other settings of a seed do not depend on it.
        present = rng.random() < _PRESENT
        if "lifetimes" in only if only is not None else present:
            settings["lifetimes"] = True
        present, drawn = rng.random() < _PRESENT, ServiceHostility.draw(rng)
        if "services" in only if only is not None else present:
            settings["services"] = drawn
        if settings.get("first_version"):
            # Version 0.2 withstands only the behaviours that it was tested with.
            settings = {name: settings[name] for name in (*_ALWAYS, "first_version")} | {
                "liveness": False,
                "priorities": False,
            }
        return cls(**settings)

    @classmethod
    def of_deployment(cls, rng: random.Random, first_version: str, deployed_during: str) -> "Hostility":
        """Draw the settings of a run with a deployment.

        Args:
            rng: The random stream.
            first_version: When version 0.2 runs: "before" or "after" the deployment.
            deployed_during: The operation that is pending at the deployment; empty: any or none.
        """
        drawn = cls.draw(rng, ["first_version"])
        return replace(drawn, first_version=first_version, deployed_during=deployed_during)

    @property
    def commands_differ(self) -> bool:
        """Whether commands run late, twice, long or never."""
        return any((self.commands_late, self.commands_twice, self.commands_never, self.docker_hangs))

    @property
    def lasts_hours(self) -> bool:
        """Whether the run has a phase of hours in which operations end because their attempts are used up."""
        return self.hosts_lost or self.stuck_stopping > 0 or bool(self.refused_call)

    @property
    def behaviours(self) -> list[str]:
        """The names of the behaviours in the run."""
        gentle = Hostility()
        return [name for name in BEHAVIOURS if getattr(self, name) != getattr(gentle, name)]


_REFUSABLE = (
    "RunTask",
    "StopTask",
    "DescribeTasks",
    "ListTasks",
    "DescribeContainerInstances",
    "SendCommand",
    "GetCommandInvocation",
)


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
    "hosts_lost": _choice(True),
    "stuck_stopping": _choice(0.3, 1.0),
    "absences": _choice(1, 2),
    "calls_late": _choice(0.3, 1.0),
    "refused_call": lambda rng: f"{rng.choice(_REFUSABLE)}:{rng.choice(('denied', 'throttled', 'failed'))}",
    "failed_alive": _choice(0.5, 1.0),
    "malformed": _choice(True),
}
BEHAVIOURS = (*_BEHAVIOURS, "lifetimes", "services")
