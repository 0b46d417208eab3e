"""doctor: faults of the item, its index keys and its pending operation, and their repair."""

from __future__ import annotations

from typing import Any

import pytest
from api_client import Api
from corruption import OLD, change, faults_of, item, left_pending
from invariants import check
from settling import LONG_AGO, eventually, make_overdue

from admin.doctor import Doctor
from admin.repair import Repair
from admin.target import local
from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

pytestmark = pytest.mark.usefixtures("no_scheduled_sweeps", "no_waiting")


def test_an_unknown_container(run: Any, fresh_id: str) -> None:
    """It is an error and not a fault. The other containers are checked."""
    ran = run("doctor", fresh_id, container_id(11))
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"error: The container {fresh_id} does not exist.\n1 checked, 0 with faults.\n"
    ran = run("doctor", fresh_id, "--repair", "--json")
    assert (ran.code, ran.out) == (1, "[]\n")


def test_a_container_that_is_unregistered_during_the_check(
    run: Any, fresh_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Doctor, "ids", lambda _: iter([fresh_id, container_id(11)]))
    ran = run("doctor", "--all")
    assert (ran.code, ran.err) == (0, "1 checked, 0 with faults.\n")


def test_a_malformed_item(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    change(stack, fresh_id, runtime=None)
    fault = ("ITEM_MALFORMED", "the item is malformed: runtime: Field required")
    assert faults_of(run, fresh_id) == [fault]
    assert faults_of(run, fresh_id, "--repair") == [fault]


@pytest.mark.parametrize(
    ("statuses", "attributes", "message"),
    [
        (OLD, {"live_project_id": None}, f"live_project_id is None, not {PROJECT}"),
        ([*OLD, "stopped"], {"live_project_id": PROJECT}, f"live_project_id is {PROJECT}, not None"),
        (OLD, {"pending_shard": "3"}, "pending_shard is 3, not None"),
    ],
)
def test_wrong_index_keys_are_recomputed(
    run: Any,
    stack: LocalStack,
    seeder: Seeder,
    fresh_id: str,
    statuses: list[str],
    attributes: dict[str, Any],
    message: str,
) -> None:
    seeder.add(fresh_id, statuses)
    change(stack, fresh_id, **attributes)
    assert faults_of(run, fresh_id) == [("INDEX_WRONG", message)]
    assert run("doctor", fresh_id, "--repair").code == 0
    check(stack, fresh_id)


def test_a_container_that_has_changed_since_the_look_is_not_repaired(
    run: Any, stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    change(stack, fresh_id, to_counts={"running": 1}, live_project_id=None)
    target = local()
    seen = Doctor.of(target).look(fresh_id)
    assert {fault.code.value for fault in seen.faults} == {"COUNTER_WRONG", "INDEX_WRONG"}
    change(stack, fresh_id, generation=5)
    before = item(stack, fresh_id)
    Repair.of(target).repair(fresh_id, seen)
    assert item(stack, fresh_id) == before


def test_an_overdue_operation_is_continued(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    left_pending(stack, seeder, fresh_id)
    assert faults_of(run, fresh_id) == []
    make_overdue(stack, fresh_id)
    assert faults_of(run, fresh_id) == [("OVERDUE", f"stop is past its deadline of {LONG_AGO}")]
    repaired = run("doctor", fresh_id, "--repair")
    assert (repaired.code, repaired.out.endswith("(repaired)\n")) == (0, True), repaired
    assert repaired.err.startswith("Running the recovery sweep.\n")
    eventually(lambda: "operation" not in item(stack, fresh_id))
    assert check(stack, fresh_id)["status"] == "stopped"


def test_an_operation_that_sweeps_cannot_find(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    left_pending(stack, seeder, fresh_id)
    make_overdue(stack, fresh_id)
    change(stack, fresh_id, pending_shard=None, pending_deadline=None)
    stack.invoke("RecoverFunction", {"sweep": "operations"})
    assert {code for code, _ in faults_of(run, fresh_id)} == {"INDEX_WRONG", "OVERDUE"}
    assert run("doctor", fresh_id, "--repair").code == 0
    eventually(lambda: "operation" not in item(stack, fresh_id))
    assert check(stack, fresh_id)["status"] == "stopped"


def test_an_operation_with_too_many_attempts(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    left_pending(stack, seeder, fresh_id)
    began = item(stack, fresh_id)["operation"]["M"]["started_at"]
    make_overdue(stack, fresh_id, attempts=11)
    pending = item(stack, fresh_id)["operation"]["M"]
    pending["deadline"] = {"S": "2099-01-01T00:00:00.000Z"}

    def put(**attributes: dict[str, str]) -> None:
        stack.client("dynamodb").update_item(
            TableName=stack.table_name("ContainersTable"),
            Key={"id": {"S": fresh_id}},
            UpdateExpression="SET #operation = :operation, pending_deadline = :deadline",
            ExpressionAttributeNames={"#operation": "operation"},
            ExpressionAttributeValues={":operation": {"M": pending | attributes}, ":deadline": pending["deadline"]},
        )

    put()
    assert faults_of(run, fresh_id) == [("OVERDUE", f"stop has had 11 attempts of its step stop since {LONG_AGO}")]
    # Attempts alone are not a fault: the step may be too recent to fail, and its task may be starting.
    put(step_since=began)
    assert faults_of(run, fresh_id) == []
    put(attempts={"N": "10"})
    assert faults_of(run, fresh_id) == []
    make_overdue(stack, fresh_id)
    assert run("doctor", fresh_id, "--repair").code == 0


def test_counters_are_not_repaired_while_an_operation_is_pending(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    left_pending(stack, seeder, fresh_id)
    change(stack, fresh_id, to_counts={"running": 1})
    before = item(stack, fresh_id)
    assert run("doctor", fresh_id, "--repair").code == 1
    assert item(stack, fresh_id) == before
