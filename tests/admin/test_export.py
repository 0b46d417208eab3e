"""export: complete files of rows as CSV and JSON lines, which are continued after a failure."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from invariants import all_rows

from admin.export import FIELDS, Rows
from local.emulator import Emulator
from local.seed import PROJECT, Seeder, container_id, long_history
from local.stack import LocalStack

OTHER = "e" * 23 + "3"


def exported(text: str, form: str) -> list[dict[str, Any]]:
    """Parse an export. In CSV, all values but the metadata are text, and null is empty."""
    if form == "jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return [
        {name: (json.loads(value) if name == "metadata" else value) if value else None for name, value in row.items()}
        for row in csv.DictReader(text.splitlines())
    ]


def expected(rows: list[dict[str, Any]], form: str) -> list[dict[str, Any]]:
    found = [{name: row.get(name) for name in FIELDS} for row in rows]
    if form == "csv":
        for row in found:
            row |= {name: str(row[name]) for name in ("seq", "duration_ms") if row[name] is not None}
    return found


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_container(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, tmp_path: Path, form: str) -> None:
    """The rows of an unregistered container can be exported too."""
    seeder.add(fresh_id, long_history(20), metadata=lambda *_: {"reason": 'line\none, "two", \u2028'})
    rows = expected(all_rows(stack, fresh_id), form)
    stack.client("dynamodb").delete_item(TableName=stack.table_name("ContainersTable"), Key={"id": {"S": fresh_id}})
    printed = run("export", fresh_id, "--format", form)
    assert (printed.code, printed.err) == (0, "Exported 20 rows.\n")
    assert exported(printed.out, form) == rows
    file = tmp_path / "rows"
    written = run("export", fresh_id, "--format", form, "--output", str(file), "--json")
    assert json.loads(written.out) == {"file": str(file), "rows": 20, "continued": False}
    assert written.err == ""
    assert file.read_text() == printed.out
    assert list(tmp_path.iterdir()) == [file]
    refused = run("export", fresh_id, "--format", form, "--output", str(file))
    assert (refused.code, refused.err) == (1, f"error: The file {file} exists: choose another file.\n")


def test_a_project(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    """It contains the rows that were written under the project, by time, also of containers that were moved."""
    second = f"a{fresh_id[1:]}"
    seeder.add(fresh_id, ["stopped", "running", "stopped"], project=OTHER)
    seeder.add(second, ["stopped", "running", "stopped"], project=OTHER)
    assert run("move", second, PROJECT).code == 0
    rows = exported(run("export", "--project", OTHER).out, "jsonl")
    times = [row["transition_time"] for row in rows]
    assert times == sorted(times)
    both = [*all_rows(stack, fresh_id), *all_rows(stack, second)]
    assert sorted(rows, key=str) == sorted(expected(both, "jsonl"), key=str)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("selection", ["container", "project"])
@pytest.mark.parametrize("cut", [0, 10, 700, -1])
def test_an_interrupted_export_is_continued(
    run: Any, seeder: Seeder, fresh_id: str, tmp_path: Path, form: str, selection: str, cut: int
) -> None:
    """The incomplete file ends anywhere: after no byte, within the first line, or within a later line."""
    project = f"e3{fresh_id[2:]}"
    seeder.add(fresh_id, long_history(9), project=project)
    arguments = ["export", *([fresh_id] if selection == "container" else ["--project", project]), "--format", form]
    whole = run(*arguments).out
    (tmp_path / "rows.part").write_text(whole[:cut] if cut >= 0 else whole[: -(len(whole) // 3)])
    file = tmp_path / "rows"
    assert run(*arguments, "--output", str(file)).code == 0
    assert file.read_text() == whole


def test_a_failure_keeps_the_rows(
    run: Any, stack: LocalStack, seeder: Seeder, emulator: Emulator, fresh_id: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The second page cannot be read. The repeated command reads only the remaining rows."""
    seeder.add(fresh_id, long_history(9))
    everything = Rows.after

    def small_pages(self: Rows, row: Any) -> Any:
        self._request["Limit"] = 4
        return everything(self, row)

    monkeypatch.setattr(Rows, "after", small_pages)
    file = tmp_path / "rows"
    emulator.faults.add(
        "dynamodb", "Query", "AccessDeniedException", status=400, match=lambda sent: "ExclusiveStartKey" in sent
    )
    failed = run("export", fresh_id, "--output", str(file))
    assert failed.code == 3
    assert failed.err.splitlines()[0] == f"The file {file}.part is incomplete: repeat the command to continue."
    assert not file.exists()
    again = run("export", fresh_id, "--output", str(file))
    assert (again.code, again.err) == (0, f"Exported 5 more rows to {file}.\n")
    assert [row["seq"] for row in exported(file.read_text(), "jsonl")] == list(range(1, 10))


@pytest.mark.parametrize("content", ["[]\n", "no JSON\n", '{"id":"1"}\n', "id,container_id\n1,2\n"])
def test_the_part_of_another_export_is_not_continued(run: Any, tmp_path: Path, content: str) -> None:
    file = tmp_path / "rows"
    part = tmp_path / "rows.part"
    part.write_text(content)
    for form in ("jsonl", "csv"):
        refused = run("export", container_id(11), "--output", str(file), "--format", form)
        assert (refused.code, "is not a part of this export" in refused.err) == (1, True)
        assert part.read_text() == content


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "specify either an id or --project"),
        ([container_id(11), "--project", PROJECT], 2, "specify either an id or --project"),
        ([container_id(11), "--json"], 2, "--json requires --output"),
        (["507f"], 1, "The id must be 24 characters"),
        (["f" * 24], 1, f"error: There are no history rows of {'f' * 24}."),
        ([container_id(11), "--output", "/nowhere/rows"], 1, "The file /nowhere/rows.part cannot be written: No such"),
    ],
)
def test_invalid_arguments(run: Any, arguments: list[str], code: int, message: str) -> None:
    refused = run("export", *arguments)
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err
