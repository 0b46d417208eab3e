"""Tests of every status, operation and launch type, idle and with each operation pending."""

import pytest
from longshore.domain import lifecycle
from longshore.domain.lifecycle import (
    GOAL,
    Operation,
    Platform,
    Proceed,
    Refusal,
    Refused,
    Status,
    Step,
    allowed_operations,
    decide,
    done,
    in_progress,
    next_step,
    status_after_exit,
)

EXPIRED = Refused(Refusal.EXPIRED, "Operation not permitted on expired container")


def conflict(message: str) -> Refused:
    return Refused(Refusal.CONFLICT, message)


# The contract's table. Columns are operations. A step means that the operation is allowed and begins with the step.
OPERATIONS = ["start", "stop", "force-stop", "restart", "pause", "resume"]
IDLE: dict[str, list[Step | str]] = {
    "stopped": [
        Step.START,
        "Container is already stopped",
        "Container is already stopped",
        Step.START,
        "Container is not running",
        "Container is not paused",
    ],
    "running": [
        "Container is already running",
        Step.STOP,
        Step.KILL,
        Step.STOP,
        Step.PAUSE,
        "Container is already running",
    ],
    "paused": [
        "Container is paused",
        Step.STOP,
        Step.KILL,
        Step.STOP,
        "Container is already paused",
        Step.UNPAUSE,
    ],
    "failed": [
        "Container has failed",
        "Container has failed",
        Step.KILL,
        Step.START,
        "Container is not running",
        "Container is not paused",
    ],
}
MESSAGES = {
    "start": ("Container is starting", "Container started successfully"),
    "stop": ("Container is stopping", "Container stopped successfully"),
    "force-stop": ("Container is force-stopping", "Container force-stopped successfully"),
    "restart": ("Container is restarting", "Container restarted successfully"),
    "pause": ("Container is pausing", "Container paused successfully"),
    "resume": ("Container is resuming", "Container resumed successfully"),
}
_FARGATE = "is not supported on Fargate, which has no host to do it on"
_MANAGED = "is not supported on ECS Managed Instances, which give no access to the host"
_SERVICE = "is not supported for services, because a load balancer replaces frozen tasks"
WITHOUT_PAUSE = {
    platform: {name: Refused(Refusal.UNSUPPORTED, f"{name} {reason}") for name in ("pause", "resume")}
    for platform, reason in ((Platform.FARGATE, _FARGATE), (Platform.MANAGED, _MANAGED), (Platform.SERVICE, _SERVICE))
}
ALLOWED = {
    "stopped": ["start", "restart"],
    "running": ["stop", "force-stop", "restart", "pause"],
    "paused": ["stop", "force-stop", "restart", "resume"],
    "failed": ["force-stop", "restart"],
    "expired": [],
}


def test_the_table_is_complete() -> None:
    assert list(Operation) == OPERATIONS
    assert {*IDLE, "expired"} == set(Status)
    assert set(MESSAGES) == set(Operation)


@pytest.mark.parametrize("platform", list(Platform))
@pytest.mark.parametrize("status", list(IDLE))
@pytest.mark.parametrize("column", range(6), ids=OPERATIONS)
def test_nothing_pending(status: str, column: int, platform: Platform) -> None:
    cell = IDLE[status][column]
    expected: Proceed | Refused = Proceed(cell) if isinstance(cell, Step) else conflict(cell)
    if platform in WITHOUT_PAUSE:
        expected = WITHOUT_PAUSE[platform].get(OPERATIONS[column], expected)
    if (platform, status, OPERATIONS[column]) == (Platform.SERVICE, "running", "restart"):
        expected = Proceed(Step.ROLL)
    assert decide(Status(status), Operation(OPERATIONS[column]), None, platform) == expected


