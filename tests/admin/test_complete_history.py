"""complete-history: adds counters and projects to rows that version 0.1 wrote."""

from __future__ import annotations

from typing import Any

import pytest
from corruption import change_row, remove_row
from invariants import all_rows, check

from admin.completion import ADDED, Completion
from local.seed import PROJECT, Seeder, container_id, long_history
from local.stack import LocalStack

OTHER = "e" * 23 + "1"


@pytest.fixture
def old(stack: LocalStack, seeder: Seeder, fresh_id: str) -> list[dict[str, Any]]:
    """The rows of a container before their new attributes were removed."""
    seeder.add(fresh_id, long_history(12))
    rows = all_rows(stack, fresh_id)
    strip(stack, fresh_id, *range(12))
    return rows


def strip(stack: LocalStack, identity: str, *positions: int) -> None:
    """Remove the attributes that version 0.1 does not write from rows."""
    for position in positions:
        change_row(stack, identity, position, **dict.fromkeys(ADDED))


def test_all_rows_are_completed(run: Any, stack: LocalStack, fresh_id: str, old: list[dict[str, Any]]) -> None:
    assert not any(set(ADDED) & row.keys() for row in all_rows(stack, fresh_id))
    ran = run("complete-history")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.endswith(" containers: 12 rows completed, 5 were complete\n")
    assert all_rows(stack, fresh_id) == old
    check(stack, fresh_id)
    assert run("complete-history", fresh_id).out == "1 containers: 0 rows completed, 12 were complete\n"


def test_only_the_given_containers_are_completed(
    run: Any, stack: LocalStack, fresh_id: str, old: list[dict[str, Any]]
) -> None:
    assert run("complete-history", container_id(11)).out == "1 containers: 0 rows completed, 3 were complete\n"
    assert not any(set(ADDED) & row.keys() for row in all_rows(stack, fresh_id))
    assert run("complete-history", fresh_id).code == 0


@pytest.mark.parametrize("name", ADDED)
def test_only_missing_attributes_are_written(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, name: str
) -> None:
    """An attribute that a row has is kept, even if it is wrong: that is for `doctor` to find."""
    seeder.add(fresh_id, long_history(6))
    rows = all_rows(stack, fresh_id)
    change_row(stack, fresh_id, 3, **{name: None})
    other = next(each for each in ADDED if each != name)
    change_row(stack, fresh_id, 3, **{other: "kept"})
    assert run("complete-history", fresh_id).out == "1 containers: 1 rows completed, 5 were complete\n"
    rows[3][other] = "kept"
    assert all_rows(stack, fresh_id) == rows
    change_row(stack, fresh_id, 3, **{other: None})
    assert run("complete-history", fresh_id).code == 0


def test_rows_of_a_container_that_was_moved(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    """A row belongs to the project of the next row that has one."""
    seeder.add(fresh_id, long_history(9))
    for position in (3, 5):
        change_row(stack, fresh_id, position, project_id=OTHER)
    strip(stack, fresh_id, 0, 1, 2, 4, 6, 8)
    assert run("complete-history", fresh_id).code == 0
    projects = [row["project_id"] for row in all_rows(stack, fresh_id)]
    assert projects == [OTHER] * 6 + [PROJECT] * 3


def test_a_broken_chain_is_not_completed(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, old: list[dict[str, Any]]
) -> None:
    """Rows before the gap are right. Rows of other containers are completed."""
    intact = fresh_id[:-4] + "ffff"
    seeder.add(intact, ["stopped", "running"])
    strip(stack, intact, 0, 1)
    remove_row(stack, fresh_id, 4)
    ran = run("complete-history", fresh_id, intact)
    problem = f"the row at {old[5]['transition_time']} does not follow from the rows before: run doctor"
    assert ran.err == f"error: the history of {fresh_id} was not completed: {problem}.\n"
    assert (ran.code, ran.out) == (1, "2 containers: 6 rows completed, 0 were complete\n")
    rows = all_rows(stack, fresh_id)
    assert rows[:4] == old[:4]
    assert not any(set(ADDED) & row.keys() for row in rows[4:])
    seeder.add(fresh_id, ["stopped"])


def test_a_row_that_changes_meanwhile_is_not_written(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, old: list[dict[str, Any]], monkeypatch: Any
) -> None:
    counted = Completion._counted

    def changed_after_the_read(self: Completion, *given: Any) -> Any:
        for row, counts in counted(self, *given):
            if row["seq"] == 3:
                remove_row(stack, fresh_id, 2)
            yield row, counts

    monkeypatch.setattr(Completion, "_counted", changed_after_the_read)
    ran = run("complete-history", fresh_id)
    assert ran.code == 1
    assert "a row has changed" in ran.err
    # The row is not written again.
    assert [row["seq"] for row in all_rows(stack, fresh_id)] == [1, 2, *range(4, 13)]
    seeder.add(fresh_id, ["stopped"])


def test_rows_added_meanwhile(
    run: Any, stack: LocalStack, api: Any, fresh_id: str, old: list[dict[str, Any]], monkeypatch: Any
) -> None:
    counted = Completion._counted

    def with_an_operation(self: Completion, *given: Any) -> Any:
        for row, counts in counted(self, *given):
            if row["seq"] == 1:
                assert api.post(fresh_id, "start").status_code == 200
            yield row, counts

    monkeypatch.setattr(Completion, "_counted", with_an_operation)
    assert run("complete-history", fresh_id).code == 0
    check(stack, fresh_id)
    assert all_rows(stack, fresh_id)[:12] == old


def test_a_failure_can_be_repeated(
    run: Any, stack: LocalStack, fresh_id: str, old: list[dict[str, Any]], emulator: Any
) -> None:
    emulator.faults.add("dynamodb", "UpdateItem", "InternalServerError", status=500, times=5)
    assert run("complete-history", fresh_id).code in (0, 3)
    emulator.faults.clear()
    assert run("complete-history", fresh_id).code == 0
    assert all_rows(stack, fresh_id) == old


def test_unknown_containers(run: Any, fresh_id: str) -> None:
    ran = run("complete-history", fresh_id)
    assert ran.code == 1
    assert ran.err == f"error: the history of {fresh_id} was not completed: the container does not exist.\n"
    assert run("complete-history", "x").code == 1


def test_pages_of_rows_without_counters_are_those_of_complete_rows(
    run: Any, stack: LocalStack, api: Any, fresh_id: str, old: list[dict[str, Any]]
) -> None:
    since, until = old[2]["transition_time"], old[9]["transition_time"]
    queries = [
        {
            "from": since,
            "to": until,
            "sort_by": sort_by,
            **({"to_status": "running"} if sort_by != "from_status" else {}),
        }
        for sort_by in ("transition_time", "to_status", "from_status")
    ]
    before = [api.logs(fresh_id, **query).json()["data"] for query in queries]
    assert run("complete-history", fresh_id).code == 0
    assert [api.logs(fresh_id, **query).json()["data"] for query in queries] == before
    assert before[2]["pagination"]["total"] == 8
