"""Schedules in the client and in `longshore schedule`."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from client.script import CONTAINER, ID, Command, Scripted, ok, refused
from client.terminal import Terminal, environment, run
from longshore_client import AsyncLongshore, Longshore, Schedule
from longshore_client.errors import ScheduleNotFoundError, ValidationError

from local import tokens
from local.seed import Seeder
from local.stack import LocalStack

PROJECT = "507f1f77bcf86cd799439033"
EVENINGS = {
    "name": "evenings",
    "operation": "stop",
    "expression": "cron(0 20 ? * MON-FRI *)",
    "timezone": "Europe/Berlin",
    "targets": {"labels": {"env": "dev"}},
    "enabled": True,
    "created_by": "ann",
    "updated_at": "2026-03-02T09:00:00.000Z",
    "next_runs": ["2026-03-02T19:00:00.000Z", "2026-03-03T19:00:00.000Z"],
}
SETTINGS = {name: EVENINGS[name] for name in ("operation", "expression", "timezone", "targets", "enabled")}


@pytest.fixture
def project(seeder: Seeder, fresh_id: str) -> str:
    """A project without schedules, in which the users of the demo have their roles."""
    identity = f"{fresh_id[-8:]}{0:016x}"
    seeder.members(identity)
    return identity


# The client


def test_a_schedule(client: Longshore, project: str) -> None:
    schedules = client.api.schedules
    assert schedules.get_all(project) == ()
    saved = schedules.save(
        project, "new-year", operation="start", expression="at(2099-01-01T00:00:00)", targets={"all": True}
    )
    assert (saved.name, saved.operation, saved.timezone, saved.targets) == ("new-year", "start", "UTC", {"all": True})
    assert (saved.enabled, saved.created_by) == (True, "operator")
    assert saved.next_runs == (datetime(2099, 1, 1, tzinfo=UTC),)
    assert schedules.get(project, "new-year") == saved
    assert schedules.get_all(project) == (saved,)
    paused = schedules.save(
        project,
        "new-year",
        operation="start",
        expression=saved.expression,
        targets={"labels": {"env": "dev"}},
        timezone="Asia/Tokyo",
        enabled=False,
    )
    assert (paused.targets, paused.timezone, paused.next_runs) == ({"labels": {"env": "dev"}}, "Asia/Tokyo", ())
    for _ in range(2):
        schedules.delete(project, "new-year")
    with pytest.raises(ScheduleNotFoundError):
        schedules.get(project, "new-year")


def test_an_invalid_schedule(client: Longshore, project: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        client.api.schedules.save(project, "x", operation="stop", expression="cron(x)", targets={"all": True})
    assert [fault["instancePath"] for fault in refusal.value.faults] == ["/expression"]


def test_asyncio(stack: LocalStack, project: str) -> None:
    async def use() -> list[Any]:
        async with AsyncLongshore(stack.url, tokens.token("operator")) as client:
            schedules = client.api.schedules
            saved = await schedules.save(
                project, "hourly", operation="stop", expression="rate(1 hour)", targets={"all": True}
            )
            found = [saved, await schedules.get(project, "hourly"), *await schedules.get_all(project)]
            await schedules.delete(project, "hourly")
            return [*found, await schedules.get_all(project)]

    saved, *found, left = asyncio.run(use())
    assert found == [saved, saved]
    assert left == ()


def test_lost_replies(scripted: Scripted) -> None:
    """All requests are repeated."""
    lost = httpx.ReadError("lost")
    replies = [lost, ok(EVENINGS), lost, ok({"name": "evenings"}), lost, ok({"schedules": [EVENINGS]})]
    client, script = scripted(*replies)
    schedule = Schedule.of(EVENINGS)
    saved = client.api.schedules.save(
        PROJECT,
        "evenings",
        operation=schedule.operation,
        expression=schedule.expression,
        targets=schedule.targets,
        timezone=schedule.timezone,
    )
    client.api.schedules.delete(PROJECT, "evenings")
    assert client.api.schedules.get_all(PROJECT) == (saved,) == (schedule,)
    assert script.sent == ["PUT evenings"] * 2 + ["DELETE evenings"] * 2 + ["GET schedules"] * 2
    assert [json.loads(request.content) for request in script.requests[:2]] == [SETTINGS] * 2


def test_an_empty_name(scripted: Scripted) -> None:
    """It would be the path of the list."""
    client, script = scripted()
    with pytest.raises(ValueError, match="must not be empty"):
        client.api.schedules.get(PROJECT, "")
    assert script.requests == []


# The command line, with prepared responses


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--cron", "0 20 ? * MON-FRI *", "--timezone", "Europe/Berlin", "--label", "env=dev"], {}),
        (
            ["--rate", "12 hours", "--label", "env:dev", "--label", "team:a"],
            {
                "expression": "rate(12 hours)",
                "timezone": "UTC",
                "targets": {"labels": {"env": "dev", "team": "a"}},
            },
        ),
        (
            ["--at", "2099-01-01T00:00:00", "--all", "--disabled"],
            {
                "expression": "at(2099-01-01T00:00:00)",
                "timezone": "UTC",
                "targets": {"all": True},
                "enabled": False,
            },
        ),
        (
            ["--rate", "1 day", "--container", ID, "--container", ID],
            {
                "expression": "rate(1 day)",
                "timezone": "UTC",
                "targets": {"container_ids": [ID]},
            },
        ),
    ],
)
def test_set(command: Command, arguments: list[str], settings: dict[str, Any]) -> None:
    words = ["schedule", "set", "evenings", "--operation", "stop", "--project", PROJECT]
    code, script = command([*words, *arguments], ok(EVENINGS))
    assert (code, script.sent) == (0, ["PUT evenings"])
    assert script.requests[0].url.path == f"/prod/api/v1/projects/{PROJECT}/schedules/evenings"
    assert json.loads(script.requests[0].content) == {**SETTINGS, **settings}


def test_containers_by_name(command: Command) -> None:
    pagination = {"total": 1, "page": 1, "limit": 100, "totalPages": 1}
    found = ok({"containers": [CONTAINER], "pagination": pagination})
    words = ["schedule", "set", "x", "--operation", "stop", "--rate", "1 day", "--container", "orders"]
    code, script = command([*words, "--project", PROJECT], found, ok(EVENINGS))
    assert code == 0
    assert json.loads(script.requests[1].content)["targets"] == {"container_ids": [ID]}


@pytest.mark.parametrize(
    "arguments",
    [
        ["set", "x", "--all", "--rate", "1 day"],
        ["set", "x", "--operation", "sleep", "--all", "--rate", "1 day"],
        ["set", "x", "--operation", "stop", "--all"],
        ["set", "x", "--operation", "stop", "--rate", "1 day"],
        ["set", "x", "--operation", "stop", "--all", "--rate", "1 day", "--cron", "0 20 * * ? *"],
        ["set", "x", "--operation", "stop", "--all", "--rate", "1 day", "--label", "env:dev"],
        ["set", "x", "--operation", "stop", "--rate", "1 day", "--label", "env"],
        ["set", "x", "--operation", "stop", "--rate", "1 day", "--label", "env:dev", "--label", "env:prod"],
        ["show"],
        ["sleep"],
    ],
)
def test_usage(command: Command, arguments: list[str]) -> None:
    code, script = command(["schedule", *arguments, "--project", PROJECT])
    assert (code, script.requests) == (2, [])


def test_pause_and_resume(command: Command) -> None:
    """The schedule is saved as it was read. If it already has the state, nothing is saved."""
    paused = {**EVENINGS, "enabled": False, "next_runs": []}
    for subcommand, before, after in (("pause", EVENINGS, paused), ("resume", paused, EVENINGS)):
        words = ["schedule", subcommand, "evenings", "--project", PROJECT]
        code, script = command(words, ok(before), ok(after))
        assert (code, script.sent) == (0, ["GET evenings", "PUT evenings"])
        assert json.loads(script.requests[1].content) == {**SETTINGS, "enabled": after["enabled"]}
        code, script = command(words, ok(after))
        assert (code, script.sent) == (0, ["GET evenings"])


def test_the_only_project(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --project, the user's only project is used."""
    projects = [{"id": PROJECT, "name": "shop", "role": "owner"}, {"id": ID, "name": None, "role": "viewer"}]
    code, script = command(["schedule", "ls"], ok({"projects": projects[:1]}), ok({"schedules": [EVENINGS]}))
    assert (code, script.sent) == (0, ["GET projects", "GET schedules"])
    expected = "evenings\tstop\tcron(0 20 ? * MON-FRI *)\tEurope/Berlin\tenabled\t2026-03-02T19:00:00.000Z"
    assert capsys.readouterr().out == f"{expected}\tenv:dev\tann\n"
    code, _ = command(["schedule", "ls"], ok({"projects": projects}))
    assert code == 2
    assert f"{PROJECT}  shop" in capsys.readouterr().err