@pytest.mark.parametrize("platform", list(Platform))
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("pending", OPERATIONS)
@pytest.mark.parametrize("status", list(IDLE))
def test_while_an_operation_is_pending(status: str, pending: str, operation: str, platform: Platform) -> None:
    expected: Proceed | Refused = conflict(MESSAGES[pending][0])
    # Except for another force-stop: otherwise frequent repeats would prevent it from ever completing.
    if operation == "force-stop" and pending != "force-stop":
        expected = Proceed(Step.KILL, supersedes=True)
    if platform in WITHOUT_PAUSE:
        expected = WITHOUT_PAUSE[platform].get(operation, expected)
    assert decide(Status(status), Operation(operation), Operation(pending), platform) == expected


@pytest.mark.parametrize("platform", list(Platform))
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("pending", [None, *OPERATIONS])
def test_nothing_is_allowed_on_an_expired_container(operation: str, pending: str | None, platform: Platform) -> None:
    pending_operation = Operation(pending) if pending else None
    assert decide(Status.EXPIRED, Operation(operation), pending_operation, platform) == EXPIRED


@pytest.mark.parametrize("platform", list(Platform))
@pytest.mark.parametrize("status", list(Status))
def test_allowed_operations(status: Status, platform: Platform) -> None:
    expected = ALLOWED[status]
    if platform in WITHOUT_PAUSE:
        expected = [name for name in expected if name not in ("pause", "resume")]
    assert allowed_operations(status, None, platform) == expected


@pytest.mark.parametrize("platform", list(Platform))
@pytest.mark.parametrize("pending", OPERATIONS)
@pytest.mark.parametrize("status", list(Status))
def test_only_force_stop_is_allowed_while_an_operation_is_pending(
    status: Status, pending: str, platform: Platform
) -> None:
    expected = [] if status is Status.EXPIRED or pending == "force-stop" else ["force-stop"]
    assert allowed_operations(status, Operation(pending), platform) == expected


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("step", list(Step))
def test_only_a_restart_has_a_second_step(operation: str, step: Step) -> None:
    expected = Step.START if (operation, step) == ("restart", Step.STOP) else None
    assert next_step(Operation(operation), step) is expected


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (Step.START, "running"),
        (Step.STOP, "stopped"),
        (Step.KILL, "stopped"),
        (Step.PAUSE, "paused"),
        (Step.UNPAUSE, "running"),
    ],
)
def test_goal(step: Step, status: str) -> None:
    assert GOAL[step] == status


@pytest.mark.parametrize(
    ("exit_code", "status"), [(0, "stopped"), (1, "failed"), (137, "failed"), (-1, "failed"), (None, "failed")]
)
def test_status_after_exit(exit_code: int | None, status: str) -> None:
    assert status_after_exit(exit_code) == status


@pytest.mark.parametrize("operation", OPERATIONS)
def test_messages_of_operations(operation: str) -> None:
    assert (in_progress(Operation(operation)), done(Operation(operation))) == MESSAGES[operation]


def test_the_docstring_matches() -> None:
    assert lifecycle.__doc__ is not None
    lines = [line for line in lifecycle.__doc__.splitlines() if line.startswith("    ")]
    header = lines[0]
    assert header.split() == ["status", *OPERATIONS]
    starts = [header.index(f" {operation}") + 1 for operation in OPERATIONS]
    ends = [*starts[1:], len(header) + 80]
    described = {line.split()[0]: line for line in lines[1:]}
    assert set(described) == set(Status)
    assert described["expired"].split(maxsplit=1)[1] == "refused, whatever the operation"
    for status in IDLE:
        for operation, start, end in zip(OPERATIONS, starts, ends, strict=True):
            cell = described[status][start:end].strip()
            verdict = decide(Status(status), Operation(operation), None, Platform.HOST)
            if isinstance(verdict, Refused):
                # "is paused" and "has failed" are complete. The other cells omit "is".
                assert verdict.message in (f"Container {cell}", f"Container is {cell}")
            else:
                changes = [GOAL[verdict.step]]
                following = next_step(Operation(operation), verdict.step)
                changes += [GOAL[following]] if following else []
                assert cell == "-> " + ",".join(changes)
