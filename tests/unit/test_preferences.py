"""Tests of the request header `Prefer`, and of the header that names the applied preferences."""

from datetime import timedelta

import pytest
from longshore.domain.lifecycle import Operation
from longshore.domain.models import OutcomeKind
from longshore.edge.http import Answer, Request, operation_answer
from longshore.edge.preferences import Preferences
from unit.http_calls import call, event, outcome, raising

pytestmark = pytest.mark.usefixtures("function_environment")


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


ASYNC = Preferences(respond_async=True)
TEN = Preferences(wait=seconds(10))


@pytest.mark.parametrize(
    ("headers", "preferences"),
    [
        ([], Preferences()),
        (["respond-async"], ASYNC),
        (["Respond-ASYNC"], ASYNC),
        ([' respond-async=""'], ASYNC),
        (["respond-async ="], ASYNC),
        (["respond-async; foo=bar"], ASYNC),
        (["wait=10"], TEN),
        (["WAIT = 10 "], TEN),
        (['wait="10"'], TEN),
        (['wait="1\\0"'], TEN),
        (["wait=0010;a;b=c"], TEN),
        (["wait=0"], Preferences(wait=seconds(0))),
        (["wait=000"], Preferences(wait=seconds(0))),
        (["respond-async, wait=10"], Preferences(True, seconds(10))),
        (["respond-async", "wait=10"], Preferences(True, seconds(10))),
        (["handling=lenient,wait=10,,return=minimal"], TEN),
        # The first occurrence counts.
        (["wait=10, wait=5"], TEN),
        (["wait=10", "wait=5"], TEN),
        (["wait=x, wait=10"], Preferences()),
        # A quoted string is a value, not a list of preferences.
        (['foo="respond-async, wait=10"'], Preferences()),
        (['foo="\\", respond-async, wait=10"'], Preferences()),
        (['foo="bar, respond-async'], Preferences()),
        (['foo="bar\\'], Preferences()),
        (['foo="bar', "wait=10"], TEN),
        (['foo=";"; x="a,b", wait=10'], TEN),
    ],
    ids=repr,
)
def test_preferences(headers: list[str], preferences: Preferences) -> None:
    assert Preferences.parse(headers) == preferences


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",,,",
        ";",
        "=",
        "wait",
        "wait=",
        'wait=""',
        "wait=-1",
        "wait=+1",
        "wait=1.5",
        "wait=1e1",
        "wait=ten",
        "wait=10s",
        "wait 10",
        "wait==10",
        "wait=10 20",
        "wait=１",  # noqa: RUF001
        "respond-async=1",
        "respond-async=true",
        "respond async",
        "respond-async foo",
        "respond_async",
        "(respond-async)",
        '"respond-async"',
        "return=minimal",
    ],
)
def test_other_and_malformed_preferences_are_ignored(header: str) -> None:
    assert Preferences.parse([header]) == Preferences()


@pytest.mark.parametrize("digits", [7, 400, 5000])
def test_a_very_long_wait(digits: int) -> None:
    wait = Preferences.parse(["wait=" + "9" * digits]).wait
    assert wait is not None
    assert wait > timedelta(hours=1)


@pytest.mark.parametrize("header", [" " * 9000, "wait=" + " " * 9000 + "x", "=," * 4500, '"' * 9000, 'a="\\' * 3000])
def test_long_headers(header: str) -> None:
    assert Preferences.parse([header]) == Preferences()


@pytest.mark.parametrize(
    ("preferences", "longest"),
    [
        (Preferences(), None),
        (ASYNC, seconds(0)),
        (TEN, seconds(10)),
        (Preferences(True, seconds(10)), seconds(10)),
        (Preferences(True, seconds(0)), seconds(0)),
    ],
)
def test_the_longest_wait(preferences: Preferences, longest: timedelta | None) -> None:
    assert preferences.longest_wait == longest


@pytest.mark.parametrize(
    ("preferences", "completed", "accepted"),
    [
        (Preferences(), {}, {}),
        (ASYNC, {}, {"Preference-Applied": "respond-async"}),
        (TEN, {"Preference-Applied": "wait=10"}, {"Preference-Applied": "wait=10"}),
        (Preferences(wait=seconds(0.5)), {"Preference-Applied": "wait=0.5"}, {"Preference-Applied": "wait=0.5"}),
        (
            Preferences(True, seconds(10)),
            {"Preference-Applied": "wait=10"},
            {"Preference-Applied": "respond-async, wait=10"},
        ),
    ],
)
def test_the_applied_preferences(preferences: Preferences, completed: dict[str, str], accepted: dict[str, str]) -> None:
    pending = {"operation": "force-stop", "started_at": "2025-01-15T10:30:00.000Z", "triggered_by": "user"}
    for given, headers in (
        (outcome(OutcomeKind.COMPLETED), completed),
        (outcome(OutcomeKind.ACCEPTED, pending_operation=pending), accepted),
    ):
        plain, answer = operation_answer(given), operation_answer(given, preferences)
        assert plain.headers == {}
        assert answer == plain._replace(headers=headers)


def test_the_headers_of_an_answer_are_added_to_the_response() -> None:
    plain = call(lambda _: Answer("Fine", {}))
    response = call(lambda _: Answer("Fine", {}, headers={"Preference-Applied": "wait=1"}))
    assert response == plain | {"headers": plain["headers"] | {"Preference-Applied": "wait=1"}}


def test_a_wait_is_limited_to_that_of_the_stack() -> None:
    assert Preferences(wait=seconds(60)).within(seconds(8)) == Preferences(wait=seconds(8))
    assert TEN.within(seconds(20)) == TEN
    assert ASYNC.within(seconds(8)) == ASYNC


def test_an_operation_request_has_the_wait_of_all_headers() -> None:
    found = []

    def handler(request: Request) -> Answer:
        found.append(request.to_perform(Operation.START).wait)
        return Answer("Fine", {})

    call(handler, event(multiValueHeaders={"prefer": ["respond-async", "wait=7"]}))
    call(handler, event(multiValueHeaders={"PREFER": ["respond-async"]}))
    call(handler, event(multiValueHeaders={"Preference": ["wait=7"]}))
    call(handler)
    assert found == [seconds(7), seconds(0), None, None]


def test_an_error_names_no_preferences() -> None:
    given = event(multiValueHeaders={"Prefer": ["wait=7"]})
    assert "Preference-Applied" not in call(raising(RuntimeError("x")), given)["headers"]
