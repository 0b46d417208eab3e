"""doctor: finds each fault that is put in by hand, none where there is none, and mends what is safe."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any

import pytest
from api_client import Api
from boto3.dynamodb.types import TypeSerializer
from invariants import all_rows, check
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.clock import SystemClock
from longshore.domain.history import append
from longshore.domain.lifecycle import Operation, Status, Step
from longshore.domain.models import BETWEEN_LOOKS, Change, Container, PendingOperation, Trigger
from longshore.engine.commits import DEADLINE
from settling import LONG_AGO, eventually, make_overdue, set_looks_back

from admin import doctor
from admin.adoption import store_of
from admin.doctor import Doctor
from admin.repair import Repair
from admin.target import local
from local.emulator import Emulator
from local.seed import PROJECT, Seeder, seed
from local.stack import LocalStack

# Long enough ago that events and sweeps would have told.
OLD = ["stopped", "running"] * 10

_serialize = TypeSerializer().serialize


@pytest.fixture(autouse=True, scope="module")
def sweeps_come_when_they_are_asked_for(stack: LocalStack) -> None:
    """Else the one of every minute would mend what a test has just broken."""
    for rule in ("Operations", "Drift"):
        stack.client("events").disable_rule(Name=f"longshore-RecoverFunction{rule}")
    assert not [name for name in stack.eventbridge.next_firings() if name.startswith("Recover")]


@pytest.fixture(autouse=True)
def looks_follow_each_other_at_once(no_waiting: None) -> None:
    pass


def change(stack: LocalStack, identity: str, **attributes: Any) -> None:
    """Change a container's item by hand; None takes an attribute away."""
    _update(stack, "ContainersTable", {"id": {"S": identity}}, attributes)


def change_row(stack: LocalStack, identity: str, position: int, **attributes: Any) -> None:
    """Change a row by hand, by its place in time."""
    row = all_rows(stack, identity)[position]
    key = {"container_id": {"S": identity}, "transition_time": {"S": row["transition_time"]}}
    _update(stack, "StatusLogsTable", key, attributes)


def remove_row(stack: LocalStack, identity: str, position: int) -> None:
    row = all_rows(stack, identity)[position]
    key = {"container_id": {"S": identity}, "transition_time": {"S": row["transition_time"]}}
    stack.client("dynamodb").delete_item(TableName=stack.table_name("StatusLogsTable"), Key=key)


def remove_rows(stack: LocalStack, identity: str) -> None:
    for _ in all_rows(stack, identity):
        remove_row(stack, identity, 0)


def _update(stack: LocalStack, table: str, key: dict[str, Any], attributes: dict[str, Any]) -> None:
    there = {name: value for name, value in attributes.items() if value is not None}
    parts = ["SET " + ", ".join(f"#{name} = :{name}" for name in there)] if there else []
    if gone := [name for name in attributes if name not in there]:
        parts.append("REMOVE " + ", ".join(f"#{name}" for name in gone))
    values: dict[str, Any] = (
        {"ExpressionAttributeValues": {f":{name}": _serialize(value) for name, value in there.items()}} if there else {}
    )
    stack.client("dynamodb").update_item(
        TableName=stack.table_name(table),
        Key=key,
        UpdateExpression=" ".join(parts),
        ExpressionAttributeNames={f"#{name}": name for name in attributes},
        **values,
    )


def found(run: Any, *arguments: str) -> list[tuple[str, str]]:
    """The faults as (code, message), by `doctor --json`."""
    ran = run("doctor", *arguments, "--json")
    assert ran.code in (0, 1), ran.err
    return [(each["code"], each["message"]) for each in json.loads(ran.out)]


def item(stack: LocalStack, identity: str) -> dict[str, Any]:
    answer = stack.client("dynamodb").get_item(
        TableName=stack.table_name("ContainersTable"), Key={"id": {"S": identity}}, ConsistentRead=True
    )
    return dict(answer["Item"])


# --- Healthy ----------------------------------------------------------------------------------------------------------


def test_the_seeded_stack_has_no_fault(run: Any, stack: LocalStack) -> None:
    seed(stack)
    ran = run("doctor", "--all")
    assert (ran.code, ran.out, ran.err) == (0, "", "7 checked, 0 with faults.\n")


