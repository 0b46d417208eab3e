"""Parts of `longshore` with prepared responses instead of an API: changes, project histories, limits and texts."""

import asyncio
import csv
import io
import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from client.script import CONTAINER, ID, PENDING, STARTED, Command, Scripted, ok, refused
from longshore_client import AsyncLongshore, Container
from longshore_client.cli import bulk, follow
from longshore_client.cli.bulk import Bulk
from longshore_client.cli.history_view import print_csv
from longshore_client.cli.text import escaped, json_text, parse_time
from longshore_client.models import StatusLog

PROJECT = "507f1f77bcf86cd799439033"
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def row(number: int, at: float, **more: Any) -> dict[str, Any]:
    moment = (NOW + timedelta(seconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": f"{number:024x}",
        "container_id": ID,
        "container_name": "orders",
        "from_status": "stopped",
        "to_status": "running",
        "transition_time": moment,
        "created_at": moment,
        "duration_ms": 1500,
        "triggered_by": "user",
        "metadata": {"command": "start", "actor": "ann"},
        **more,
    }


def logs(*rows: dict[str, Any], cursor: str | None = None) -> httpx.Response:
    return ok({"logs": list(rows), "pagination": {"limit": 100, "next_cursor": cursor}})


# Changes


def test_rename(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    code, script = command(["rename", ID, "invoices"], ok({**CONTAINER, "name": "invoices"}))
    assert code == 0
    assert [json.loads(request.content) for request in script.requests] == [{"name": "invoices"}]
    assert "name\tinvoices\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "labels"),
    [
        (["env:prod"], {"env": "prod", "team": "a"}),
        (["env=prod:1"], {"env": "prod:1", "team": "a"}),
        (["tier:web:1"], {"env": "dev", "team": "a", "tier": "web:1"}),
        (["note:", "--remove", "team"], {"env": "dev", "note": ""}),
        (["--remove", "env", "--remove", "team", "--remove", "other"], None),
    ],
)
def test_label(command: Command, arguments: list[str], labels: dict[str, str] | None) -> None:
    """Labels that are not mentioned are kept."""
    before = {**CONTAINER, "labels": {"env": "dev", "team": "a"}}
    code, script = command(["label", ID, *arguments], ok(before), ok({**CONTAINER, "labels": labels}))
    assert code == 0
    assert json.loads(script.requests[1].content) == {"labels": labels}


def test_a_change_that_is_not_permitted(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = command(["rename", ID, "invoices", "--json"], refused(403, "INSUFFICIENT_PERMISSIONS"))
    assert code == 4
    assert json.loads(capsys.readouterr().err)["code"] == "INSUFFICIENT_PERMISSIONS"


# The history of a project


def test_the_history_of_a_project(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["history", "--project", PROJECT, "--from", "2026-03-02T08:00:00Z", "--status", "running"]
    replies = [logs(row(2, 2), cursor="c"), logs(row(1, 1), row(0, 0))]
    code, script = command([*arguments, "--limit", "2"], *replies)
    assert code == 0
    query = dict(script.requests[1].url.params)
    assert query == {
        "sort_order": "desc",
        "from": "2026-03-02T08:00:00+00:00",
        "to_status": "running",
        "limit": "100",
        "cursor": "c",
    }
    assert capsys.readouterr().out.splitlines() == [
        f"2026-03-02T09:00:0{at}.000Z\tstopped\trunning\t1500\tuser\tstart by ann\t{ID}\torders" for at in (2, 1)
    ]


def test_a_project_by_name(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    projects = [{"id": PROJECT, "name": "shop", "role": "owner"}, {"id": ID, "name": "other", "role": "viewer"}]
    code, script = command(["history", "--project", "shop", "--json"], ok({"projects": projects}), logs(row(1, 1)))
    assert code == 0
    assert script.requests[1].url.path == f"/prod/api/v1/projects/{PROJECT}/status-logs"
    assert [each["id"] for each in json.loads(capsys.readouterr().out)["logs"]] == [f"{1:024x}"]


def test_following_a_project(scripted: Scripted, pauses: list[float]) -> None:
    """A row that appears late is returned, no row is returned twice, and lost responses are retried."""
    client, script = scripted(
        logs(row(2, 20), row(1, 10)),
        logs(row(3, 30)),
        httpx.ReadError("lost"),
        *[httpx.ReadError("lost")] * 4,
        logs(row(4, 25), row(3, 30)),
        logs(row(4, 25), row(3, 30)),
        logs(row(3, 30), row(5, 200)),
        logs(row(5, 200), row(6, 201)),
    )
    notes: list[str] = []
    parts = follow.follow_project(client, PROJECT, 2, notes.append)
    found = [[each.id for each in next(parts)] for _ in range(5)]
    assert found == [[f"{number:024x}" for number in part] for part in ([1, 2], [3], [4], [5], [6])]
    assert len(notes) == 1
    starts = [request.url.params.get("from") for request in script.requests]
    first = "2026-03-02T09:00:20.001000+00:00"
    assert starts == [None, *[first] * 9, "2026-03-02T09:02:20+00:00"]


def test_csv_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """A cell is neither a formula of a spreadsheet nor a control sequence of a terminal."""
    cells = {"container_name": "=1+1\x1b[2J", "from_status": None, "metadata": {"reason": "a,\u202eb"}}
    print_csv([StatusLog.of(row(1, 1, **cells))])
    text = capsys.readouterr().out
    (printed,) = csv.DictReader(io.StringIO(text))
    assert printed["container_name"] == r"'=1+1\x1b[2J"
    assert printed["from_status"] == ""
    assert r"\u202e" in printed["metadata"]
    assert json.loads(printed["metadata"]) == {"reason": "a,\u202eb"}


# Operations on several containers


def test_rate_limits_and_concurrency(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most eight requests run at the same time, and none is repeated before its Retry-After."""
    running = peak = 0
    requests: Counter[str] = Counter()
    keys: dict[str, set[str]] = {}
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        await sleep(0)
        await sleep(0)
        running -= 1
        container = request.url.path.split("/")[-2]
        keys.setdefault(container, set()).add(request.headers["Idempotency-Key"])
        assert request.headers["Prefer"] == "respond-async"
        requests[container] += 1
        if requests[container] < 3:
            return refused(429, "RATE_LIMITED", {"Retry-After": "7"})
        return ok({**STARTED, "container_id": container})

    monkeypatch.setattr(asyncio, "sleep", pause)
    targets = [Container.of({**CONTAINER, "id": f"{number:024x}"}) for number in range(40)]
    run = Bulk("start", targets, "run", waits=True, timeout=60)

    async def use() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        async with http, AsyncLongshore("https://api.example", "token", http_client=http) as client:
            await run.run(client, lambda: None)

    asyncio.run(use())
    assert all(outcome.result for outcome in run.outcomes)
    assert keys == {container.id: {f"run.{container.id}"} for container in targets}
    assert peak == bulk.CONCURRENCY
    assert len(pauses) == 80
    assert min(pauses) >= 7


def test_all_operations_are_requested_before_the_first_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that does not end uses up its timeout, and does not delay the others."""
    clock = 0.0
    order: list[str] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        nonlocal clock
        clock += seconds
        await sleep(0)

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal clock
        order.append(request.method)
        await sleep(0)
        if request.method == "POST":
            container = request.url.path.split("/")[-2]
            return ok({**STARTED, "container_id": container, "status": "stopped", "pending_operation": PENDING}, 202)
        clock += float(request.url.params.get("timeout", 0))
        return ok({**CONTAINER, "id": request.url.path.split("/")[-1], "pending_operation": PENDING})

    monkeypatch.setattr(asyncio, "sleep", pause)
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    targets = [Container.of({**CONTAINER, "id": f"{number:024x}"}) for number in range(20)]
    run = Bulk("start", targets, "run", waits=True, timeout=25)

    async def use() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        async with http, AsyncLongshore("https://api.example", "token", http_client=http) as client:
            await run.run(client, lambda: None)

    asyncio.run(use())
    assert order[:20] == ["POST"] * 20
    assert "POST" not in order[20:]
    assert {type(outcome.error).__name__ for outcome in run.outcomes} == {"WaitTimeoutError"}
    assert len(run.outcomes) == 20


def test_a_token_that_expires_during_a_run(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """The run ends. Its outcomes so far and its id are printed."""
    ids = [f"{number:024x}" for number in range(20)]
    pagination = {"total": 20, "page": 1, "limit": 100, "totalPages": 1}
    found = ok({"containers": [{**CONTAINER, "id": each} for each in ids], "pagination": pagination})
    replies = [*(ok({**STARTED, "container_id": each}) for each in ids[:3]), *[refused(401, "TOKEN_EXPIRED")] * 17]
    code, _ = command(["start", "--name", "orders", "--yes"], found, *replies)
    out, err = capsys.readouterr()
    assert code == 5
    assert [line.split("\t")[0] for line in out.splitlines()] == ids[:3]
    assert "start: 3 of 20 containers succeeded\n" in err
    assert "add --run-id " in err
    assert "TOKEN_EXPIRED" in err


# Texts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30m", NOW - timedelta(minutes=30)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("1w", NOW - timedelta(weeks=1)),
        ("2026-03-01T10:00:00+01:00", NOW - timedelta(days=1)),
        ("2026-03-01T09:00:00.000Z", NOW - timedelta(days=1)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "now", "2x", "-2h", "2026-03-01", "2026-03-01T09:00:00", "999999w", "2h30m"])
def test_invalid_times(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time with an offset"):
        parse_time(text, NOW)


def test_escaped_characters() -> None:
    dangerous = "".join(map(chr, [0, 7, 8, 9, 10, 13, 27, 127, 0x9B, 0x200E, 0x202E, 0x2066, 0x2028, 0xFEFF, 0xE0041]))
    assert escaped(dangerous).isascii()
    assert escaped("Grüße, 世界 🚢") == "Grüße, 世界 🚢"
    data = {dangerous: [dangerous, "Grüße 🚢"]}
    for indent in (None, 2):
        text = json_text(data, indent=indent)
        assert json.loads(text) == data
        assert text.replace("\n", "").isprintable()
        assert "Grüße 🚢" in text