def test_output(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--project", PROJECT]
    assert command(["schedule", "show", "evenings", *words], ok(EVENINGS))[0] == 0
    assert dict(line.split("\t") for line in capsys.readouterr().out.splitlines()) == {
        "name": "evenings",
        "operation": "stop",
        "expression": "cron(0 20 ? * MON-FRI *)",
        "timezone": "Europe/Berlin",
        "targets": "env:dev",
        "state": "enabled",
        "next": "2026-03-02T19:00:00.000Z,2026-03-03T19:00:00.000Z",
        "saved": "2026-03-02T09:00:00.000Z",
        "by": "ann",
    }
    assert command(["schedule", "ls", *words, "--json"], ok({"schedules": [EVENINGS]}))[0] == 0
    assert json.loads(capsys.readouterr().out) == {"schedules": [EVENINGS]}
    assert command(["--json", "schedule", "show", "evenings", *words], ok(EVENINGS))[0] == 0
    assert json.loads(capsys.readouterr().out) == EVENINGS
    assert command(["schedule", "rm", "evenings", *words, "--json"], ok({"name": "evenings"}))[0] == 0
    assert json.loads(capsys.readouterr().out) == {"name": "evenings"}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (refused(404, "SCHEDULE_NOT_FOUND"), 4),
        (refused(404, "PROJECT_NOT_FOUND"), 4),
        (refused(403, "INSUFFICIENT_PERMISSIONS"), 4),
        (refused(400, "VALIDATION_ERROR"), 2),
    ],
)
def test_errors(command: Command, capsys: pytest.CaptureFixture[str], reply: httpx.Response, expected: int) -> None:
    code, _ = command(["schedule", "show", "evenings", "--project", PROJECT, "--json"], reply)
    error = json.loads(capsys.readouterr().err)
    assert (code, error["exit_code"], error["code"]) == (expected, expected, reply.json()["code"])