def test_no_false_alarm_while_operations_go_on(
    run: Any, stack: LocalStack, seeder: Seeder, api: Api, fresh_id: str
) -> None:
    ids = [f"{number:x}{fresh_id[1:]}" for number in range(1, 5)]
    for identity in ids:
        seeder.add(identity, OLD)
    done = threading.Event()
    answered: list[str] = []

    def operate(identity: str) -> None:
        operations = cycle(("pause", "force-stop", "start", "restart", "pause", "resume", "stop", "restart"))
        while not done.is_set():
            if api.post(identity, next(operations)).status_code == 200:
                answered.append(identity)

    # Nothing is given time to settle: not even events may be waited for.
    looked = Doctor.of(local())
    with ThreadPoolExecutor(len(ids)) as executor:
        callers = [executor.submit(operate, identity) for identity in ids]
        try:
            rounds = 0
            while rounds < 3 or len(answered) < 20:
                rounds += 1
                ran = run("doctor", *ids)
                assert ran.out == ""
                assert ran.code in (0, 3)
                tasks = looked.tasks("default")
                for identity in ids:
                    look = looked.examine(identity, tasks)
                    assert look is None or look.faults == []
        finally:
            done.set()
    for caller in callers:
        caller.result()
    assert all(check(stack, identity) for identity in ids)


# --- The five invariants ----------------------------------------------------------------------------------------------


