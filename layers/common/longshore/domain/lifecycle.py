"""Statuses, operations, and the table of operations that each status allows. Pure functions.

    status     start            stop             force-stop       restart             pause           resume
    stopped    -> running       already stopped  already stopped  -> running          not running     not paused
    running    already running  -> stopped       -> stopped       -> stopped,running  -> paused       already running
    paused     is paused        -> stopped       -> stopped       -> stopped,running  already paused  -> running
    failed     has failed       has failed       -> stopped       -> running          not running     not paused
    expired    refused, whatever the operation

A service does not support `pause` and `resume`, and the restart of a running service is one step (-> running): ECS
replaces its tasks one after the other.

While an operation is pending, every other operation is refused except `force-stop`, which supersedes it. A force-stop
does not supersede a pending force-stop: callers that repeat it faster than it completes would prevent it from ending.
"""

from enum import StrEnum
from typing import NamedTuple, assert_never


class Status(StrEnum):
    """A container's observed status. The values are part of the HTTP contract."""

    STOPPED = "stopped"  # has no task; can be started
    RUNNING = "running"  # its task is running
    PAUSED = "paused"  # its task exists, and the task's processes are suspended
    FAILED = "failed"  # its task ended with an error, did not start, or could no longer be controlled
    EXPIRED = "expired"  # terminal: its server was terminated


class Operation(StrEnum):
    """An operation that a caller can request, in the order in which `allowed_operations` lists them."""

    START = "start"
    STOP = "stop"
    FORCE_STOP = "force-stop"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"


class Step(StrEnum):
    """One side effect of an operation. Recovery continues an operation from its current step."""

    START = "start"  # run a task; complete when the task is RUNNING
    STOP = "stop"  # unpause if paused, SIGTERM, SIGKILL after the stop timeout; complete when the task is STOPPED
    KILL = "kill"  # SIGKILL immediately, to every task of the container; complete when all are STOPPED
    PAUSE = "pause"  # suspend the task's processes on their host
    UNPAUSE = "unpause"  # let the task's processes continue
    ROLL = "roll"  # replace the tasks of a service by a new deployment; complete when it is the only one


class Kind(StrEnum):
    """What a container stands for. The values are part of the HTTP contract."""

    TASK = "task"  # a task that Longshore runs
    SERVICE = "service"  # an ECS service, whose tasks ECS runs


class Platform(StrEnum):
    """What a container's tasks run on, as far as operations differ."""

    HOST = "host"  # instances of the cluster, to which commands can be sent
    FARGATE = "fargate"  # has no host
    MANAGED = "managed"  # ECS Managed Instances, which give no access to the host
    SERVICE = "service"  # a service, whose tasks ECS replaces, on whatever they run


class LaunchType(StrEnum):
    """An ECS launch type."""

    EC2 = "EC2"
    EXTERNAL = "EXTERNAL"
    FARGATE = "FARGATE"


class Refusal(StrEnum):
    """Why an operation may not begin."""

    CONFLICT = "conflict"  # the status or the pending operation does not allow it
    EXPIRED = "expired"  # the container has expired, which allows no operation
    UNSUPPORTED = "unsupported"  # the platform does not support it in any status
    PROTECTED = "protected"  # the container is protected from it


_WITHOUT_PAUSE = {
    Platform.FARGATE: "on Fargate, which has no host to do it on",
    Platform.MANAGED: "on ECS Managed Instances, which give no access to the host",
    Platform.SERVICE: "for services, because a load balancer replaces frozen tasks",
}
"""The platforms on which a container cannot be paused, with the reason."""

LIVE = frozenset({Status.RUNNING, Status.PAUSED})
"""The statuses in which a container has a live task."""

PROTECTED_FROM = frozenset({Operation.STOP, Operation.FORCE_STOP, Operation.RESTART, Operation.PAUSE})
"""The operations that a container's protection refuses."""

BEGINNING = frozenset({Operation.START, Operation.RESTART, Operation.RESUME})
"""The operations after which a container is running."""

ENDING = frozenset({Operation.STOP, Operation.FORCE_STOP})
"""The operations after which a container has no task."""

GOAL = {
    Step.START: Status.RUNNING,
    Step.STOP: Status.STOPPED,
    Step.KILL: Status.STOPPED,
    Step.PAUSE: Status.PAUSED,
    Step.UNPAUSE: Status.RUNNING,
    Step.ROLL: Status.RUNNING,
}
"""The container's status when the effect of a step has been observed."""