# The command line against the local stack


@pytest.fixture
def env(stack: LocalStack, tmp_path: Any) -> dict[str, str]:
    return environment(tmp_path, LONGSHORE_URL=stack.url, LONGSHORE_TOKEN=tokens.token("operator"))


def test_the_life_of_a_schedule(env: dict[str, str], project: str) -> None:
    def schedule(*arguments: str) -> str:
        done = run(["schedule", *arguments, "--project", project], env)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    words = ("--operation", "stop", "--cron", "0 20 ? * MON-FRI *", "--timezone", "Europe/Berlin", "--all")
    assert "\nstate\tenabled\n" in schedule("set", "evenings", *words)
    with Terminal(["schedule", "ls", "--project", project], env) as terminal:
        assert terminal.end() == 0
    assert terminal.text.splitlines()[0].split() == ["NAME", "OPERATION", "TIMES", "NEXT", "RUN", "TARGETS", "BY"]
    assert "(in " in terminal.text
    assert "\nnext\t-\n" in schedule("pause", "evenings")
    assert "\nstate\tenabled\n" in schedule("resume", "evenings")
    with Terminal(["schedule", "show", "evenings", "--project", project], env) as terminal:
        assert terminal.end() == 0
    assert terminal.text.count("(in ") == 3
    assert schedule("rm", "evenings") == "evenings\tdeleted\n"
    assert schedule("ls") == ""
