"""The `longshore` command, run as a program against the local stack."""

import csv
import io
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import Api
from client.error_page import ErrorPage
from client.terminal import COMMAND, Terminal, environment, interruptible, run
from invariants import check
from lossy_proxy import LossyProxy

from local import tokens
from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

HISTORY_ROWS = 1000

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def env(stack: LocalStack, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, LONGSHORE_URL=stack.url, LONGSHORE_TOKEN=tokens.token("operator"))


@pytest.fixture
def longshore(env: dict[str, str]) -> Run:
    """Runs the command in a pipe."""

    def call(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return run(arguments, {**env, **more})

    return call


@pytest.fixture
def terminal(env: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Runs the command on a terminal."""
    made: list[Terminal] = []

    def call(*arguments: str, **more: str) -> Terminal:
        made.append(Terminal(arguments, {**env, **more}))
        return made[-1]

    yield call
    for each in made:
        each.__exit__()


# In a pipe


def test_operations(longshore: Run, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    for operation, status, past in [
        ("start", "running", "started"),
        ("pause", "paused", "paused"),
        ("resume", "running", "resumed"),
        ("restart", "running", "restarted"),
        ("stop", "stopped", "stopped"),
        ("start", "running", "started"),
        ("force-stop", "stopped", "force-stopped"),
    ]:
        done = longshore(operation, fresh_id, "--wait")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{fresh_id}\t{operation}\t{status}\tContainer {past} successfully\n"
    check(stack, fresh_id)


def test_an_operation_as_json(longshore: Run, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    done = longshore("start", fresh_id, "--json")
    assert json.loads(done.stdout) == {
        "error": False,
        "operation": "start",
        "container_id": fresh_id,
        "project_id": PROJECT,
        "message": "Container started successfully",
        "status": "running",
    }


def test_status(longshore: Run, api: Api) -> None:
    container = api.get(container_id(12)).json()["data"]
    done = longshore("status", container_id(12))
    assert done.returncode == 0
    assert dict(line.split("\t") for line in done.stdout.splitlines()) == {
        "id": container_id(12),
        "name": "payments",
        "project": PROJECT,
        "status": "running",
        "since": container["status_since"],
        "allowed": "stop,force-stop,restart,pause",
        "pending": "-",
        "labels": "-",
        "task": "web",
        "launch": "EC2",
        "server": "-",
        **dict.fromkeys(("stop_at", "hold_until", "idle_timeout", "idle_at", "protection"), "-"),
        "kind": "task",
        "count": "-",
    }
    assert json.loads(longshore("status", container_id(12), "--json").stdout) == container


def test_history(longshore: Run, api: Api) -> None:
    query: dict[str, Any] = {"sort_by": "to_status", "sort_order": "asc", "page": 3, "limit": 7}
    expected = api.logs(container_id(17), **query).json()["data"]
    arguments = ["history", container_id(17), "--sort-by", "to_status", "--order", "asc", "--page", "3", "--limit", "7"]
    done = longshore(*arguments)
    assert done.returncode == 0
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert [line[:5] for line in lines] == [
        [
            row["transition_time"],
            row["from_status"] or "-",
            row["to_status"],
            str(row["duration_ms"] if row["duration_ms"] is not None else "-"),
            row["triggered_by"],
        ]
        for row in expected["logs"]
    ]
    assert all(len(line) == 6 and all(line) for line in lines)
    assert json.loads(longshore(*arguments, "--json").stdout) == expected


def test_the_default_page_of_the_history(longshore: Run, api: Api) -> None:
    expected = api.logs(container_id(17)).json()["data"]["logs"]
    lines = longshore("history", container_id(17)).stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [row["transition_time"] for row in expected]


CASES: list[tuple[list[str], dict[str, str], int, list[str]]] = [
    (
        ["start", container_id(12)],
        {},
        3,
        ["Container is already running (OPERATION_STATE_CONFLICT)", "Allowed operations: stop"],
    ),
    (["start", container_id(15)], {}, 3, ["(OPERATION_NOT_PERMITTED_ON_EXPIRED)", "Use another container"]),
    (["status", "f" * 24], {}, 4, ["Container not found (CONTAINER_NOT_FOUND)"]),
    (["stop", container_id(12)], {"LONGSHORE_TOKEN": tokens.token("viewer")}, 4, ["(INSUFFICIENT_PERMISSIONS)"]),
    (["stop", container_id(12)], {"LONGSHORE_TOKEN": tokens.token("banned")}, 4, ["(ACCOUNT_BANNED)"]),
    (["status", container_id(12)], {"LONGSHORE_TOKEN": "no.token"}, 5, ["(INVALID_TOKEN)", "Get a new token"]),
    (["status", container_id(12)], {"LONGSHORE_TOKEN": tokens.token("operator", -60)}, 5, ["(TOKEN_EXPIRED)"]),
    (["pause", container_id(16)], {}, 2, ["(VALIDATION_ERROR)"]),
]


@pytest.mark.parametrize(("arguments", "more", "code", "expected"), CASES, ids=lambda value: str(value)[:40])
def test_errors_of_the_api(
    longshore: Run, env: dict[str, str], arguments: list[str], more: dict[str, str], code: int, expected: list[str]
) -> None:
    done = longshore(*arguments, **more)
    assert (done.returncode, done.stdout) == (code, "")
    first, *_, last = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert last.startswith("  request id: ")
    for words in expected:
        assert words in done.stderr
    assert (env | more)["LONGSHORE_TOKEN"] not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["explode", container_id(12)],
        ["start"],
        ["history", container_id(12), "--limit", "101"],
        ["history", container_id(12), "--page", "0"],
        ["history", container_id(12), "--sort-by", "name"],
        ["history", container_id(12), "--follow", "--page", "2"],
        ["history", container_id(12), "--follow", "--order", "asc"],
        ["history", container_id(12), "--follow", "--to", "1h"],
        ["history", container_id(12), "--csv", "--json"],
        ["history", container_id(12), "--from", "2026-03-02T09:00:00"],
        ["history", container_id(12), "--from", "yesterday"],
        ["history"],
        ["stop", container_id(12), "--status", "running"],
        ["stop", container_id(12), "--run-id", "two words"],
        ["label", container_id(12)],
        ["label", container_id(12), "env"],
    ],
    ids=" ".join,
)
def test_usage(longshore: Run, arguments: list[str]) -> None:
    done = longshore(*arguments)
    assert done.returncode == 2
    assert "Usage: longshore" in done.stderr + done.stdout


def test_no_response(longshore: Run) -> None:
    done = longshore("status", container_id(12), LONGSHORE_URL="http://127.0.0.1:1")
    assert done.returncode == 6
    assert done.stderr.startswith("error: no response to GET http://127.0.0.1:1/api/v1/containers/")


def test_a_response_of_another_service(longshore: Run, stack: LocalStack) -> None:
    done = longshore("status", container_id(12), LONGSHORE_URL=stack.emulator.url)
    assert done.returncode == 1
    assert "check the URL" in done.stderr


@pytest.mark.parametrize("position", [0, 2], ids=["before the command", "after the command"])
def test_global_options(longshore: Run, position: int) -> None:
    arguments = ["status", container_id(12)]
    arguments[position:position] = ["--json", "--token", tokens.token("viewer")]
    done = longshore(*arguments, LONGSHORE_TOKEN="no.token")
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "payments"


def test_an_error_as_json(longshore: Run) -> None:
    done = longshore("start", container_id(12), "--json")
    error = json.loads(done.stderr)
    assert (done.returncode, done.stdout) == (3, "")
    assert (error["code"], error["status_code"], error["exit_code"]) == ("OPERATION_STATE_CONFLICT", 400, 3)
    assert error["message"] == "Container is already running"
    assert error["data"]["allowed_operations"] == ["stop", "force-stop", "restart", "pause"]
    assert error["resolution"]
    assert error["request_id"]


def test_no_response_as_json(longshore: Run) -> None:
    done = longshore("--json", "status", container_id(12), LONGSHORE_URL="http://127.0.0.1:1")
    error = json.loads(done.stderr)
    assert (done.returncode, error["code"], error["exit_code"]) == (6, "NO_RESPONSE", 6)


def test_an_error_page_of_a_proxy(longshore: Run) -> None:
    with ErrorPage(503) as proxy:
        done = longshore("status", container_id(12), LONGSHORE_URL=proxy.url)
    assert done.returncode == 6
    assert done.stderr == "error: HTTP 503 from a proxy or load balancer: the Longshore API is not available\n"


def test_a_closed_pipe(env: dict[str, str]) -> None:
    """`longshore … | head` ends without a message."""
    command = f"{COMMAND} history {container_id(17)} --csv | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, timeout=120, check=True)
    header, code = done.stdout.splitlines()
    assert header.startswith("transition_time,")
    assert (code, done.stderr) == ("141", "")


def test_csv(longshore: Run, api: Api) -> None:
    """All rows are printed unless a page is specified."""
    rows = api.rows(container_id(17))
    printed = list(csv.DictReader(io.StringIO(longshore("history", container_id(17), "--csv").stdout)))
    assert [row["transition_time"] for row in printed] == [row["transition_time"] for row in reversed(rows)]
    assert json.loads(printed[0]["metadata"]) == rows[-1]["metadata"]
    page = longshore("history", container_id(17), "--csv", "--limit", "3", "--page", "2").stdout
    assert list(csv.DictReader(io.StringIO(page))) == printed[3:6]


def test_lost_responses_are_retried(longshore: Run, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    with LossyProxy(stack.url) as proxy:
        for operation in ("start", "pause", "resume", "stop"):
            assert longshore(operation, fresh_id, LONGSHORE_URL=proxy.url).returncode == 0
        assert proxy.fates["reply lost"] == 1
    assert check(stack, fresh_id)["log_count"] == 5


def test_an_operation_that_is_still_pending(longshore: Run, seeder: Seeder, fresh_id: str) -> None:
    seeder.task_definition("never", labels={"simulate.start": "never"})
    seeder.add(fresh_id, ["stopped"], task_definition="never")
    waited = longshore("start", fresh_id, "--wait", "--timeout", "0.1")
    assert (waited.returncode, waited.stdout) == (7, "")
    assert waited.stderr.startswith("error: start is still pending after 0.1 s\n")
    assert f"Check its progress: longshore status {fresh_id}" in waited.stderr
    assert "\npending\tstart since 2" in longshore("status", fresh_id).stdout


def test_characters_that_are_not_printable_are_escaped(longshore: Run, seeder: Seeder, fresh_id: str) -> None:
    name = "evil\x1b[2J\x9bname\tand \u202emore \U000e0041é"
    seeder.add(fresh_id, ["stopped"], name=name)
    line = longshore("status", fresh_id).stdout.splitlines()[1]
    assert line == "name\t" + r"evil\x1b[2J\x9bname\tand \u202emore \U000e0041é"
    printed = longshore("status", fresh_id, "--json").stdout
    assert json.loads(printed)["name"] == name
    assert all(character.isprintable() or character == "\n" for character in printed)
    assert "é" in printed


def test_help(longshore: Run) -> None:
    printed = longshore("--help").stdout
    for command in ("start", "stop", "force-stop", "restart", "pause", "resume", "status", "history", "ls", "label"):
        assert command in printed
    assert "Exit codes" in printed
    assert longshore("-h").stdout == printed
    assert "--run-id" in longshore("stop", "-h").stdout
    assert longshore("--version").stdout.startswith("longshore ")


# --follow


def test_follow(env: dict[str, str], stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    """Each row is printed once and in order while responses are lost. With --json, each line is a row."""
    seeder.add(fresh_id, ["stopped", "running", "stopped"])
    with LossyProxy(stack.url) as proxy:
        with interruptible():
            following = subprocess.Popen(
                [COMMAND, "history", fresh_id, "--follow", "--json", "--limit", "2"],
                env={**env, "LONGSHORE_URL": proxy.url},
                stdout=subprocess.PIPE,
                text=True,
            )
        try:
            assert following.stdout
            printed = [json.loads(following.stdout.readline()) for _ in range(2)]
            for operation in ("start", "restart", "pause", "stop"):
                assert api.post(fresh_id, operation).status_code == 200
            printed += [json.loads(following.stdout.readline()) for _ in range(5)]
            following.send_signal(signal.SIGINT)
            rest, _ = following.communicate(timeout=60)
        finally:
            following.kill()
            following.wait()
    assert rest == ""
    assert following.returncode == 130
    assert printed == api.rows(fresh_id)[1:]


def test_follow_ends_when_the_token_is_refused(longshore: Run) -> None:
    done = longshore("history", container_id(12), "--follow", LONGSHORE_TOKEN=tokens.token("operator", -60))
    assert done.returncode == 5


# On a terminal


def test_a_table_in_colours(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("history", container_id(14))
    assert shown.end() == 0
    header, newest, folded, *_, footer = shown.text.splitlines()
    assert header.split() == ["TIME", "FROM", "TO", "TOOK", "BY", "WHAT"]
    assert "running" in newest
    assert newest.rstrip().endswith("Essential container in task exited, exit code")
    assert folded.strip() == "1"
    assert footer.strip() == "page 1 of 1, 3 rows"
    assert "\x1b[31mfailed" in shown.raw


def test_no_colours(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("history", container_id(14), NO_COLOR="1")
    assert shown.end() == 0
    assert "\x1b[3" not in shown.raw
    assert "failed" in shown.raw


def test_a_conflict_on_a_terminal(terminal: Callable[..., Terminal]) -> None:
    shown = terminal("start", container_id(12))
    assert shown.end() == 3
    assert "error: Container is already running (OPERATION_STATE_CONFLICT)" in shown.text
    assert "\x1b[1;31merror: " in shown.raw


def test_a_spinner_while_waiting(
    terminal: Callable[..., Terminal], stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, ["stopped"])
    shown = terminal("start", fresh_id, "--wait")
    assert shown.end() == 0
    assert "start …" in shown.text
    assert "✓ Container started successfully" in shown.text
    assert check(stack, fresh_id)["status"] == "running"


def test_interrupted_while_waiting(terminal: Callable[..., Terminal], seeder: Seeder, fresh_id: str) -> None:
    seeder.task_definition("never", labels={"simulate.start": "never"})
    seeder.add(fresh_id, ["stopped"], task_definition="never")
    shown = terminal("start", fresh_id, "--wait")
    shown.read_until(lambda text: "start …" in text)
    shown.interrupt()
    assert shown.end() == 130
    assert f"interrupted; the start may continue: longshore status {fresh_id}" in shown.text
    assert "Traceback" not in shown.text


def test_follow_on_a_terminal(terminal: Callable[..., Terminal], api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    shown = terminal("history", fresh_id, "--follow")
    shown.read_until(lambda text: "Registered" in text)
    api.post(fresh_id, "start")
    shown.read_until(lambda text: "start by operator" in text)
    shown.interrupt()
    assert shown.end() == 130
    lines = [line for line in shown.text.splitlines() if line.strip() and "^C" not in line]
    header, first, second = lines
    assert first.index("stopped") == second.index("running") == header.index("TO  ")
