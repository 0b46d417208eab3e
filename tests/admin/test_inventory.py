"""Lists of containers, members, bans and projects, and names of projects."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from api_client import Api
from corruption import change

from local.emulator import Emulator
from local.seed import GONE_INSTANCE, PROJECT, Seeder, container_id
from local.stack import LocalStack

OTHER = "e" * 23 + "1"
DAMAGED = "d" * 24


@pytest.fixture(scope="module", autouse=True)
def scene(stack: LocalStack) -> None:
    """Add a project with a container on a server, and a damaged container."""
    seeder = Seeder(stack)
    seeder.add("a" * 24, ["stopped", "running", "expired"], name="legacy", project=OTHER, server=GONE_INSTANCE)
    seeder.add(DAMAGED, ["stopped"], name="broken\u202e", project=OTHER)
    change(stack, DAMAGED, runtime=None)
    seeder.grant("ada", OTHER, "owner")
    seeder.name_project(OTHER, "Data platform")


def test_containers(run: Any) -> None:
    listed = run("containers")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split() for line in listed.out.splitlines()] == [
        ["ID", "NAME", "PROJECT", "STATUS", "PENDING", "TASK", "DEFINITION", "LAUNCH", "TYPE", "SERVER"],
        [container_id(11), "orders", PROJECT, "stopped", "-", "web", "EC2", "-"],
        [container_id(12), "payments", PROJECT, "running", "-", "web", "EC2", "-"],
        [DAMAGED, "broken\\u202e", OTHER, "unreadable", "-", "-", "-", "-"],
        ["a" * 24, "legacy", OTHER, "expired", "-", "web", "EC2", GONE_INSTANCE],
    ]


def test_containers_as_json_are_those_of_the_api(run: Any, api: Api) -> None:
    listed = json.loads(run("containers", "--project", PROJECT, "--json").out)
    more = {"cluster": "default", "capacity_providers": []}
    assert listed == [api.get(container_id(number)).json()["data"] | more for number in (11, 12)]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--status", "running"], [container_id(12)]),
        (["--project", OTHER, "--status", "expired"], ["a" * 24]),
        (["--project", "f" * 24], []),
    ],
)
def test_filters_of_containers(run: Any, arguments: list[str], ids: list[str]) -> None:
    assert [each["id"] for each in json.loads(run("containers", *arguments, "--json").out)] == ids


def test_a_pending_operation_is_listed(run: Any, api: Api, emulator: Emulator, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    emulator.faults.add("ecs", "RunTask", "ThrottlingException", status=400, times=None)
    api.post(fresh_id, "start")
    (line,) = [each for each in run("containers").out.splitlines() if each.startswith(fresh_id)]
    assert line.split()[3:5] == ["stopped", "start"]


def test_members_and_bans(run: Any) -> None:
    assert run("members", "--project", OTHER).out.split() == ["USER", "PROJECT", "ROLE", "ada", OTHER, "owner"]
    ada = [{"user": "ada", "project_id": OTHER, "role": "owner"}]
    assert json.loads(run("members", "--user", "ada", "--json").out) == ada
    everyone = json.loads(run("members", "--json").out)
    assert {"user": "viewer", "project_id": PROJECT, "role": "viewer"} in everyone
    assert [each["user"] for each in everyone] == ["banned", "operator", "owner", "viewer", "ada"]
    assert run("bans").out.split() == ["USER", "banned"]
    assert json.loads(run("bans", "--json").out) == [{"user": "banned"}]


def test_projects_are_named_and_renamed(run: Any, api: Api) -> None:
    named = run("name-project", PROJECT, "Shop")
    assert (named.code, named.out, named.err) == (0, "", f"The project {PROJECT} has the name Shop.\n")
    (seen,) = api.call("GET", "/projects").json()["data"]["projects"]
    assert seen == {"id": PROJECT, "name": "Shop", "role": "operator"}
    printed = run("name-project", PROJECT, "Store", "--json")
    assert (json.loads(printed.out), printed.err) == (
        {"project_id": PROJECT, "name": "Store", "previous_name": "Shop"},
        "",
    )
    listed = json.loads(run("projects", "--json").out)
    assert [each["name"] for each in listed] == ["Data platform", "Store"]
    assert listed[1]["members"] == 4
    assert run("projects").out.splitlines()[1].split() == [OTHER, "Data", "platform", "2", "1"]
    removed = run("name-project", PROJECT)
    assert removed.err == f"The project {PROJECT} has no name, and had the name Store.\n"
    assert api.call("GET", "/projects").json()["data"]["projects"][0]["name"] is None
    assert run("name-project", PROJECT).err == f"The project {PROJECT} has no name.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["name-project", "shop", "Shop"], "The project must be 24 characters"),
        (["name-project", PROJECT, " "], "The name must have 1 to 128 printable characters."),
        (["name-project", PROJECT, "a\nb"], "The name must have"),
        (["name-project", PROJECT, "n" * 129], "The name must have"),
        (["containers", "--project", "shop"], "The project must be"),
        (["members", "--project", "shop"], "The project must be"),
    ],
)
def test_invalid_arguments_change_nothing(
    run: Any, contents: Callable[[], Any], arguments: list[str], message: str
) -> None:
    before = contents()
    refused = run(*arguments)
    assert (refused.code, refused.out) == (1, "")
    assert message in refused.err
    assert contents() == before


def test_every_command_prints_json(run: Any, fresh_id: str) -> None:
    def printed(*arguments: str) -> Any:
        ran = run(*arguments, "--json")
        assert (ran.code, ran.err) == (0, ""), arguments
        return json.loads(ran.out)

    registered = {"id": fresh_id, "name": "x", "project_id": PROJECT, "registered": True}
    register = ("register", "--project", PROJECT, "--name", "x", "--task-definition", "web", "--id", fresh_id)
    assert printed(*register) == registered
    assert printed(*register) == registered | {"registered": False}
    role = {"user": "bob", "project_id": PROJECT}
    assert printed("grant", "bob", PROJECT, "viewer") == role | {"role": "viewer", "previous_role": None}
    assert printed("revoke", "bob", PROJECT) == role | {"role": None, "changed": True}
    assert printed("ban", "bob") == {"user": "bob", "banned": True}
    assert printed("unban", "bob") == {"user": "bob", "banned": False, "changed": True}
    added = printed("schedule", "add", "json", "--rate", "1 day", "--all")
    assert (added["name"], added["expression"]) == ("json", "rate(1 day)")
    assert printed("schedule", "remove", "json") == {"name": "json", "removed": True}
    assert printed("adopt", "--project", PROJECT, "--family", "none") == []
    assert printed("adopt", "--project", PROJECT, "--family", "none", "--yes")["adopted"] == 0
