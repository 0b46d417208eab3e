"""What a container may do next: statuses, operations and the table that joins them. Pure: no AWS, no clock.

    status     start            stop             force-stop       restart             pause           resume
    stopped    -> running       already stopped  already stopped  -> running          not running     not paused
    running    already running  -> stopped       -> stopped       -> stopped,running  -> paused       already running
    paused     is paused        -> stopped       -> stopped       -> stopped,running  already paused  -> running
    failed     has failed       has failed       -> stopped       -> running          not running     not paused
    expired    refused, whatever the operation

While an operation is pending every other one is refused, but for `force-stop`, which supersedes it. A pending
force-stop is not superseded by the next one: callers who repeat it faster than it takes would keep it from ever ending.
"""

from enum import StrEnum
from typing import NamedTuple, assert_never


class Status(StrEnum):
    """A container's observed status. The names are part of the HTTP contract."""

    STOPPED = "stopped"  # has no task; can be started
    RUNNING = "running"  # its task runs
    PAUSED = "paused"  # its task exists, and its processes are frozen
    FAILED = "failed"  # its task ended with an error, or never came up
    EXPIRED = "expired"  # terminal: the server that it was bound to is gone


class Operation(StrEnum):
    """What a caller may ask for, in the order in which `allowed_operations` lists them."""

    START = "start"
    STOP = "stop"
    FORCE_STOP = "force-stop"
    RESTART = "restart"
    PAUSE = "pause"
    RESUME = "resume"


class Step(StrEnum):
    """One side effect of an operation, and what recovery goes on from."""

    START = "start"  # run a task; done when it is RUNNING
    STOP = "stop"  # unpause if paused, SIGTERM, SIGKILL after the grace; done when the task is STOPPED
    KILL = "kill"  # SIGKILL at once, to every task of the container; done when all are STOPPED
    PAUSE = "pause"  # freeze the task's processes on their host
    UNPAUSE = "unpause"  # thaw them


class LaunchType(StrEnum):
    """Where a task runs. Only the first two have a host on which processes can be frozen."""

    EC2 = "EC2"
    EXTERNAL = "EXTERNAL"
    FARGATE = "FARGATE"


class Refusal(StrEnum):
    """Why an operation may not begin."""

    CONFLICT = "conflict"  # the status, or the pending operation, does not allow it
    EXPIRED = "expired"  # nothing is allowed any more
    UNSUPPORTED = "unsupported"  # the launch type cannot do it, whatever the status


LIVE = frozenset({Status.RUNNING, Status.PAUSED})
"""The statuses in which a container has a task that lives."""

GOAL = {
    Step.START: Status.RUNNING,
    Step.STOP: Status.STOPPED,
    Step.KILL: Status.STOPPED,
    Step.PAUSE: Status.PAUSED,
    Step.UNPAUSE: Status.RUNNING,
}
"""The status that a step ends in when its effect is observed."""

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
    """The operation may begin with `step`; it takes the place of a pending one when `supersedes` is true."""

    step: Step
    supersedes: bool = False


class Refused(NamedTuple):
    """The operation may not begin. `message` is what the caller reads."""

    refusal: Refusal
    message: str


def in_progress(operation: Operation) -> str:
    """What is said of a container while the operation is pending, such as `Container is starting`."""
    return f"Container is {_PROGRESS[operation]}"


def done(operation: Operation) -> str:
    """What is said when the operation's effect was observed, such as `Container started successfully`."""
    return f"Container {_DONE[operation]} successfully"


def decide(
    status: Status, operation: Operation, pending: Operation | None, launch_type: LaunchType
) -> Proceed | Refused:
    """Whether `operation` may begin on a container in `status`, and with which step.

    `pending` is the operation that is under way on it, if any.
    """
    if status is Status.EXPIRED:
        return Refused(Refusal.EXPIRED, "Operation not permitted on expired container")
    if operation in (Operation.PAUSE, Operation.RESUME) and launch_type is LaunchType.FARGATE:
        return Refused(Refusal.UNSUPPORTED, f"{operation} is not supported on Fargate, which has no host to do it on")
    if pending is not None:
        if operation is Operation.FORCE_STOP and pending is not Operation.FORCE_STOP:
            return Proceed(Step.KILL, supersedes=True)
        return Refused(Refusal.CONFLICT, in_progress(pending))
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


def allowed_operations(status: Status, pending: Operation | None, launch_type: LaunchType) -> list[Operation]:
    """The operations that would begin now, in the order of `Operation`."""
    return [o for o in Operation if isinstance(decide(status, o, pending, launch_type), Proceed)]


def next_step(operation: Operation, step: Step) -> Step | None:
    """The step that follows when `step` has been observed, or None when the operation is complete."""
    if operation is Operation.RESTART and step is Step.STOP:
        return Step.START
    return None


def final_status(operation: Operation) -> Status:
    """The status that a container has when the operation is complete."""
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
    """The status of a container whose task ended by itself: `stopped` only for exit code 0.

    An unknown exit code counts as an error: nobody saw the task end well.
    """
    return Status.STOPPED if exit_code == 0 else Status.FAILED
