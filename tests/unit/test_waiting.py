"""Tests of the query of GET /containers/{id}."""

from typing import NamedTuple

import pytest
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.waiting import WaitQuery

TARGETS = "must be one of: settled, stopped, running, paused, failed, expired"


class State(NamedTuple):
    status: Status
    pending: Operation | None


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({}, WaitQuery(None, 20)),
        ({"wait_for": ["settled"]}, WaitQuery("settled", 20)),
        ({"wait_for": ["paused"], "timeout": ["1"]}, WaitQuery("paused", 1)),
        ({"wait_for": ["expired"], "timeout": ["25"], "other": ["x", "y"]}, WaitQuery("expired", 25)),
        ({"timeout": ["5"]}, WaitQuery(None, 5)),
    ],
)
def test_a_valid_query(given: dict[str, list[str]], query: WaitQuery) -> None:
    assert WaitQuery.parse(given) == (query, {})


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        ({"wait_for": [""]}, {"wait_for": TARGETS}),
        ({"wait_for": ["Settled"]}, {"wait_for": TARGETS}),
        ({"wait_for": ["starting"]}, {"wait_for": TARGETS}),
        ({"wait_for": ["settled,stopped"]}, {"wait_for": TARGETS}),
        ({"wait_for": ["settled", "settled"]}, {"wait_for": "must be given once"}),
        ({"timeout": ["0"]}, {"timeout": "must be >= 1"}),
        ({"timeout": ["26"]}, {"timeout": "must be <= 25"}),
        ({"timeout": ["1.5"]}, {"timeout": "must be integer"}),
        ({"timeout": [""]}, {"timeout": "must be integer"}),
        ({"timeout": ["5", "5"]}, {"timeout": "must be given once"}),
        ({"wait_for": ["x"], "timeout": ["x"]}, {"wait_for": TARGETS, "timeout": "must be integer"}),
    ],
)
def test_an_invalid_query(given: dict[str, list[str]], faults: dict[str, str]) -> None:
    assert WaitQuery.parse(given)[1] == faults


@pytest.mark.parametrize(
    ("wait_for", "status", "pending", "met"),
    [
        (None, Status.STOPPED, Operation.START, True),
        ("settled", Status.STOPPED, Operation.START, False),
        ("settled", Status.STOPPED, None, True),
        ("stopped", Status.STOPPED, Operation.START, True),
        ("running", Status.STOPPED, None, False),
        ("running", Status.RUNNING, None, True),
    ],
)
def test_what_a_query_waits_for(wait_for: str | None, status: Status, pending: Operation | None, met: bool) -> None:
    assert WaitQuery(wait_for).is_met_by(State(status, pending)) is met
