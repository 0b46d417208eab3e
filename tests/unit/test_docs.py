"""docs/states.md says what the code does."""

import re
from pathlib import Path

import pytest
from longshore.domain.lifecycle import (
    GOAL,
    LIVE,
    LaunchType,
    Operation,
    Proceed,
    Refused,
    Status,
    Step,
    decide,
    in_progress,
    next_step,
)
from longshore.engine.commits import DEADLINE
from longshore.engine.giving_up import LAST_ATTEMPT
from longshore.engine.sweeps import _STUCK

PAGE = Path(__file__).parents[2] / "docs" / "states.md"


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose header begins with the heading, without header and rule."""
    lines = PAGE.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
    return rows


def test_statuses() -> None:
    rows = {name: kind for name, kind, _ in table("status | kind")}
    assert list(rows) == list(Status)
    assert {name for name, kind in rows.items() if "live" in kind} == LIVE
    assert [name for name, kind in rows.items() if kind == "terminal"] == [Status.EXPIRED]


def steps(operation: Operation, first: Step) -> list[Step]:
    following = next_step(operation, first)
    return [first, *(steps(operation, following) if following else [])]


@pytest.mark.parametrize("row", table("status | start"), ids=lambda row: row[0])
def test_what_is_allowed(row: list[str]) -> None:
    status, *cells = row
    for operation, cell in zip(Operation, cells, strict=True):
        verdict = decide(Status(status), operation, None, LaunchType.EC2)
        if isinstance(verdict, Refused):
            assert cell == verdict.message
        else:
            assert cell == ", ".join(GOAL[step] for step in steps(operation, verdict.step))


def test_pending_operations() -> None:
    rows = table("pending")
    assert [row[0] for row in rows] == list(Operation)
    for name, said, told in rows:
        operation = Operation(name)
        assert said == in_progress(operation)
        begins = [decide(status, operation, None, LaunchType.EC2) for status in Status]
        ways: set[tuple[Step, ...]] = {
            tuple(steps(operation, verdict.step)) for verdict in begins if isinstance(verdict, Proceed)
        }
        longest = max(ways, key=lambda way: len(way))
        assert told == ", ".join(longest)


def test_steps() -> None:
    assert [row[0] for row in table("step | what it does")] == list(Step)


def test_when_an_operation_is_stuck() -> None:
    wait, deadline, stuck, given_up = (int(re.findall(r"\d+", row[0])[0]) for row in table("after"))
    template = (PAGE.parents[1] / "template.yaml").read_text()
    assert f"WaitSeconds:\n    Type: Number\n    Default: {wait}\n" in template
    assert deadline == DEADLINE.total_seconds()
    assert (stuck, given_up) == (_STUCK, LAST_ATTEMPT)
