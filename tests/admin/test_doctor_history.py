"""doctor: faults of the rows and of the values that are computed from them, and their repair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from api_client import Api
from corruption import OLD, change, change_row, faults_of, item, remove_row, remove_rows
from invariants import all_rows, check
from longshore.aws.store import ConditionFailed, Store
from longshore.domain.history import append
from longshore.domain.lifecycle import Status
from longshore.domain.models import Change, Container
from longshore.domain.pending import Trigger
from settling import LONG_AGO

from admin.adoption import store_of
from admin.target import local
from local.seed import Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.usefixtures("no_scheduled_sweeps", "no_waiting")


CHAIN: list[tuple[str, Callable[[LocalStack, str], None], str]] = [
    ("missing row", lambda stack, identity: remove_row(stack, identity, 5), "has seq 7, not 6"),
    ("missing first row", lambda stack, identity: remove_row(stack, identity, 0), "has from_status stopped, not None"),
    ("no rows", remove_rows, "the history has no rows"),
    (
        "wrong from_status",
        lambda stack, identity: change_row(stack, identity, 5, from_status="paused"),
        "has from_status paused",
    ),
    ("duplicate seq", lambda stack, identity: change_row(stack, identity, 5, seq=5), "has seq 5, not 6"),
    (
        "created_at too early",
        lambda stack, identity: change_row(stack, identity, 5, created_at=LONG_AGO),
        "has a created_at before",
    ),
]


@pytest.mark.parametrize(("break_it", "message"), [case[1:] for case in CHAIN], ids=[case[0] for case in CHAIN])
def test_a_broken_chain_is_not_repaired(
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
    faults = faults_of(run, fresh_id)
    assert {code for code, _ in faults} <= {"CHAIN_BROKEN", "RANK_WRONG"}
    assert any(code == "CHAIN_BROKEN" and message in text for code, text in faults)
    # The missing history cannot be computed. Neither the rows nor the counters are changed.
    assert "CHAIN_BROKEN" in {code for code, _ in faults_of(run, fresh_id, "--repair")}
    assert (all_rows(stack, fresh_id), item(stack, fresh_id)) == (rows, before)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"to_n": {"s": 1}}, "has the to_n {'s': 1}, not {'s': 3, 'r': 3}"),
        ({"from_n": {}}, "has the from_n {}, not {'n': 1, 's': 3, 'r': 2}"),
        ({"to_n": {"s": 3, "r": 4}, "to_rank": "running#0000000009"}, "has the to_rank running#0000000009, not"),
    ],
)
def test_wrong_counters_of_a_row(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, attributes: dict[str, Any], message: str
) -> None:
    seeder.add(fresh_id, OLD)
    rows = all_rows(stack, fresh_id)
    change_row(stack, fresh_id, 5, **attributes)
    ((code, text),) = faults_of(run, fresh_id)
    assert code == "RANK_WRONG"
    assert message in text
    assert {code for code, _ in faults_of(run, fresh_id, "--repair")} == {"RANK_WRONG"}
    assert all_rows(stack, fresh_id) == rows
    check(stack, fresh_id)


def test_missing_counters_of_a_row(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, OLD)
    rows = all_rows(stack, fresh_id)
    change_row(stack, fresh_id, 5, to_n=None, from_n=None)
    ((code, text),) = faults_of(run, fresh_id)
    assert (code, "has the to_n None, not" in text) == ("RANK_WRONG", True)
    faults_of(run, fresh_id, "--repair")
    assert all_rows(stack, fresh_id) == rows


@pytest.mark.parametrize("project_id", ["x", None])
def test_a_row_of_an_invalid_project(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, project_id: str | None
) -> None:
    seeder.add(fresh_id, OLD)
    change_row(stack, fresh_id, 5, project_id=project_id)
    ((code, text),) = faults_of(run, fresh_id)
    assert (code, f"has the project_id {project_id}, which is not an id" in text) == ("ROW_MALFORMED", True)


def test_a_status_unlike_the_last_row_is_not_repaired(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str
) -> None:
    seeder.add(fresh_id, [*OLD, "stopped"])
    change(stack, fresh_id, status="failed")
    fault = ("STATUS_DIFFERS", "status is failed, but to_status of the last row is stopped")
    assert faults_of(run, fresh_id) == [fault]
    before = item(stack, fresh_id)
    assert faults_of(run, fresh_id, "--repair") == [fault]
    assert item(stack, fresh_id) == before


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"log_count": 29}, "log_count is 29, not 30"),
        ({"log_count": 31}, "log_count is 31, not 30"),
        ({"to_counts": {"running": 9, "stopped": 10}}, "to_counts is {'running': 9, 'stopped': 10}, not"),
        ({"from_counts": {}}, "from_counts is {}, not"),
        ({"last_created_at": LONG_AGO}, "last_created_at is 2020-01-01"),
        ({"status_since": LONG_AGO}, "status_since is 2020-01-01"),
    ],
)
def test_wrong_counters_are_recomputed(
    run: Any, stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str, attributes: dict[str, Any], message: str
) -> None:
    seeder.add(fresh_id, OLD)
    change(stack, fresh_id, **attributes)
    ((code, text),) = faults_of(run, fresh_id)
    assert (code, text[: len(message)]) == ("COUNTER_WRONG", message)
    repaired = run("doctor", fresh_id, "--repair")
    assert (repaired.code, repaired.out.endswith("(repaired)\n")) == (0, True), repaired
    check(stack, fresh_id)
    assert api.post(fresh_id, "stop").status_code == 200
    check(stack, fresh_id)


def test_wrong_ranks_are_recomputed(run: Any, stack: LocalStack, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, OLD)
    change_row(stack, fresh_id, 4, to_rank="stopped#0000000009")
    for position in range(7, 15):
        change_row(stack, fresh_id, position, from_rank="x")
    faults = faults_of(run, fresh_id)
    assert [code for code, _ in faults] == ["RANK_WRONG"] * 6
    assert faults[-1][1] == "and 4 more"
    assert run("doctor", fresh_id, "--repair").code == 0
    check(stack, fresh_id)
    assert len(api.logs(fresh_id, sort_by="from_status", limit=100).json()["data"]["logs"]) == len(OLD)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"to_status": "exploded"}, "is malformed: to_status"),
        ({"triggered_by": None}, "is malformed: triggered_by"),
        ({"created_at": "2099-01-01"}, "is not in the API's time format"),
        ({"created_at": "2099-01-01T00:00:00+00:00"}, "is not in the API's time format"),
    ],
)
def test_a_malformed_row_is_not_repaired(
    run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str, attributes: dict[str, Any], message: str
) -> None:
    seeder.add(fresh_id, [*OLD, "stopped"])
    change_row(stack, fresh_id, 3, **attributes)
    rows = all_rows(stack, fresh_id)
    assert any(code == "ROW_MALFORMED" and message in text for code, text in faults_of(run, fresh_id))
    assert run("doctor", fresh_id, "--repair").code == 1
    assert all_rows(stack, fresh_id) == rows


def test_a_full_history(run: Any, stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    """The last status change has no row, so the status and its time differ from the last row."""
    seeder.add(fresh_id, [*OLD, "stopped"])
    change(stack, fresh_id, history_full=True, status="failed", status_since=LONG_AGO)
    fault = (
        "HISTORY_FULL",
        "the history has reached DynamoDB's limit of 10 GB: only stop and force-stop are possible",
    )
    assert faults_of(run, fresh_id) == [fault]
    before = item(stack, fresh_id)
    assert faults_of(run, fresh_id, "--repair") == [fault]
    assert item(stack, fresh_id) == before
    # The counters must still equal the count of the rows, and a repair does not change the time of the status.
    change(stack, fresh_id, log_count=3)
    assert {code for code, _ in faults_of(run, fresh_id)} == {"HISTORY_FULL", "COUNTER_WRONG"}
    assert run("doctor", fresh_id, "--repair").code == 1
    after = item(stack, fresh_id)
    assert {name for name in before if before[name] != after[name]} == {"generation"}


def test_a_writer_that_has_read_wrong_counters_cannot_write_them_back(
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