def test_one_that_runs_without_a_task(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.forget(task.arn)
    ran = run("doctor", fresh_id)
    assert (ran.code, ran.err) == (1, "1 checked, 1 with faults.\n")
    assert ran.out == f"{fresh_id} TASK_MISSING it is running, and ECS does not show its task\n"
    repaired = run("doctor", fresh_id, "--repair")
    assert repaired.code == 0
    assert repaired.out == f"{fresh_id} TASK_MISSING it is running, and ECS does not show its task (repaired)\n"
    assert repaired.err == (
        "Waiting for a sweep of tasks.\n"
        "ECS does not show a task: waiting for a second sweep half a minute later.\n"
        "1 checked, 1 with faults, 1 repaired.\n"
    )
    assert check(stack, fresh_id)["status"] == "failed"
    assert found(run, fresh_id) == []


def test_a_task_that_a_sweep_has_missed_already_needs_one_more(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.forget(task.arn)
    stack.invoke("RecoverFunction", {"sweep": "drift"})
    assert set_looks_back(stack, fresh_id)
    repaired = run("doctor", fresh_id, "--repair")
    assert (repaired.code, repaired.out.endswith("(repaired)\n")) == (0, True), repaired
    assert repaired.err == "Waiting for a sweep of tasks.\n1 checked, 1 with faults, 1 repaired.\n"
    assert check(stack, fresh_id)["status"] == "failed"


@pytest.mark.parametrize("arguments", [("--all",), ()])
def test_a_task_that_ecs_does_not_show_for_a_moment_is_no_fault(
    run: Any,
    stack: LocalStack,
    seeder: Seeder,
    fresh_id: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    waits: list[None] = []

    def shown_after_half_a_minute(_: Doctor) -> None:
        waits.append(None)
        stack.emulator.ecs.show(task.arn)

    monkeypatch.setattr(Doctor, "wait_between_looks", shown_after_half_a_minute)
    stack.emulator.ecs.hide(task.arn)
    assert found(run, *(arguments or (fresh_id,))) == []
    assert len(waits) == 1


def test_doctor_waits_as_long_as_operations_and_sweeps_do() -> None:
    assert BETWEEN_LOOKS.total_seconds() < doctor._BETWEEN_LOOKS < 2 * BETWEEN_LOOKS.total_seconds()


def test_a_task_that_has_just_ended_is_left_to_its_event(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    with stack.eventbridge.losing_events():
        stack.emulator.ecs.exit(task.arn, 1)
        assert found(run, fresh_id) == []
    assert task.stopped_at is not None
    task.stopped_at = task.stopped_at.replace(year=2025)
    assert found(run, fresh_id) == [("TASK_MISSING", f"it is running, and its task {task.id} has stopped")]
    assert run("doctor", fresh_id, "--repair").code == 0


def test_a_second_task(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, OLD)
    stray = stack.emulator.ecs.adopt_running("default", "web", started_by=fresh_id)
    for arguments in ((fresh_id,), ("--all",)):
        assert found(run, *arguments) == [
            ("TASK_UNEXPECTED", f"it is running, and the task {stray.id} runs in its name")
        ]
    # The drift sweep stops it, as it would by itself within a quarter of an hour.
    assert run("doctor", fresh_id, "--repair").code in (0, 1)
    eventually(lambda: not stray.live)
    assert found(run, fresh_id) == []
    assert check(stack, fresh_id)["status"] == "running"


def test_a_task_of_one_that_is_stopped(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, [*OLD, "stopped"])
    own = stack.emulator.ecs.adopt_running("default", "web")
    change(stack, fresh_id, task_arn=own.arn)
    fault = ("TASK_UNEXPECTED", f"it is stopped, and the task {own.id} runs in its name")
    assert found(run, fresh_id) == [fault]
    # Whether it is to be stopped is for the operator to say.
    assert found(run, fresh_id, "--repair") == [fault]
    assert own.live
    stack.emulator.ecs.forget(own.arn)


CHAIN: list[tuple[str, Callable[[LocalStack, str], None], str]] = [
    ("a row is gone", lambda stack, identity: remove_row(stack, identity, 5), "has seq 7, not 6"),
    ("the first is gone", lambda stack, identity: remove_row(stack, identity, 0), "comes from stopped, not None"),
    ("all are gone", remove_rows, "there is no row"),
    (
        "from elsewhere",
        lambda stack, identity: change_row(stack, identity, 5, from_status="paused"),
        "comes from paused",
    ),
    ("two of a number", lambda stack, identity: change_row(stack, identity, 5, seq=5), "has seq 5, not 6"),
    ("too early", lambda stack, identity: change_row(stack, identity, 5, created_at=LONG_AGO), "was created before"),
]


@pytest.mark.parametrize(("break_it", "message"), [case[1:] for case in CHAIN], ids=[case[0] for case in CHAIN])
def test_a_chain_that_is_broken(
    run: Any,
    stack: LocalStack,
    seeder: Seeder,
    fresh_id: str,
    break_it: Callable[[LocalStack, str], None],
    message: str,
) -> None:
    seeder.add(fresh_id, OLD)
    break_it(stack, fresh_id)
    rows, before = all_rows(stack, fresh_id), item(stack, fresh_id)
    faults = found(run, fresh_id)
    assert {code for code, _ in faults} <= {"CHAIN_BROKEN", "RANK_WRONG"}
    assert any(code == "CHAIN_BROKEN" and message in said for code, said in faults)
    # What happened cannot be computed: it stays, and is not hidden by other counters either.
    assert ("CHAIN_BROKEN") in {code for code, _ in found(run, fresh_id, "--repair")}
    assert (all_rows(stack, fresh_id), item(stack, fresh_id)) == (rows, before)


def test_a_status_that_is_not_the_last_rows(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, [*OLD, "stopped"])
    change(stack, fresh_id, status="failed")
    fault = ("STATUS_DIFFERS", "the status is failed, the last row's stopped")
    assert found(run, fresh_id) == [fault]
    before = item(stack, fresh_id)
    assert found(run, fresh_id, "--repair") == [fault]
    assert item(stack, fresh_id) == before


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"log_count": 19}, "log_count is 19, not 20"),
        ({"log_count": 21}, "log_count is 21, not 20"),
        ({"to_counts": {"running": 9, "stopped": 10}}, "to_counts is {'running': 9, 'stopped': 10}, not"),
        ({"from_counts": {}}, "from_counts is {}, not"),
        ({"last_created_at": LONG_AGO}, "last_created_at is 2020-01-01"),
        ({"status_since": LONG_AGO}, "status_since is 2020-01-01"),
    ],
)
def test_counters_that_are_wrong_are_counted_anew(
    run: Any, stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, attributes: dict[str, Any], message: str
) -> None:
    seeder.add(fresh_id, OLD)
    change(stack, fresh_id, **attributes)
    ((code, said),) = found(run, fresh_id)
    assert (code, said[: len(message)]) == ("COUNTER_WRONG", message)
    repaired = run("doctor", fresh_id, "--repair")
    assert (repaired.code, repaired.out.endswith("(repaired)\n")) == (0, True), repaired
    check(stack, fresh_id)
    assert api.post(fresh_id, "stop").status_code == 200
    check(stack, fresh_id)