_PROGRESS = {
    Operation.START: "starting",
    Operation.STOP: "stopping",
    Operation.FORCE_STOP: "force-stopping",
    Operation.RESTART: "restarting",
    Operation.PAUSE: "pausing",
    Operation.RESUME: "resuming",
}
_DONE = {
    Operation.START: "started",
    Operation.STOP: "stopped",
    Operation.FORCE_STOP: "force-stopped",
    Operation.RESTART: "restarted",
    Operation.PAUSE: "paused",
    Operation.RESUME: "resumed",
}
_SELF = {
    Status.STOPPED: "Container is already stopped",
    Status.RUNNING: "Container is already running",
    Status.PAUSED: "Container is already paused",
    Status.FAILED: "Container has failed",
}


class Proceed(NamedTuple):
    """The operation may begin."""

    step: Step  # the first step
    supersedes: bool = False  # the operation supersedes the pending operation


class Refused(NamedTuple):
    """The operation may not begin."""

    refusal: Refusal
    message: str  # for the caller


def in_progress(operation: Operation) -> str:
    """Return the message for a container while the operation is pending, such as `Container is starting`."""
    return f"Container is {_PROGRESS[operation]}"


def done(operation: Operation) -> str:
    """Return the message for a completed operation, such as `Container started successfully`."""
    return f"Container {_DONE[operation]} successfully"


def effect_of(operation: Operation) -> str:
    """Return the effect of an operation on a container in one word, such as `started`."""
    return _DONE[operation]


def decide(status: Status, operation: Operation, pending: Operation | None, platform: Platform) -> Proceed | Refused:
    """Decide whether an operation may begin, and with which step.

    Args:
        status: The container's status.
        operation: The requested operation.
        pending: The container's pending operation, if any.
        platform: What the container's tasks run on.
    """
    if status is Status.EXPIRED:
        return Refused(Refusal.EXPIRED, "Operation not permitted on expired container")
    if operation in (Operation.PAUSE, Operation.RESUME) and platform in _WITHOUT_PAUSE:
        return Refused(Refusal.UNSUPPORTED, f"{operation} is not supported {_WITHOUT_PAUSE[platform]}")
    if pending is not None:
        if operation is Operation.FORCE_STOP and pending is not Operation.FORCE_STOP:
            return Proceed(Step.KILL, supersedes=True)
        return Refused(Refusal.CONFLICT, in_progress(pending))
    if platform is Platform.SERVICE and (operation, status) == (Operation.RESTART, Status.RUNNING):
        return Proceed(Step.ROLL)
    return _decide_idle(status, operation)


def _decide_idle(status: Status, operation: Operation) -> Proceed | Refused:
    match operation, status:
        case Operation.START, Status.STOPPED:
            return Proceed(Step.START)
        case Operation.START, Status.PAUSED:
            return Refused(Refusal.CONFLICT, "Container is paused")
        case Operation.STOP, (Status.RUNNING | Status.PAUSED):
            return Proceed(Step.STOP)
        case Operation.FORCE_STOP, (Status.RUNNING | Status.PAUSED | Status.FAILED):
            return Proceed(Step.KILL)
        case Operation.RESTART, (Status.RUNNING | Status.PAUSED):
            return Proceed(Step.STOP)
        case Operation.RESTART, _:
            return Proceed(Step.START)
        case Operation.PAUSE, Status.RUNNING:
            return Proceed(Step.PAUSE)
        case Operation.PAUSE, (Status.STOPPED | Status.FAILED):
            return Refused(Refusal.CONFLICT, "Container is not running")
        case Operation.RESUME, Status.PAUSED:
            return Proceed(Step.UNPAUSE)
        case Operation.RESUME, (Status.STOPPED | Status.FAILED):
            return Refused(Refusal.CONFLICT, "Container is not paused")
        case (
            Operation.START | Operation.STOP | Operation.FORCE_STOP | Operation.PAUSE | Operation.RESUME,
            _,
        ):
            return Refused(Refusal.CONFLICT, _SELF[status])
        case _:
            assert_never(operation)


def allowed_operations(status: Status, pending: Operation | None, platform: Platform) -> list[Operation]:
    """Return the operations that may begin, in the order of `Operation`."""
    return [o for o in Operation if isinstance(decide(status, o, pending, platform), Proceed)]


def next_step(operation: Operation, step: Step) -> Step | None:
    """Return the step that follows `step`, or None if the operation is then complete."""
    if operation is Operation.RESTART and step is Step.STOP:
        return Step.START
    return None


def final_status(operation: Operation) -> Status:
    """Return the container's status after the operation is complete."""
    match operation:
        case Operation.START | Operation.RESTART | Operation.RESUME:
            return Status.RUNNING
        case Operation.STOP | Operation.FORCE_STOP:
            return Status.STOPPED
        case Operation.PAUSE:
            return Status.PAUSED
        case _:
            assert_never(operation)


def status_after_exit(exit_code: int | None) -> Status:
    """Return the status of a container whose task ended on its own: `stopped` for exit code 0, else `failed`.

    An unknown exit code (None) counts as an error, because nothing proves that the task succeeded.
    """
    return Status.STOPPED if exit_code == 0 else Status.FAILED
