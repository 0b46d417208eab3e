"""Tests of the body of PATCH /containers/{id}."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from longshore.domain.changes import ContainerChange, stop_at_of
from longshore.domain.clock import MILLISECOND
from longshore.domain.errors import InvalidInputError
from longshore.domain.roles import Role
from longshore.domain.unchanged import UNCHANGED

NOW = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
EMPTY = "must have at least one of: name, labels, stop_at, hold_until, idle_timeout, protection, desired_count"
UNKNOWN = "is unknown; the keys are: name, labels, stop_at, hold_until, idle_timeout, protection, desired_count"
CONTROL = "must not contain control characters"
TIME = "must be an RFC 3339 time with an offset, or null"
RANGE = "must be 300 to 604800 seconds"
NO_TIMES: tuple[Any, ...] = (
    *("", "tomorrow", "2030-01-15", "2030-01-15T10:30:00", "2030-13-15T10:30:00Z"),
    *(1736937000, True, {}, []),
)
NO_INTEGERS: tuple[Any, ...] = ("300", 300.5, True, [])
KEY = "must have a key that matches [a-z0-9._-]{1,63}"


def faults_of(body: str | None) -> dict[str, str]:
    change, faults = ContainerChange.parse(body, NOW)
    assert change == ContainerChange()
    assert len({fault["instancePath"] for fault in faults}) == len(faults)
    return {fault["instancePath"]: fault["message"] for fault in faults}


@pytest.mark.parametrize(
    ("body", "change", "needs"),
    [
        ({"name": "a"}, ContainerChange("a"), Role.OWNER),
        ({"name": "x" * 128}, ContainerChange("x" * 128), Role.OWNER),
        ({"name": "  Zoë's 🐳\u200d <b>/~ "}, ContainerChange("  Zoë's 🐳\u200d <b>/~ "), Role.OWNER),
        ({"name": "🐳" * 128}, ContainerChange("🐳" * 128), Role.OWNER),
        ({"labels": None}, ContainerChange(labels={}), Role.OPERATOR),
        ({"labels": {}}, ContainerChange(labels={}), Role.OPERATOR),
        (
            {"labels": {"env": "dev", "a.b_c-9": ""}},
            ContainerChange(labels={"env": "dev", "a.b_c-9": ""}),
            Role.OPERATOR,
        ),
        ({"labels": {"k" * 63: "v" * 128}}, ContainerChange(labels={"k" * 63: "v" * 128}), Role.OPERATOR),
        (
            {"labels": {f"k{n}": "v" for n in range(16)}},
            ContainerChange(labels={f"k{n}": "v" for n in range(16)}),
            Role.OPERATOR,
        ),
        ({"labels": {"env": "dev"}, "name": "a"}, ContainerChange("a", {"env": "dev"}), Role.OWNER),
        ({"stop_at": "2025-01-15T12:30:00.0019+02:00"}, ContainerChange(stop_at=NOW + MILLISECOND), Role.OPERATOR),
        ({"stop_at": None}, ContainerChange(stop_at=None), Role.OPERATOR),
        ({"hold_until": "2025-01-15t10:30:01z"}, ContainerChange(hold_until=NOW + timedelta(seconds=1)), Role.OPERATOR),
        ({"hold_until": None}, ContainerChange(hold_until=None), Role.OPERATOR),
        ({"idle_timeout": 300}, ContainerChange(idle_timeout=300), Role.OPERATOR),
        ({"idle_timeout": 604_800}, ContainerChange(idle_timeout=604_800), Role.OPERATOR),
        ({"idle_timeout": None}, ContainerChange(idle_timeout=None), Role.OPERATOR),
        ({"protection": {"reason": "x" * 256}}, ContainerChange(protection="x" * 256), Role.OWNER),
        ({"protection": None}, ContainerChange(protection=None), Role.OWNER),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_valid_body(body: Any, change: ContainerChange, needs: Role) -> None:
    assert ContainerChange.parse(json.dumps(body), NOW) == (change, [])
    assert change.needs is needs


@pytest.mark.parametrize(
    "body",
    [
        None,
        "",
        " ",
        "{",
        '{"name": "a"',
        "{'name': 'a'}",
        '{"name": "a",}',
        '{"name": "a"} x',
        '{"name": NaN}',
        '{"name": -Infinity}',
        "\ufeff{}",
        '{"name": "a\nb"}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "1" * 5_000,
        "name=a",
    ],
    ids=lambda body: str(body)[:20],
)
def test_invalid_json(body: str | None) -> None:
    assert faults_of(body) == {"": "must be valid JSON"}


@pytest.mark.parametrize("body", ["[]", "null", "true", "1", '"name"', '[{"name": "a"}]'])
def test_no_object(body: str) -> None:
    assert faults_of(body) == {"": "must be object"}


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"": EMPTY}),
        ({"Name": "a"}, {"/Name": UNKNOWN}),
        ({"name": "a", "status": None}, {"/status": UNKNOWN}),
        *(({key: value}, {f"/{key}": TIME}) for key in ("stop_at", "hold_until") for value in NO_TIMES),
        ({"stop_at": "2025-01-15T10:30:00.0009Z"}, {"/stop_at": "must be in the future"}),
        ({"hold_until": "2025-01-15T11:29:59+01:00"}, {"/hold_until": "must be in the future"}),
        *(({"idle_timeout": value}, {"/idle_timeout": "must be integer or null"}) for value in NO_INTEGERS),
        *(({"idle_timeout": value}, {"/idle_timeout": RANGE}) for value in (0, -300, 299, 604_801)),
        ({"protection": "x"}, {"/protection": "must be object or null"}),
        ({"protection": {}}, {"/protection": "must have: reason"}),
        ({"protection": {"reason": ""}}, {"/protection/reason": "must be 1 to 256 characters"}),
        ({"protection": {"reason": "x" * 257}}, {"/protection/reason": "must be 1 to 256 characters"}),
        ({"protection": {"reason": None}}, {"/protection/reason": "must be string"}),
        ({"protection": {"reason": "a\nb"}}, {"/protection/reason": CONTROL}),
        (
            {"protection": {"reason": "x", "until": 1}},
            {"/protection/until": "is unknown; the only key is: reason"},
        ),
        ({"": 1, "a/b": 1, "m~n": 1}, {"/": UNKNOWN, "/a~1b": UNKNOWN, "/m~0n": UNKNOWN}),
        ({"a\x00\ud800b": 1}, {"/a??b": UNKNOWN}),
        ({"x" * 9000: 1}, {f"/{'x' * 199}...": UNKNOWN}),
        ({"name": None}, {"/name": "must be string"}),
        ({"name": 5}, {"/name": "must be string"}),
        ({"name": ["a"]}, {"/name": "must be string"}),
        ({"name": ""}, {"/name": "must be 1 to 128 characters"}),
        ({"name": "x" * 129}, {"/name": "must be 1 to 128 characters"}),
        *(({"name": f"a{c}b"}, {"/name": CONTROL}) for c in ("\x00", "\n", "\t", "\x1b", "\x7f", "\x85", "\ud800")),
        ({"labels": []}, {"/labels": "must be object or null"}),
        ({"labels": "env:dev"}, {"/labels": "must be object or null"}),
        ({"labels": False}, {"/labels": "must be object or null"}),
        ({"labels": {f"k{n}": "v" for n in range(17)}}, {"/labels": "must have at most 16 labels"}),
        ({"labels": {"": "v"}}, {"/labels/": KEY}),
        ({"labels": {"Env": "v"}}, {"/labels/Env": KEY}),
        ({"labels": {"a b": "v"}}, {"/labels/a b": KEY}),
        ({"labels": {"a/b": "v"}}, {"/labels/a~1b": KEY}),
        ({"labels": {"a\n": "v"}}, {"/labels/a?": KEY}),
        ({"labels": {"é": "v"}}, {"/labels/é": KEY}),
        ({"labels": {"k" * 64: "v"}}, {f"/labels/{'k' * 64}": KEY}),
        ({"labels": {"env": None}}, {"/labels/env": "must be string"}),
        ({"labels": {"env": 1}}, {"/labels/env": "must be string"}),
        ({"labels": {"env": "v" * 129}}, {"/labels/env": "must be 0 to 128 characters"}),
        ({"labels": {"env": "a\x00"}}, {"/labels/env": CONTROL}),
        (
            {"name": "", "labels": {"A": "v", "env": 1}, "x": 1},
            {"/name": "must be 1 to 128 characters", "/labels/A": KEY, "/labels/env": "must be string", "/x": UNKNOWN},
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_invalid_body(body: Any, faults: dict[str, str]) -> None:
    assert faults_of(json.dumps(body)) == faults


def test_a_value_with_several_faults_lists_all_of_them() -> None:
    _, faults = ContainerChange.parse(json.dumps({"labels": {"A": "\n" * 129}}), NOW)
    assert [fault["message"] for fault in faults] == [KEY, "must be 0 to 128 characters", CONTROL]
    assert {fault["instancePath"] for fault in faults} == {"/labels/A"}


def test_at_most_a_hundred_faults_are_listed() -> None:
    _, faults = ContainerChange.parse(json.dumps({f"k{n}": n for n in range(1000)}), NOW)
    assert len(faults) == 100


@pytest.mark.parametrize(("body", "message"), [("", "body must be valid JSON"), ('{"x": 1}', f"x {UNKNOWN}")])
def test_the_message_names_the_field(body: str, message: str) -> None:
    _, faults = ContainerChange.parse(body, NOW)
    assert InvalidInputError(faults).message == message


def test_each_role_includes_those_before_it() -> None:
    including = {role: {other for other in Role if role.includes(other)} for role in Role}
    assert including == {
        Role.VIEWER: {Role.VIEWER},
        Role.OPERATOR: {Role.VIEWER, Role.OPERATOR},
        Role.OWNER: {Role.VIEWER, Role.OPERATOR, Role.OWNER},
    }


# --- bodies of operations ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [None, "", "x", "{", "[]", "1", '"stop_at"', "{}", '{"Stop_at": "2030-01-15T10:30:00Z"}', "[" * 100_000],
    ids=lambda body: str(body)[:20],
)
def test_a_body_of_an_operation_without_stop_at_is_ignored(body: str | None) -> None:
    assert stop_at_of(body) == (UNCHANGED, [])


@pytest.mark.parametrize(
    ("value", "stop_at"),
    [("2025-01-15T11:30:00+01:00", NOW), ("2020-01-01T00:00:00Z", NOW.replace(2020, 1, 1, 0, 0)), (None, None)],
)
def test_stop_at_in_the_body_of_an_operation(value: str | None, stop_at: datetime | None) -> None:
    """The time may have passed, because the answer stored for an Idempotency-Key is returned later too."""
    assert stop_at_of(json.dumps({"stop_at": value, "other": "x" * 1000})) == (stop_at, [])


@pytest.mark.parametrize("value", NO_TIMES)
def test_an_invalid_stop_at_in_the_body_of_an_operation(value: Any) -> None:
    faults = [{"instancePath": "/stop_at", "message": TIME}]
    assert stop_at_of(json.dumps({"stop_at": value})) == (UNCHANGED, faults)
