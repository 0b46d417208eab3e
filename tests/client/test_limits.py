"""The limits of containers in the client and in `longshore`: stop times, holds, idle timeouts and protection."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from client.script import CONTAINER, ID, PENDING, STARTED, Command, Scripted, ok, refused
from client.terminal import Terminal, environment
from longshore_client import (
    AsyncLongshore,
    Container,
    ContainerProtectedError,
    Longshore,
    OperationStateConflictError,
)
from longshore_client.cli.fleet_view import container_fields, containers_table
from longshore_client.cli.limits_view import limit_rows, limits_text
from longshore_client.cli.text import duration_text, parse_duration

from local import tokens
from local.seed import PROJECT, Seeder
from local.stack import LocalStack

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
AT = datetime(2026, 3, 2, 18, tzinfo=UTC)


def limited(**limits: Any) -> Container:
    return Container.of({**CONTAINER, "status": "running", **limits})


def soon(hours: float) -> datetime:
    """Return a time in the future, to the second."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)


# The client


def test_the_limits_of_a_container(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    """All limits are set at once, and removed again. Values that are not given are not changed."""
    seeder.add(fresh_id, ["stopped", "running"])
    stop, hold = soon(3), soon(2)
    with Longshore(stack.url, tokens.token("owner")) as client:
        containers = client.api.containers
        changed = containers.update(fresh_id, stop_at=stop, hold_until=hold, idle_timeout=3600, protection="demo")
        assert (changed.stop_at, changed.hold_until, changed.idle_timeout) == (stop, hold, 3600)
        assert changed.idle_at is not None
        assert timedelta(minutes=59) < changed.idle_at - datetime.now(UTC) <= timedelta(hours=1)
        assert changed.protection == "demo"
        with pytest.raises(ContainerProtectedError) as protected:
            containers.manage(fresh_id, "stop")
        assert (protected.value.protection, protected.value.status) == ("demo", "running")
        assert protected.value.allowed_operations == ()
        changed = containers.update(fresh_id, protection=None, stop_at=None)
        assert (changed.stop_at, changed.hold_until, changed.protection) == (None, hold, None)
        kept = containers.keep_alive(fresh_id)
        assert kept.idle_at is not None
        assert changed.idle_at is not None
        assert kept.idle_at > changed.idle_at


def test_a_start_with_an_end(stack: LocalStack, client: Longshore, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    stop = soon(2)
    client.api.containers.manage(fresh_id, "start", stop_at=stop)
    assert client.api.containers.get(fresh_id).stop_at == stop
    # The row to `stopped` removes the stop time.
    client.api.containers.manage(fresh_id, "stop", wait=True)
    with pytest.raises(OperationStateConflictError) as refusal:
        client.api.containers.keep_alive(fresh_id)
    assert refusal.value.message == "Container is not running"
    assert client.api.containers.get(fresh_id).stop_at is None


def test_asyncio(stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    stop, hold = soon(2), soon(1)

    async def use() -> tuple[Container, Container]:
        async with AsyncLongshore(stack.url, tokens.token("operator")) as client:
            containers = client.api.containers
            await containers.manage(fresh_id, "start", stop_at=stop)
            return await containers.update(fresh_id, hold_until=hold), await containers.keep_alive(fresh_id)

    changed, kept = asyncio.run(use())
    assert (changed.stop_at, changed.hold_until) == (kept.stop_at, kept.hold_until) == (stop, hold)


def test_lost_replies(scripted: Scripted) -> None:
    """A change and keep-alive are repeated. A start is repeated with the same key and the same stop time."""
    lost = httpx.ReadError("lost")
    client, script = scripted(lost, ok(CONTAINER), lost, ok(CONTAINER), lost, ok(STARTED))
    containers = client.api.containers
    containers.update(ID, stop_at=AT, hold_until=None, idle_timeout=600, protection="demo")
    containers.keep_alive(ID)
    containers.manage(ID, "start", stop_at=AT)
    assert script.sent == [f"PATCH {ID}"] * 2 + ["POST keep-alive"] * 2 + ["POST start"] * 2
    patches, starts = script.requests[:2], script.requests[4:]
    change = {"stop_at": "2026-03-02T18:00:00+00:00", "hold_until": None, "idle_timeout": 600}
    assert [json.loads(patch.content) for patch in patches] == [{**change, "protection": {"reason": "demo"}}] * 2
    assert [json.loads(start.content) for start in starts] == [{"stop_at": "2026-03-02T18:00:00+00:00"}] * 2
    assert len({start.headers["Idempotency-Key"] for start in starts}) == 1


def test_invalid_times(scripted: Scripted) -> None:
    client, script = scripted()
    containers = client.api.containers
    with pytest.raises(ValueError, match="has no time zone"):
        containers.update(ID, hold_until=AT.replace(tzinfo=None))
    with pytest.raises(ValueError, match="stop does not accept stop_at"):
        containers.manage(ID, "stop", stop_at=AT)
    assert script.requests == []


def test_an_api_without_limits() -> None:
    container = Container.of(CONTAINER)
    assert (container.stop_at, container.idle_at, container.protection) == (None, None, None)
    assert (container.kind, container.desired_count, container.running_count) == ("task", None, None)


SERVICE = {**CONTAINER, "kind": "service", "desired_count": 3, "running_count": 2}


def test_the_counts_of_a_service(scripted: Scripted) -> None:
    client, script = scripted(ok(SERVICE))
    container = client.api.containers.update(ID, desired_count=3)
    assert (container.kind, container.desired_count, container.running_count) == ("service", 3, 2)
    assert json.loads(script.requests[0].content) == {"desired_count": 3}


def test_a_list_shows_how_many_tasks_of_a_service_run() -> None:
    service = Container.of(SERVICE)
    assert container_fields(service)[-1] == "2/3"
    assert container_fields(Container.of(CONTAINER))[-1] == "-"
    (status,) = [column for column in containers_table([service]).columns if column.header == "STATUS"]
    assert [str(cell) for cell in status.cells] == [f"{service.status} 2/3"]


# The command line


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        (["hold", ID, "--until", "2026-03-02T19:00:00+01:00"], {"hold_until": "2026-03-02T19:00:00+01:00"}),
        (["hold", ID, "--off"], {"hold_until": None}),
        (["stop-at", ID, "--until", "2026-03-02T18:00:00Z"], {"stop_at": "2026-03-02T18:00:00+00:00"}),
        (["stop-at", ID, "--off"], {"stop_at": None}),
        (["idle-timeout", ID, "2h"], {"idle_timeout": 7200}),
        (["idle-timeout", ID, "off"], {"idle_timeout": None}),
        (["protect", ID, "--reason", "demo on Friday"], {"protection": {"reason": "demo on Friday"}}),
        (["unprotect", ID], {"protection": None}),
        (["scale", ID, "5"], {"desired_count": 5}),
    ],
)
def test_changes(command: Command, arguments: list[str], change: dict[str, Any]) -> None:
    code, script = command(arguments, ok(CONTAINER))
    assert (code, script.sent) == (0, [f"PATCH {ID}"])
    assert json.loads(script.requests[0].content) == change


def test_a_duration_is_added_to_the_current_time(command: Command) -> None:
    before = datetime.now(UTC)
    _, script = command(["hold", ID, "--for", "12h"], ok(CONTAINER))
    held = datetime.fromisoformat(json.loads(script.requests[0].content)["hold_until"])
    assert before + timedelta(hours=12) <= held <= datetime.now(UTC) + timedelta(hours=12)


@pytest.mark.parametrize(
    "arguments",
    [
        ["hold", ID],
        ["hold", ID, "--for", "2h", "--off"],
        ["hold", ID, "--for", "2h", "--until", "2026-03-02T18:00:00Z"],
        ["hold", ID, "--for", "2 hours"],
        ["hold", ID, "--until", "2026-03-02T18:00:00"],
        ["start", ID, "--for", "2h", "--until", "2026-03-02T18:00:00Z"],
        ["start", ID, "--for", "0h"],
        ["stop", ID, "--for", "2h"],
        ["pause", ID, "--until", "2026-03-02T18:00:00Z"],
        ["idle-timeout", ID, "never"],
        ["protect", ID],
        ["keep-alive"],
    ],
)
def test_usage(command: Command, arguments: list[str]) -> None:
    code, script = command(arguments)
    assert (code, script.requests) == (2, [])


def test_operations_with_an_end(command: Command) -> None:
    """One container, and several."""
    for operation in ("start", "restart", "resume"):
        done = ok({**STARTED, "operation": operation})
        code, script = command([operation, ID, "--until", "2026-03-02T18:00:00Z"], done)
        assert (code, json.loads(script.requests[0].content)) == (0, {"stop_at": "2026-03-02T18:00:00+00:00"})
    ids = ["0a" * 12, "0b" * 12]
    pagination = {"total": 2, "page": 1, "limit": 100, "totalPages": 1}
    found = ok({"containers": [{**CONTAINER, "id": each} for each in ids], "pagination": pagination})
    started = [ok({**STARTED, "container_id": each}) for each in ids]
    code, script = command(["start", "--name", "orders", "--yes", "--for", "90m"], found, *started)
    assert code == 0
    stops = {json.loads(request.content)["stop_at"] for request in script.requests[1:]}
    assert len(stops) == 1
    assert timedelta(minutes=89) < datetime.fromisoformat(stops.pop()) - datetime.now(UTC) <= timedelta(minutes=90)


def test_a_protected_container(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    data = {**STARTED, "error": True, "status": "running", "allowed_operations": [], "pending_operation": None}
    refusal = refused(400, "CONTAINER_PROTECTED", data={**data, "protection": {"reason": "demo"}})
    code, _ = command(["stop", ID], refusal)
    err = capsys.readouterr().err
    assert code == 3
    assert "Reason of the protection: demo" in err


def test_several_are_kept_alive(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A refusal does not end the run, and names its container."""
    ids = ["0a" * 12, "0b" * 12, "0c" * 12]
    replies = [
        ok({**CONTAINER, "id": ids[0]}),
        refused(400, "OPERATION_STATE_CONFLICT"),
        ok({**CONTAINER, "id": ids[2]}),
    ]
    code, script = command(["keep-alive", *ids, ids[0]], *replies)
    out, err = capsys.readouterr()
    assert (code, script.sent) == (9, ["POST keep-alive"] * 3)
    assert [line.split("\t")[0] for line in out.splitlines()] == [ids[0], ids[2]]
    assert f"error: {ids[1]}: OPERATION_STATE_CONFLICT" in err
    code, _ = command(["keep-alive", ids[0], "--json"], refused(400, "OPERATION_STATE_CONFLICT"))
    assert (code, json.loads(capsys.readouterr().err)["exit_code"]) == (3, 3)


def test_a_limited_container_on_a_terminal(stack: LocalStack, seeder: Seeder, tmp_path: Any, fresh_id: str) -> None:
    """`status` and `ls` show the limits."""
    seeder.add(fresh_id, ["stopped", "running"], name=f"limited-{fresh_id[-6:]}")
    with Longshore(stack.url, tokens.token("owner")) as client:
        client.api.containers.update(
            fresh_id, stop_at=soon(1.75), hold_until=datetime(2099, 1, 1, tzinfo=UTC), protection="demo"
        )
    env = environment(tmp_path, LONGSHORE_URL=stack.url, LONGSHORE_TOKEN=tokens.token("operator"))
    with Terminal(["status", fresh_id], env) as status:
        assert status.end() == 0
    lines = dict(line.split(maxsplit=1) for line in status.text.splitlines())
    assert lines["stops"].startswith("in 1 h 44 min, at ")
    assert lines["held"].strip() == "until 2099-01-01T00:00:00.000Z"
    assert lines["protected"].strip() == "demo"
    with Terminal(["ls", "--project", PROJECT, "--name", f"limited-{fresh_id[-6:]}"], env) as listed:
        assert listed.end() == 0
    words = " ".join(listed.text.split())
    assert "LIMITS" in words
    assert "stops in 1 h 44 min" in words


# Texts


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({}, "-"),
        ({"stop_at": "2026-03-02T10:40:00Z"}, "stops in 1 h 40 min"),
        ({"stop_at": "2026-03-02T10:40:00Z", "idle_at": "2026-03-02T09:05:30Z"}, "stops in 5 min 30 s"),
        ({"stop_at": "2026-03-02T08:59:00Z"}, "stops as soon as possible"),
        ({"stop_at": "2026-03-02T10:40:00Z", "status": "stopped"}, "-"),
        ({"hold_until": "2026-03-02T10:40:00Z"}, "held until 2026-03-02T10:40:00.000Z"),
        ({"hold_until": "2026-03-02T08:40:00Z"}, "-"),
        (
            {"protection": {"reason": "demo"}, "stop_at": "2026-03-04T11:00:00Z"},
            "stops in 2 d 2 h, protected: demo",
        ),
    ],
)
def test_limits_in_one_line(limits: dict[str, Any], text: str) -> None:
    assert limits_text(limited(**limits), NOW) == text


def test_limits_in_rows() -> None:
    idle = {"idle_timeout": 7200, "idle_at": "2026-03-02T09:30:00Z", "stop_at": "2026-03-02T10:40:00Z"}
    assert limit_rows(limited(**idle), NOW) == {
        "stops": "in 1 h 40 min, at 2026-03-02T10:40:00.000Z",
        "idle": "stops in 30 min unless it is kept alive, timeout 2 h",
    }
    stopped = limited(**{**idle, "idle_at": None, "status": "stopped", "pending_operation": PENDING})
    assert limit_rows(stopped, NOW) == {
        "stops": "at 2026-03-02T10:40:00.000Z if it is running",
        "idle": "timeout 2 h",
    }


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("90s", 90, "1 min 30 s"),
        ("30m", 1800, "30 min"),
        ("100m", 6000, "1 h 40 min"),
        ("3d", 259_200, "3 d"),
        ("1w", 604_800, "7 d"),
    ],
)
def test_durations(text: str, seconds: int, shown: str) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert duration_text(timedelta(seconds=seconds)) == shown


@pytest.mark.parametrize("text", ["", "2", "0h", "-2h", "2x", "2h30m", "1.5h", "9999999d"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)