def test_ranks_that_are_wrong_are_counted_anew(
    run: Any, stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    change_row(stack, fresh_id, 4, to_rank="stopped#0000000009")
    for position in range(7, 15):
        change_row(stack, fresh_id, position, from_rank="x")
    faults = found(run, fresh_id)
    assert [code for code, _ in faults] == ["RANK_WRONG"] * 6
    assert faults[-1][1] == "and 4 more of these"
    assert run("doctor", fresh_id, "--repair").code == 0
    check(stack, fresh_id)
    assert len(api.logs(fresh_id, sort_by="from_status", limit=100).json()["data"]["logs"]) == len(OLD)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"to_status": "exploded"}, "is malformed: to_status"),
        ({"triggered_by": None}, "is malformed: triggered_by"),
        ({"created_at": "2099-01-01"}, "is not written as times are"),
        ({"created_at": "2099-01-01T00:00:00+00:00"}, "is not written as times are"),
    ],
)
def test_a_row_that_the_api_could_not_answer_with(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, attributes: dict[str, Any], message: str
) -> None:
    seeder.add(fresh_id, [*OLD, "stopped"])
    change_row(stack, fresh_id, 3, **attributes)
    rows = all_rows(stack, fresh_id)
    assert any(code == "ROW_MALFORMED" and message in said for code, said in found(run, fresh_id))
    assert run("doctor", fresh_id, "--repair").code == 1
    assert all_rows(stack, fresh_id) == rows


