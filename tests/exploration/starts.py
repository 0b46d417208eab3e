"""The start states of a container and its cluster."""

from dataclasses import dataclass, field, replace

from longshore.domain.lifecycle import Operation, Status
from simulation.hostility import Hostility

# Effects are visible at the first lookup: each further lookup would be a choice point that reveals nothing new.
_PROMPT = Hostility(run_delay=0.1, stop_delay=0.1, command_delay=0.1, wait=1.0)
_LIMITED = replace(_PROMPT, lifetimes=True)
_UPGRADED = replace(_PROMPT, first_version="before")
# Effects are visible after the caller was answered 202.
_SLOW = Hostility(run_delay=3, stop_delay=3, command_delay=3, wait=0.1)


@dataclass(frozen=True)
class Start:
    """The state of the container and its cluster at the start of a run.

    Args:
        why: The reason why this state matters.
        history: The statuses of its rows.
        crashed: Requests that crash before the run starts: the operation, and the call after which it crashes. Their
            deadline has passed when the run starts.
        live: Whether it has a running task.
        capacity: Whether the cluster has room for another task.
        breaks: Whether a new task stops before it reaches RUNNING.
        service: Whether it stands for a service, which is a scalable target.
        stuck: Whether a task that was asked to stop does not stop until the end of the run.
        absent: Whether ECS does not show the task while the crashed requests are continued.
        swept: How often the recovery sweep runs before the run starts, the second time an hour after the first.
        damaged: Whether an attribute of the pending operation is malformed.
        refused_once: Whether the cluster has room again after it has refused a task, and ECS forgets the refusal.
        room: How many more rows the history takes; None for no limit.
        keys: Whether each caller sends its own Idempotency-Key.
        limits: `stop_at` in seconds after the start of the run, or `idle_timeout` in seconds from then on, by name.
        pairs: The only pairs that are explored from this state; None: all that can matter.
        hostility: The settings of the simulated AWS.
    """

    why: str
    history: tuple[Status, ...]
    crashed: tuple[tuple[Operation, str], ...] = ()
    live: bool = False
    capacity: bool = True
    breaks: bool = False
    service: bool = False
    stuck: bool = False
    absent: bool = False
    swept: int = 0
    damaged: bool = False
    refused_once: bool = False
    room: int | None = None
    keys: bool = False
    limits: tuple[tuple[str, int], ...] = ()
    pairs: tuple[str, ...] | None = None
    hostility: Hostility = field(default=_PROMPT)

    @property
    def status(self) -> Status:
        return self.history[-1]

    @property
    def pending(self) -> Operation | None:
        return self.crashed[-1][0] if self.crashed else None


_STOPPED = (Status.STOPPED,)
_RUNNING = (Status.STOPPED, Status.RUNNING)
_STOPPED_SERVICE = (Status.RUNNING, Status.STOPPED)

