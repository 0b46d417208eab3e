"""Tests of the body of PATCH /containers/{id}."""

import json
from typing import Any

import pytest
from longshore.domain.changes import ContainerChange
from longshore.domain.errors import InvalidInputError
from longshore.domain.roles import Role

EMPTY = "must have at least one of: name, labels"
UNKNOWN = "is unknown; the keys are: name, labels"
CONTROL = "must not contain control characters"
KEY = "must have a key that matches [a-z0-9._-]{1,63}"


def faults_of(body: str | None) -> dict[str, str]:
    change, faults = ContainerChange.parse(body)
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
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_valid_body(body: Any, change: ContainerChange, needs: Role) -> None:
    assert ContainerChange.parse(json.dumps(body)) == (change, [])
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
        ({"name": "a", "stop_at": None}, {"/stop_at": UNKNOWN}),
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
    _, faults = ContainerChange.parse(json.dumps({"labels": {"A": "\n" * 129}}))
    assert [fault["message"] for fault in faults] == [KEY, "must be 0 to 128 characters", CONTROL]
    assert {fault["instancePath"] for fault in faults} == {"/labels/A"}


def test_at_most_a_hundred_faults_are_listed() -> None:
    _, faults = ContainerChange.parse(json.dumps({f"k{n}": n for n in range(1000)}))
    assert len(faults) == 100


@pytest.mark.parametrize(("body", "message"), [("", "body must be valid JSON"), ('{"x": 1}', f"x {UNKNOWN}")])
def test_the_message_names_the_field(body: str, message: str) -> None:
    _, faults = ContainerChange.parse(body)
    assert InvalidInputError(faults).message == message


def test_each_role_includes_those_before_it() -> None:
    including = {role: {other for other in Role if role.includes(other)} for role in Role}
    assert including == {
        Role.VIEWER: {Role.VIEWER},
        Role.OPERATOR: {Role.VIEWER, Role.OPERATOR},
        Role.OWNER: {Role.VIEWER, Role.OPERATOR, Role.OWNER},
    }