def test_an_item_that_no_function_can_read(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    change(stack, fresh_id, runtime=None)
    assert found(run, fresh_id) == [("ITEM_MALFORMED", "the item is malformed: runtime: Field required")]
    assert found(run, fresh_id, "--repair") == [("ITEM_MALFORMED", "the item is malformed: runtime: Field required")]
    stack.client("dynamodb").delete_item(TableName=stack.table_name("ContainersTable"), Key={"id": {"S": fresh_id}})
    assert found(run, fresh_id) == [("ITEM_MALFORMED", "there is no such container")]
    assert run("doctor", fresh_id, "--repair").code == 1


@pytest.mark.parametrize(
    ("statuses", "attributes", "message"),
    [
        (OLD, {"live_project_id": None}, f"live_project_id is None, not {PROJECT}"),
        ([*OLD, "stopped"], {"live_project_id": PROJECT}, f"live_project_id is {PROJECT}, not None"),
        (OLD, {"pending_shard": "3"}, "pending_shard is 3, not None"),
    ],
)
def test_keys_of_indexes_that_are_wrong_are_derived_anew(
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
    assert found(run, fresh_id) == [("INDEX_WRONG", message)]
    assert run("doctor", fresh_id, "--repair").code == 0
    check(stack, fresh_id)


def left_pending(stack: LocalStack, seeder: Seeder, identity: str) -> None:
    """A stop whose process has crashed after its claim."""
    seeder.add(identity, OLD)
    store = store_of(local())
    container = store.container(identity)
    assert container is not None
    now = SystemClock().now()
    pending = PendingOperation(
        id=identity,
        operation=Operation.STOP,
        step=Step.STOP,
        started_at=now,
        since=now,
        deadline=now + DEADLINE,
        triggered_by=Trigger.USER,
    )
    assert isinstance(store.claim(container, pending, supersedes=False, requested_at=now), Container)


def test_an_operation_that_is_overdue_is_driven_on(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    left_pending(stack, seeder, fresh_id)
    assert found(run, fresh_id) == []
    make_overdue(stack, fresh_id)
    assert found(run, fresh_id) == [("OVERDUE", f"stop is past its deadline of {LONG_AGO}")]
    repaired = run("doctor", fresh_id, "--repair")
    assert (repaired.code, repaired.out.endswith("(repaired)\n")) == (0, True), repaired
    assert repaired.err.startswith("Waiting for a sweep of pending operations.\n")
    eventually(lambda: "operation" not in item(stack, fresh_id))
    assert check(stack, fresh_id)["status"] == "stopped"


def test_an_operation_that_the_sweep_could_not_find(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    left_pending(stack, seeder, fresh_id)
    make_overdue(stack, fresh_id)
    change(stack, fresh_id, pending_shard=None, pending_deadline=None)
    stack.invoke("RecoverFunction", {"sweep": "operations"})
    assert {code for code, _ in found(run, fresh_id)} == {"INDEX_WRONG", "OVERDUE"}
    assert run("doctor", fresh_id, "--repair").code == 0
    eventually(lambda: "operation" not in item(stack, fresh_id))
    assert check(stack, fresh_id)["status"] == "stopped"


def test_an_operation_that_should_have_been_given_up(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
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
    assert found(run, fresh_id) == [("OVERDUE", f"stop has had 11 attempts at its step stop since {LONG_AGO}")]
    # Attempts alone are none: the step may be too young to be given up, and its task on its way.
    put(step_since=began)
    assert found(run, fresh_id) == []
    put(attempts={"N": "10"})
    assert found(run, fresh_id) == []
    make_overdue(stack, fresh_id)
    assert run("doctor", fresh_id, "--repair").code == 0


def test_a_history_that_is_full(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    """Its last change of status has no row, so that neither the status nor its time is that of the last row."""
    seeder.add(fresh_id, [*OLD, "stopped"])
    change(stack, fresh_id, history_full=True, status="failed", status_since=LONG_AGO)
    fault = (
        "HISTORY_FULL",
        "its history has reached DynamoDB's limit of 10 GB: only stop and force-stop work",
    )
    assert found(run, fresh_id) == [fault]
    before = item(stack, fresh_id)
    assert found(run, fresh_id, "--repair") == [fault]
    assert item(stack, fresh_id) == before
    # Counters still equal what counting gives, and a repair leaves the time of the status as it is.
    change(stack, fresh_id, log_count=3)
    assert {code for code, _ in found(run, fresh_id)} == {"HISTORY_FULL", "COUNTER_WRONG"}
    assert run("doctor", fresh_id, "--repair").code == 1
    after = item(stack, fresh_id)
    assert {name for name in before if before[name] != after[name]} == {"generation"}


@pytest.mark.parametrize("schema", [None, 2, 3])
def test_items_of_other_versions_are_no_fault(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, schema: int | None
) -> None:
    """Version 0.1 wrote fewer attributes, and a later one may write more."""
    seeder.add(fresh_id, OLD)
    added = dict.fromkeys(("command_number", "history_full"), None) if schema is None else {}
    change(stack, fresh_id, schema=schema, **added)
    change_row(stack, fresh_id, 3, schema=schema)
    assert found(run, fresh_id) == []


# --- Repairs are safe -------------------------------------------------------------------------------------------------


def test_counters_are_not_mended_while_an_operation_is_pending(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    left_pending(stack, seeder, fresh_id)
    change(stack, fresh_id, to_counts={"running": 1})
    before = item(stack, fresh_id)
    assert run("doctor", fresh_id, "--repair").code == 1
    assert item(stack, fresh_id) == before


def test_whoever_has_read_the_wrong_counters_cannot_write_them_back(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    change(stack, fresh_id, to_counts={"running": 1})
    store: Store = store_of(local())
    read = store.container(fresh_id)
    assert isinstance(read, Container)
    assert run("doctor", fresh_id, "--repair").code == 0
    moment = read.status_since
    ended = Change(to_status=Status.FAILED, observed_at=moment, triggered_by=Trigger.SYSTEM)
    after, entry = append(read, ended, "0" * 24, moment)
    assert isinstance(store.commit_observed(read, after, entry), ConditionFailed)
    check(stack, fresh_id)


def test_nothing_is_mended_of_what_has_changed_since(
    run: Any, stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    change(stack, fresh_id, to_counts={"running": 1}, live_project_id=None)
    target = local()
    seen = Doctor.of(target).look(fresh_id)
    assert {fault.code.value for fault in seen.faults} == {"COUNTER_WRONG", "INDEX_WRONG"}
    change(stack, fresh_id, generation=5)
    before = item(stack, fresh_id)
    Repair.of(target).mend(fresh_id, seen)
    assert item(stack, fresh_id) == before


def test_a_sweep_that_fails_is_told_of(
    run: Any, stack: LocalStack, seeder: Seeder, emulator: Emulator, fresh_id: str
) -> None:
    seeder.add(fresh_id, OLD)
    (task,) = stack.emulator.ecs.live(started_by=fresh_id)
    stack.emulator.ecs.forget(task.arn)
    emulator.faults.add(
        "dynamodb", "Scan", "AccessDeniedException", status=400, times=None, match=lambda scan: "IndexName" in scan
    )
    failed = run("doctor", fresh_id, "--repair")
    assert failed.code == 3
    assert "The recovery function failed: its log says why." in failed.err
    emulator.faults.clear()
    assert run("doctor", fresh_id, "--repair").code == 0


# --- Use --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give either ids or --all"),
        (["--all", "0" * 24], 2, "give either ids or --all"),
        (["X"], 1, "The id must be 24 characters of 0-9a-f, not 'X'."),
    ],
)
def test_what_cannot_be(run: Any, arguments: list[str], code: int, message: str) -> None:
    refused = run("doctor", *arguments)
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err


def test_ecs_that_fails_is_no_fault(run: Any, seeder: Seeder, emulator: Emulator, fresh_id: str) -> None:
    seeder.add(fresh_id, OLD)
    emulator.faults.add("ecs", "ListTasks", "AccessDeniedException", status=400, times=None)
    failed = run("doctor", fresh_id)
    assert (failed.code, failed.out) == (3, "")
    assert failed.err == "error: Longshore is not permitted to do this on the cluster.\n"