STARTS = {
    "stopped": Start("a start runs a task, and at most one task may run", _STOPPED),
    "full": Start("RunTask is refused after the claim: the operation is undone", _STOPPED, capacity=False),
    "running": Start("stops, pauses and exits meet, and running work could be lost", _RUNNING, live=True),
    "paused": Start("a stop has two effects: it unpauses and stops the task", (*_RUNNING, Status.PAUSED), live=True),
    "failed": Start(
        "its task still lives, and must end before another task runs", (*_RUNNING, Status.FAILED), live=True
    ),
    "broken": Start("its task stops before it reaches RUNNING, so that the operation fails", _STOPPED, breaks=True),
    "slow": Start(
        "every request is answered 202, which is stored for its key, and ends later",
        _RUNNING,
        live=True,
        keys=True,
        hostility=_SLOW,
    ),
    "slow-full": Start(
        "a request is answered 202, and its operation turns out to be impossible",
        (*_RUNNING, Status.FAILED),
        live=True,
        capacity=False,
        keys=True,
        hostility=_SLOW,
    ),
    "start-overdue": Start(
        "a start has crashed after RunTask, and is continued or superseded", _STOPPED, ((Operation.START, "RunTask"),)
    ),
    "kill-overdue": Start(
        "a force-stop that superseded a start has crashed, and has to find a task without knowing its ARN",
        _STOPPED,
        ((Operation.START, "RunTask"), (Operation.FORCE_STOP, "UpdateItem TransactWriteItems")),
    ),
    "stop-overdue": Start(
        "a stop has crashed after StopTask: it has had its effect but has no row",
        _RUNNING,
        ((Operation.STOP, "StopTask"),),
        live=True,
    ),
    "restart-overdue": Start(
        "a restart has crashed in its second step, and already has a row",
        _RUNNING,
        ((Operation.RESTART, "RunTask"),),
        live=True,
    ),
    "ending": Start(
        "its `stop_at` passes, while a user moves it, protects the container or stops it",
        _RUNNING,
        live=True,
        limits=(("stop_at", 30),),
        hostility=_LIMITED,
    ),
    "idle": Start(
        "it has been idle for its timeout, while a user keeps it alive",
        _RUNNING,
        live=True,
        limits=(("idle_timeout", 30),),
        hostility=_LIMITED,
    ),
    "paused-ending": Start(
        "it is paused, and its `stop_at` passes",
        (*_RUNNING, Status.PAUSED),
        live=True,
        limits=(("stop_at", 30),),
        hostility=_LIMITED,
    ),
    "limited": Start(
        "it is stopped, its `stop_at` passes, and an operation starts it",
        _STOPPED,
        limits=(("stop_at", 30),),
        hostility=_LIMITED,
    ),
    "service-stopped": Start("a start restores the count, and then the scaling", _STOPPED_SERVICE, service=True),
    "service-running": Start(
        "a stop stores the count, and suspends the scaling", (Status.RUNNING,), live=True, service=True
    ),
    "service-start-overdue": Start(
        "a start has crashed between the count and the scaling",
        _STOPPED_SERVICE,
        ((Operation.START, "UpdateService"),),
        service=True,
    ),
    "service-stop-overdue": Start(
        "a stop has crashed between the scaling and the count",
        (Status.RUNNING,),
        ((Operation.STOP, "RegisterScalableTarget"),),
        live=True,
        service=True,
    ),
    "service-roll-overdue": Start(
        "a rolling restart has crashed, and must not be repeated",
        (Status.RUNNING,),
        ((Operation.RESTART, "UpdateService"),),
        live=True,
        service=True,
    ),
    "full-once": Start(
        "RunTask is refused for a while, which proves nothing about other calls with the same token",
        _STOPPED,
        capacity=False,
        refused_once=True,
        hostility=replace(_PROMPT, failures_remembered=False),
        pairs=("start+force-stop", "restart+force-stop"),
    ),
    "given-up": Start(
        "a force-stop that superseded a start was given up, because the task of the start does not stop",
        _STOPPED,
        ((Operation.START, "RunTask"), (Operation.FORCE_STOP, "UpdateItem TransactWriteItems")),
        stuck=True,
        swept=14,
        pairs=("force-stop+restart", "force-stop+recovery", "restart+recovery"),
    ),
    "paused-stuck": Start(
        "a stop has unpaused the task and asked it to stop, and it does not stop",
        (*_RUNNING, Status.PAUSED),
        ((Operation.STOP, "UpdateItem TransactWriteItems"),),
        live=True,
        stuck=True,
        swept=14,
        pairs=("force-stop+recovery", "restart+recovery"),
    ),
    "returned": Start(
        "its task counted as gone when it was stopped, and ECS shows the task again",
        _RUNNING,
        ((Operation.FORCE_STOP, "UpdateItem TransactWriteItems"),),
        live=True,
        absent=True,
        swept=3,
        pairs=("start+drift", "restart+drift", "start+force-stop"),
    ),
    "damaged": Start(
        "an attribute of its pending operation is malformed",
        _RUNNING,
        ((Operation.PAUSE, "SendCommand"),),
        live=True,
        damaged=True,
        pairs=("force-stop+recovery", "resume+recovery"),
    ),
    "nearly-full": Start(
        "its history has room for one row of two, and its operation fails",
        _RUNNING,
        live=True,
        capacity=False,
        room=1,
        pairs=("restart+recovery", "restart+force-stop"),
    ),
    "upgrade": Start("version 0.2 runs when the run starts", _STOPPED, pairs=(), hostility=_UPGRADED),
    "pause-overdue": Start(
        "a pause has crashed after its command was sent: the processes are frozen, and the status says running",
        _RUNNING,
        ((Operation.PAUSE, "SendCommand"),),
        live=True,
    ),
}
