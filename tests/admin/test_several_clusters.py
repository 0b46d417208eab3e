"""Commands for a stack with several clusters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from api_client import Api
from conftest import PARAMETERS, QUICK
from longshore.domain.task import adopted_as

from admin import target
from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

ORDINARY = ("--project", PROJECT, "--name", "invoices", "--task-definition", "web")


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack with three clusters."""
    parameters = {**PARAMETERS, "ClusterName": "web-1,web-2,web-3"}
    with LocalStack(port=0, parameters=parameters, emulator_options=QUICK, seed=False, streams=False) as local:
        seeder = Seeder(local)
        seeder.cluster()
        seeder.members()
        seeder.add(container_id(11), ["stopped"], name="orders")
        yield local


def test_each_cluster_is_created_with_an_instance(stack: LocalStack) -> None:
    ecs = stack.client("ecs")
    for name in ("web-1", "web-2", "web-3"):
        assert len(ecs.list_container_instances(cluster=name)["containerInstanceArns"]) == 1


def test_register_needs_the_cluster(run: Any) -> None:
    for arguments, message in (
        ((), "The stack longshore controls several clusters: specify --cluster web-1 or web-2 or web-3."),
        (
            ("--cluster", "other"),
            (
                "The stack longshore controls the clusters web-1, web-2, web-3 and has no access to others:"
                " add other to the stack's parameter ClusterName and deploy."
            ),
        ),
    ):
        refused = run("register", *ORDINARY, *arguments)
        assert (refused.code, refused.out, refused.err) == (1, "", f"error: {message}\n")


def test_a_container_runs_in_its_cluster(run: Any, stack: LocalStack, api: Api) -> None:
    container = run("register", *ORDINARY, "--cluster", "arn:aws:ecs:us-east-1:123456789012:cluster/web-3").out.strip()
    assert api.post(container, "start").status_code == 200
    (task,) = stack.emulator.ecs.live(started_by=container)
    assert task.cluster.name == "web-3"
    # The event of the task matches the rule of the stack, which records the exit.
    stack.emulator.ecs.exit(task.arn, 0)
    assert api.get(f"{container}?wait_for=stopped&timeout=20").json()["data"]["status"] == "stopped"
    lines = run("containers", "--project", PROJECT).out.splitlines()
    assert lines[0].split()[-1] == "CLUSTER"
    assert {line.split()[0]: line.split()[-1] for line in lines[1:]} == {container_id(11): "web-1", container: "web-3"}


def test_adopt_covers_all_clusters_or_the_given_one(run: Any, stack: LocalStack) -> None:
    ecs = stack.emulator.ecs
    Seeder(stack).task_definition("old")
    tasks = {name: ecs.adopt_running(name, "old") for name in ("web-1", "web-2", "web-3")}
    arguments = ("adopt", "--project", PROJECT, "--family", "old")
    listed = run(*arguments).out.splitlines()
    assert listed[0].split()[-1] == "CLUSTER"
    assert {line.split()[1]: line.split()[-1] for line in listed[1:]} == {task.id: name for name, task in tasks.items()}
    assert run(*arguments, "--cluster", "web-2", "--yes").out == "1 adopted, 0 skipped, 0 failed\n"
    assert run(*arguments, "--yes").out == "2 adopted, 1 skipped, 0 failed\n"
    assert run(*arguments, "--yes").out == "0 adopted, 3 skipped, 0 failed\n"
    assert run("doctor", adopted_as(tasks["web-3"].arn)).code == 0
    assert run("doctor", "--all").code == 0


def test_doctor_names_containers_of_clusters_that_are_not_in_the_list(
    run: Any, stack: LocalStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = run("register", *ORDINARY, "--cluster", "web-3").out.strip()
    found = target.local()
    outputs = {**found.outputs, "ClusterName": "web-1,web-2"}
    monkeypatch.setattr(target, "local", lambda: replace(found, outputs=outputs))
    stack.emulator.faults.add("ecs", "DescribeTasks", "AccessDeniedException", status=400)
    checked = run("doctor", container)
    stack.emulator.faults.clear()
    assert (checked.code, checked.out) == (
        1,
        f"{container} CLUSTER_UNKNOWN its cluster web-3 is not a cluster of the stack\n",
    )
    assert container in run("doctor", "--all").out
