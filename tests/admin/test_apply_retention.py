"""apply-retention, and readers of histories with a retention while DynamoDB deletes rows in random order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from conftest import PARAMETERS, QUICK
from corruption import change, change_row
from invariants import all_rows, check
from longshore.aws.items import container_item, container_of, log_item
from longshore.domain.clock import SystemClock, to_text
from longshore.domain.facts import Observed
from longshore.domain.history import append
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger
from longshore.domain.retention import MARGIN, expiry

from admin.doctor import Doctor
from admin.retention import RetentionChange
from admin.target import Target, local
from local.seed import PROJECT, Seeder
from local.stack import LocalStack

DAYS = 30
SPAN = 60  # days that a history covers
ROWS = 44
ORDERS = [
    (sort_by, order)
    for sort_by in ("transition_time", "created_at", "to_status", "from_status")
    for order in ("asc", "desc")
]


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack with a retention, and without events and sweeps."""
    parameters = {**PARAMETERS, "HistoryRetentionDays": str(DAYS)}
    with LocalStack(port=0, parameters=parameters, emulator_options=QUICK, seed=False, events=False) as local_stack:
        seeder = Seeder(local_stack)
        seeder.cluster()
        seeder.members()
        yield local_stack


@pytest.fixture
def retention(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the retention of the stack for commands, as if it had been deployed with it."""
    return lambda days: monkeypatch.setattr(Target, "history_retention", days)


def history(stack: LocalStack, identity: str, written_with: int = 0, own: int | None = None) -> list[dict[str, Any]]:
    """Write a stopped container whose random history covers SPAN days. Return its rows as stored."""
    choose, now = random.Random(identity), SystemClock().now()
    moment = now - timedelta(days=SPAN)
    container = Container(
        id=identity,
        project_id=PROJECT,
        name="old",
        status=Status.STOPPED,
        status_since=moment,
        runtime=Runtime(cluster="default", task_definition="web", launch_type=LaunchType.EC2),
        created_at=moment,
        updated_at=moment,
        history_retention=own,
    )
    items = []
    for number in range(ROWS):
        moment += timedelta(days=SPAN - 1) / ROWS
        status = Status.STOPPED if number == ROWS - 1 else choose.choice([*Status][:4])
        changed = Change(
            to_status=status, observed_at=moment, triggered_by=Trigger.USER, observed=Observed(reason=str(number))
        )
        container, entry = append(container, changed, f"{choose.getrandbits(96):024x}", moment)
        items.append({"PutRequest": {"Item": log_item(entry, written_with)}})
    seeder = Seeder(stack)
    for start in range(0, ROWS, 25):
        seeder._batch(stack.table_name("StatusLogsTable"), items[start : start + 25])
    seeder._batch(stack.table_name("ContainersTable"), [{"PutRequest": {"Item": container_item(container)}}])
    return all_rows(stack, identity)


def delete(stack: LocalStack, row: dict[str, Any]) -> None:
    """Delete a row as DynamoDB does when its time to live has passed."""
    key = {name: {"S": row[name]} for name in ("container_id", "transition_time")}
    stack.client("dynamodb").delete_item(TableName=stack.table_name("StatusLogsTable"), Key=key)


def shown_by(api: Any, identity: str, query: dict[str, str]) -> tuple[int, list[str]]:
    """Walk all pages. Return the total of each page, which must be the same, and the ids of the rows."""
    page, found = 1, []
    while True:
        body = api.logs(identity, **query, page=page, limit=17).json()
        assert body["statusCode"] == 200, body
        found += [row["id"] for row in body["data"]["logs"]]
        pagination = body["data"]["pagination"]
        assert pagination["totalPages"] == -(-pagination["total"] // 17)
        if page >= pagination["totalPages"]:
            return pagination["total"], found
        page += 1


def expected(rows: list[dict[str, Any]], sort_by: str, order: str, query: dict[str, str]) -> list[str]:
    """Filter and sort rows. Null sorts first, and equal values by time."""
    matching = [
        row
        for row in rows
        if query.get("from", "") <= row["transition_time"] <= query.get("to", "9")
        and all(row.get(name) == query[name] for name in ("to_status", "from_status") if name in query)
    ]
    ordered = sorted(
        matching, key=lambda row: (row.get(sort_by) or "", row["transition_time"]), reverse=order == "desc"
    )
    return [row["id"] for row in ordered]


def filters(sort_by: str, rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the filters that an order allows. The range begins before the floor."""
    within = {"from": rows[5]["transition_time"], "to": rows[-9]["transition_time"]}
    status = {"from_status" if sort_by == "from_status" else "to_status": "running"}
    return [{}, within, status, within | status]


def retained(rows: list[dict[str, Any]], days: int = DAYS) -> list[dict[str, Any]]:
    floor = to_text(SystemClock().now() - timedelta(days=days))
    return [row for row in rows if row["transition_time"] >= floor]


def agree(api: Any, stack: LocalStack, identity: str, rows: list[dict[str, Any]], shown: list[dict[str, Any]]) -> None:
    """Check all orders and filters, the history of the project, `doctor` and the invariants."""
    for sort_by, order in ORDERS:
        for query in filters(sort_by, rows):
            wanted = expected(shown, sort_by, order, query)
            total, found = shown_by(api, identity, {**query, "sort_by": sort_by, "sort_order": order})
            assert (total, found) == (len(wanted), wanted), (sort_by, order, query)
    asked = {"container_id": identity, "limit": 100}
    logs = api.call("GET", f"/projects/{PROJECT}/status-logs", params=asked).json()["data"]["logs"]
    assert [row["id"] for row in logs] == [row["id"] for row in shown[::-1]]
    assert Doctor.of(local()).look(identity).faults == []
    check(stack, identity)


def test_rows_past_the_retention_are_hidden_in_any_state_of_their_deletion(
    run: Any, stack: LocalStack, api: Any, fresh_id: str, tmp_path: Any
) -> None:
    rows = history(stack, fresh_id, written_with=DAYS, own=DAYS)
    shown = retained(rows)
    assert 0 < len(shown) < ROWS
    assert all(row["expires_at"] >= SystemClock().now().timestamp() for row in shown)
    expired = rows[: -len(shown)]
    random.Random(7).shuffle(expired)
    for step in range(4):
        agree(api, stack, fresh_id, rows, shown)
        for row in expired[step::3] if step < 3 else []:
            delete(stack, row)
    assert all_rows(stack, fresh_id) == shown
    for name in ("csv", "jsonl"):
        exported = run("export", fresh_id, "--format", name, "--output", str(tmp_path / name))
        assert exported.err.startswith(f"Exported {len(shown)} rows")


def test_a_container_whose_rows_are_all_past_the_retention(
    run: Any, stack: LocalStack, api: Any, fresh_id: str
) -> None:
    rows = history(stack, fresh_id)
    long_ago = to_text(SystemClock().now() - timedelta(days=DAYS, seconds=1))
    # The newest row that is past the retention becomes the last row.
    for row in retained(rows):
        delete(stack, row)
    last = all_rows(stack, fresh_id)[-1]
    counts = {"log_count": last["seq"], "last_transition_time": last["transition_time"]}
    names = {"s": "stopped", "r": "running", "p": "paused", "f": "failed", "n": "none"}
    named = {f"{kind}_counts": {names[each]: n for each, n in last[f"{kind}_n"].items()} for kind in ("to", "from")}
    since = {
        "last_created_at": last["created_at"],
        "status_since": last["transition_time"],
        "status": last["to_status"],
    }
    change(stack, fresh_id, **counts, **named, **since)
    assert last["transition_time"] < long_ago
    for query in filters("transition_time", rows):
        assert shown_by(api, fresh_id, query) == (0, [])
    assert api.get(fresh_id).json()["data"]["status"] == last["to_status"]
    assert run("export", fresh_id).err == f"error: There are no history rows of {fresh_id}.\n"
    history_faults = Doctor.of(local()).look(fresh_id).history.faults
    assert history_faults == []
    for row in all_rows(stack, fresh_id):
        delete(stack, row)
    assert shown_by(api, fresh_id, {}) == (0, [])
    assert Doctor.of(local()).look(fresh_id).history.faults == []


def test_a_damaged_value_of_a_shortened_history_is_found(run: Any, stack: LocalStack, fresh_id: str) -> None:
    rows = history(stack, fresh_id, written_with=DAYS, own=DAYS)
    first = ROWS - len(retained(rows))
    for row in rows[: first - 2]:
        delete(stack, row)
    for position in (2, 3, 9):
        before = all_rows(stack, fresh_id)[position]
        for name, wrong in (("to_rank", "running#0000000099"), ("to_n", {"r": 3})):
            change_row(stack, fresh_id, position, **{name: wrong})
            faults = Doctor.of(local()).look(fresh_id).history.faults
            assert [fault.code for fault in faults] == ["RANK_WRONG"], (position, name)
            assert before["transition_time"] in faults[0].message
            assert run("doctor", fresh_id, "--repair").code == 0
            assert all_rows(stack, fresh_id)[position] == before
    item = Doctor.of(local()).look(fresh_id).item
    assert item is not None
    damages: list[dict[str, Any]] = [{"log_count": 3}, {"to_counts": {**item["to_counts"], "running": 1}}]
    for damage in damages:
        change(stack, fresh_id, **damage)
        faults = Doctor.of(local()).look(fresh_id).history.faults
        assert [fault.code for fault in faults] == ["COUNTER_WRONG"]
        assert run("doctor", fresh_id, "--repair").code == 0
        check(stack, fresh_id)


def test_a_missing_row_of_a_shortened_history_is_found(stack: LocalStack, fresh_id: str, run: Any) -> None:
    rows = history(stack, fresh_id)
    delete(stack, retained(rows)[4])
    assert "CHAIN_BROKEN" in {fault.code for fault in Doctor.of(local()).look(fresh_id).history.faults}


# --- apply-retention --------------------------------------------------------------------------------------------------


def days_of(row: dict[str, Any]) -> int | None:
    """Return the retention that a row's time to live states."""
    at = datetime.fromisoformat(row["transition_time"])
    return next((days for days in (7, DAYS, 90) if row.get("expires_at") == expiry(at, days)), None)


def test_a_new_retention(run: Any, stack: LocalStack, api: Any, fresh_id: str) -> None:
    rows = history(stack, fresh_id)
    shown = retained(rows)
    ran = run("apply-retention", fresh_id)
    assert (ran.code, ran.out) == (0, f"1 containers, retention: {DAYS} days: {ROWS} of {ROWS} rows changed\n")
    now = SystemClock().now().timestamp()
    after = all_rows(stack, fresh_id)
    assert [days_of(row) for row in after[-len(shown) :]] == [DAYS] * len(shown)
    hidden = after[: -len(shown)]
    # DynamoDB ignores a time to live of more than five years ago.
    assert all(now - 60 <= row["expires_at"] <= now + MARGIN.total_seconds() for row in hidden)
    assert [{**row, "expires_at": 0} for row in after] == [{**row, "expires_at": 0} for row in rows]
    item = check(stack, fresh_id)
    assert (item["history_retention"], item["generation"], "history_floor" in item) == (DAYS, 1, False)
    assert run("apply-retention", fresh_id).out.endswith(f": 0 of {ROWS} rows changed\n")
    assert check(stack, fresh_id) == item
    agree(api, stack, fresh_id, rows, shown)


def test_a_shorter_retention(run: Any, stack: LocalStack, fresh_id: str, retention: Any) -> None:
    rows = history(stack, fresh_id, written_with=90, own=90)
    retention(7)
    assert run("apply-retention", fresh_id, "--json").code == 0
    shown = retained(rows, 7)
    assert [days_of(row) for row in all_rows(stack, fresh_id)[-len(shown) :]] == [7] * len(shown)
    assert check(stack, fresh_id)["history_retention"] == 7
    assert Doctor.of(local()).look(fresh_id).faults == []


@pytest.mark.parametrize("longer", [90, 0])
def test_a_longer_retention(run: Any, stack: LocalStack, api: Any, fresh_id: str, retention: Any, longer: int) -> None:
    """Rows that were hidden stay hidden, because some of them are deleted. The others are kept longer."""
    rows = history(stack, fresh_id, written_with=7, own=7)
    shown = retained(rows, 7)
    for row in rows[: -len(shown)][::2]:
        delete(stack, row)
    # The functions keep the shorter retention of the container until the command has run.
    for sort_by, order in ORDERS:
        for query in filters(sort_by, rows):
            wanted = expected(shown, sort_by, order, query)
            assert shown_by(api, fresh_id, {**query, "sort_by": sort_by, "sort_order": order}) == (len(wanted), wanted)
    retention(longer)
    assert run("apply-retention", fresh_id).code == 0
    after = all_rows(stack, fresh_id)
    assert [days_of(row) for row in after[-len(shown) :]] == [longer or None] * len(shown)
    assert all(days_of(row) == 7 for row in after[: -len(shown)])
    look = Doctor.of(local()).look(fresh_id)
    assert look.item is not None
    assert (look.item.get("history_retention"), look.item["history_floor"]["log_count"]) == (
        longer or None,
        ROWS - len(shown),
    )
    assert look.faults == []
    for sort_by, order in ORDERS:
        for query in filters(sort_by, rows):
            wanted = expected(shown, sort_by, order, query)
            assert shown_by(api, fresh_id, {**query, "sort_by": sort_by, "sort_order": order}) == (len(wanted), wanted)
    again = run("apply-retention", fresh_id)
    assert again.out.split(": ")[-1].startswith("0 of ")
    assert Doctor.of(local()).look(fresh_id).item == look.item


def test_a_retention_that_was_never_used_is_undone(run: Any, stack: LocalStack, fresh_id: str, retention: Any) -> None:
    rows = history(stack, fresh_id)
    retention(0)
    assert run("apply-retention", fresh_id).out == "1 containers, retention: no limit: 0 of 0 rows changed\n"
    assert all_rows(stack, fresh_id) == rows
    assert Doctor.of(local()).look(fresh_id).faults == []


def test_rows_added_meanwhile(run: Any, stack: LocalStack, fresh_id: str, retention: Any, monkeypatch: Any) -> None:
    """A function with the previous value adds a row after the others were read."""
    history(stack, fresh_id, written_with=7, own=7)
    retention(90)
    rewrite = RetentionChange._rewrite
    added: list[Any] = []

    def then_a_row(self: RetentionChange, item: Any, *given: Any) -> Any:
        found = rewrite(self, item, *given)
        if not added:
            before = container_of(item)
            moment = SystemClock().now()
            after, entry = append(before, Change(Status.RUNNING, moment, Trigger.SYSTEM), "a" * 24, moment)
            added.append(entry)
            stack.client("dynamodb").put_item(TableName=stack.table_name("StatusLogsTable"), Item=log_item(entry, 7))
            stack.client("dynamodb").put_item(TableName=stack.table_name("ContainersTable"), Item=container_item(after))
        return found

    monkeypatch.setattr(RetentionChange, "_rewrite", then_a_row)
    assert run("apply-retention", fresh_id).code == 0
    last = all_rows(stack, fresh_id)[-1]
    assert (last["id"], days_of(last)) == ("a" * 24, 90)
    assert Doctor.of(local()).look(fresh_id).history.faults == []


def test_a_row_that_is_deleted_meanwhile_is_not_written(
    run: Any, stack: LocalStack, fresh_id: str, retention: Any, monkeypatch: Any
) -> None:
    rows = history(stack, fresh_id, written_with=7, own=7)
    write = RetentionChange._write_row

    def after_its_deletion(self: RetentionChange, row: Any, expires_at: int | None) -> Any:
        delete(stack, row)
        return write(self, row, expires_at)

    monkeypatch.setattr(RetentionChange, "_write_row", after_its_deletion)
    retention(90)
    run("apply-retention", fresh_id)
    assert len(all_rows(stack, fresh_id)) == len(rows) - len(retained(rows, 7))


def test_a_container_that_keeps_changing(run: Any, stack: LocalStack, fresh_id: str, monkeypatch: Any) -> None:
    history(stack, fresh_id)
    monkeypatch.setattr(RetentionChange, "_write_item", lambda *_: False)
    ran = run("apply-retention", fresh_id)
    assert (ran.code, ran.err) == (
        1,
        f"error: the retention was not applied to {fresh_id}: the container kept changing.\n",
    )


def test_a_container_that_does_not_exist(run: Any) -> None:
    ran = run("apply-retention", "e" * 24, "--json")
    assert ran.code == 1
    assert "does not exist" in ran.err


def test_an_operation_adds_a_row_with_a_time_to_live(stack: LocalStack, api: Any, fresh_id: str) -> None:
    Seeder(stack).add(fresh_id, ["stopped"])
    assert api.post(fresh_id, "start").status_code == 200
    row = all_rows(stack, fresh_id)[-1]
    assert days_of(row) == DAYS
    item = check(stack, fresh_id)
    assert item["history_retention"] == DAYS


def test_all_containers_by_default(run: Any, stack: LocalStack, fresh_id: str) -> None:
    history(stack, fresh_id)
    assert run("apply-retention").code == 0
    items = stack.client("dynamodb").scan(TableName=stack.table_name("ContainersTable"))["Items"]
    assert {item["history_retention"]["N"] for item in items} == {str(DAYS)}
