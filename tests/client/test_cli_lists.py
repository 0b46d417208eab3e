"""Lists, names, filters and changes with `longshore`, run in this process against the local stack."""

import json
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from api_client import Api
from client.terminal import COMMAND, Terminal, environment, interruptible
from invariants import check
from longshore_client import Longshore
from longshore_client.cli import main, targets

from local import tokens
from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

OTHER = "507f1f77bcf86cd799439044"
NAMES = ["builds", "legacy", "mailer", "orders", "payments", "reports", "search"]


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture
def longshore(stack: LocalStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a subcommand."""
    monkeypatch.setenv("LONGSHORE_URL", stack.url)
    monkeypatch.setenv("LONGSHORE_TOKEN", tokens.token("operator"))

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        # The stack runs in this process and logs to stdout.
        out = "".join(line for line in out.splitlines(keepends=True) if not line.startswith('{"level"'))
        return Done(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture(scope="module")
def others(stack: LocalStack) -> list[str]:
    """Add two containers to another project of the operator. One has the name of a container in the first project."""
    seeder = Seeder(stack)
    seeder.grant("operator", OTHER, "owner")
    ids = ["0a" * 12, "0b" * 12]
    seeder.add(ids[0], ["stopped", "running"], name="orders", project=OTHER)
    seeder.add(ids[1], ["stopped"], name="shared \u202emorf", project=OTHER)
    return ids


def test_a_list(longshore: Run, api: Api) -> None:
    done = longshore("ls", "--project", PROJECT)
    assert (done.code, done.err) == (0, "")
    assert [row[1] for row in done.rows] == NAMES
    orders = api.get(container_id(11)).json()["data"]
    assert done.rows[3] == [orders["id"], "orders", "stopped", orders["status_since"], PROJECT, *"--------"]


def test_the_filters_and_the_order_of_a_list(longshore: Run) -> None:
    done = longshore("ls", "--project", PROJECT, "--status", "failed", "--status", "expired", "--order", "desc")
    assert [row[1] for row in done.rows] == ["reports", "legacy"]
    assert [row[1] for row in longshore("ls", "--name", "SEAR", "--sort", "id").rows] == ["search"]
    assert longshore("ls", "--label", "env:dev").out == ""


def test_a_list_of_all_projects_as_json(longshore: Run, others: list[str]) -> None:
    found = json.loads(longshore("ls", "--json").out)["containers"]
    assert {each["id"] for each in found} >= {*others, container_id(11)}
    assert found[0].keys() >= {"server_id", "launch_type", "task_definition", "labels", "allowed_operations"}


def test_names_are_escaped(longshore: Run, others: list[str]) -> None:
    (row,) = longshore("ls", "--name", "shared").rows
    assert row[1] == r"shared \u202emorf"
    printed = longshore("ls", "--name", "shared", "--json").out
    assert json.loads(printed)["containers"][0]["name"] == "shared \u202emorf"
    assert r"\u202e" in printed


def test_the_projects(longshore: Run, others: list[str]) -> None:
    assert [[row[0], row[2]] for row in longshore("projects").rows] == [[PROJECT, "operator"], [OTHER, "owner"]]
    assert [each["id"] for each in json.loads(longshore("projects", "--json").out)["projects"]] == [PROJECT, OTHER]


def test_a_name_instead_of_an_id(longshore: Run, others: list[str]) -> None:
    assert longshore("status", "payments").rows[0] == ["id", container_id(12)]
    assert longshore("status", "orders", "--project", OTHER).rows[0] == ["id", others[0]]
    assert longshore("history", "payments", "--limit", "1").rows[0][2] == "running"


def test_an_ambiguous_name(longshore: Run, others: list[str]) -> None:
    done = longshore("start", "orders")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: 2 containers are named orders: specify the id, or the project with --project\n")
    assert f"  {container_id(11)}  stopped  project {PROJECT}\n" in done.err
    assert f"  {others[0]}  running  project {OTHER}\n" in done.err
    error = json.loads(longshore("start", "orders", "--json").err)
    assert (error["code"], error["exit_code"]) == ("AMBIGUOUS_CONTAINER", 2)
    assert {each["id"] for each in error["candidates"]} == {container_id(11), others[0]}


def test_an_unknown_name(longshore: Run) -> None:
    done = longshore("stop", "payment")
    assert (done.code, done.out) == (4, "")
    assert done.err == (
        f"error: no container that you may read is named payment\n  similar name: payments  {container_id(12)}\n"
    )
    assert longshore("status", "507F1F77BCF86CD799439011").code == 4
    assert longshore("ls", "--project", "nowhere").err == "error: you are not a member of a project named nowhere\n"
    assert longshore("ls", "--project", "f" * 24).code == 4


def test_an_operation_with_filters(longshore: Run, stack: LocalStack, seeder: Seeder) -> None:
    """Containers that do not allow the operation are skipped. If none allows it, nothing is done."""
    ids = [f"{0xF117E0 + number:024x}" for number in range(4)]
    for number, identity in enumerate(ids):
        statuses = ["stopped", "running"] if number < 3 else ["stopped"]
        seeder.add(identity, statuses, name=f"batch-{number}", project=OTHER)
    seeder.grant("operator", OTHER, "owner")
    filters = ["--project", OTHER, "--name", "batch-"]
    refused = longshore("stop", *filters, "--json")
    assert json.loads(refused.err.splitlines()[-1])["containers"] == ids[:3]
    done = longshore("stop", *filters, "--yes")
    assert done.code == 0
    assert sorted(done.rows) == [[id_, "stop", "stopped", "Container stopped successfully"] for id_ in ids[:3]]
    assert done.err.splitlines() == [
        "1 of 4 matching containers do not allow stop and are skipped",
        "stop: 3 of 3 containers succeeded",
    ]
    assert [check(stack, identity)["log_count"] for identity in ids] == [3, 3, 3, 1]
    again = longshore("stop", *filters, "--yes")
    assert (again.code, again.out) == (0, "")
    assert again.err.endswith("stop: 0 of 0 containers succeeded\n")


def test_a_name_and_labels(longshore: Run, seeder: Seeder, fresh_id: str) -> None:
    seeder.grant("operator", OTHER, "owner")
    seeder.add(fresh_id, ["stopped"], name="before", project=OTHER)
    assert longshore("rename", "before", "after", "--project", OTHER).code == 0
    assert longshore("label", fresh_id, "tier:web", "team:a").code == 0
    (row,) = longshore("ls", "--label", "tier:web", "--label", "team").rows
    assert (row[0], row[1], row[6]) == (fresh_id, "after", "team:a,tier:web")
    assert longshore("label", "after", "--remove", "team", "--remove", "tier").code == 0
    assert longshore("ls", "--label", "tier").out == ""
    refused = longshore("rename", "payments", "other")
    assert (refused.code, "(INSUFFICIENT_PERMISSIONS)" in refused.err) == (4, True)


def test_a_label_that_is_given_twice_is_refused(longshore: Run) -> None:
    done = longshore("stop", "--label", "env:dev", "--label", "env:prod", "--yes")
    assert (done.code, done.err) == (2, "error: --label: each key may be given once\n")


def test_the_completion_of_names(longshore: Run, others: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert longshore("projects").code == 0
    assert targets.complete_container("pay") == ["payments"]
    assert targets.complete_container("shared") == []
    monkeypatch.setenv("LONGSHORE_URL", "http://127.0.0.1:1")
    assert targets.complete_container("pay") == []


def test_a_table_on_a_terminal(stack: LocalStack, others: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    env = environment(
        tmp_path_factory.mktemp("home"), LONGSHORE_URL=stack.url, LONGSHORE_TOKEN=tokens.token("operator")
    )
    with Terminal(["ls", "--name", "ord"], env) as terminal:
        assert terminal.end() == 0
    lines = [line.split() for line in terminal.text.splitlines()]
    assert lines[0] == ["NAME", "ID", "STATUS", "SINCE", "PENDING", "LABELS", "PROJECT"]
    assert [line[0] for line in lines[1:] if line and len(line) > 4] == ["orders", "orders"]


def test_watching_in_a_pipe(
    stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seeder.add(fresh_id, ["stopped"], name="watched")
    env = environment(
        tmp_path_factory.mktemp("home"), LONGSHORE_URL=stack.url, LONGSHORE_TOKEN=tokens.token("operator")
    )
    with interruptible():
        watching = subprocess.Popen(
            [COMMAND, "ls", "--name", "watched", "--watch", "--json"], env=env, stdout=subprocess.PIPE, text=True
        )
    assert watching.stdout
    try:
        assert json.loads(watching.stdout.readline())["status"] == "stopped"
        assert api.post(fresh_id, "start").status_code == 200
        statuses: list[Any] = []
        while statuses[-1:] != ["running"]:
            statuses.append(json.loads(watching.stdout.readline())["status"])
        watching.send_signal(2)
        assert watching.wait(60) == 130
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()


def test_the_client(stack: LocalStack, others: list[str]) -> None:
    """The cursor, the pages and a filter return the same containers."""
    with Longshore(stack.url, tokens.token("operator")) as client:
        walked = [each.id for each in client.api.containers.iter(PROJECT)]
        paged = [each.id for each in client.api.containers.iter(PROJECT, sort_by="status")]
        named = [each.id for each in client.api.containers.iter(PROJECT, name="")]
        assert sorted(walked) == sorted(paged)
        assert walked == named
        first = client.api.containers.get_page(PROJECT, limit=3, cursor="")
        assert first.next_cursor
        second = client.api.containers.get_page(PROJECT, limit=3, cursor=first.next_cursor)
        assert [each.id for each in (*first.containers, *second.containers)] == walked[:6]
