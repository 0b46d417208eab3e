"""Tests of the parameters that callers send: the query of status-logs, and the Idempotency-Key."""

from itertools import combinations
from typing import Any

import pytest
from longshore.domain.errors import InvalidInputError
from longshore.domain.lifecycle import Operation
from longshore.domain.models import OperationRequest
from longshore.domain.pages import StatusLogsQuery
from longshore.edge.http import Request

LARGEST = 2**53 - 1
INTEGER = "must be integer"
SORT_BY = "must be one of: transition_time, created_at, to_status, from_status"


def request(event: dict[str, Any]) -> Request:
    return Request({"pathParameters": {"id": "507f1f77bcf86cd799439011"}} | event, "request-1", "operator")


def query(**given: list[str]) -> StatusLogsQuery:
    return request({"multiValueQueryStringParameters": given}).query(StatusLogsQuery.parse)


def faults(**given: list[str]) -> Any:
    with pytest.raises(InvalidInputError) as caught:
        query(**given)
    data = caught.value.data
    assert caught.value.message == "; ".join(f"{fault['instancePath'][1:]} {fault['message']}" for fault in data)
    return data


# Anything but an integer in its canonical form, for either parameter.
@pytest.mark.parametrize("name", ["page", "limit"])
@pytest.mark.parametrize(
    "value",
    [
        "1.5",
        "1.0",
        "1e9",
        "01",
        "00",
        "-0",
        "-01",
        "",
        " ",
        " 1",
        "1 ",
        "1\n",
        "\t1",
        "+1",
        "--1",
        "-",
        "１",  # noqa: RUF001
        "١",  # noqa: RUF001
        "²",
        "1_000",
        "1,000",
        "0x10",
        "true",
        "null",
        "NaN",
        "Infinity",
        "1;2",
        "1\x00",
        "one",
    ],
)
def test_not_an_integer(name: str, value: str) -> None:
    assert faults(**{name: [value]}) == [{"instancePath": f"/{name}", "message": INTEGER}]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("page", "0", "must be >= 1"),
        ("page", "-1", "must be >= 1"),
        ("page", str(-LARGEST), "must be >= 1"),
        ("page", str(-(10**30)), "must be >= 1"),
        ("page", "-" + "9" * 5000, "must be >= 1"),
        ("page", str(LARGEST + 1), f"must be <= {LARGEST}"),
        ("page", str(10**30), f"must be <= {LARGEST}"),
        ("page", "9" * 5000, f"must be <= {LARGEST}"),
        ("limit", "0", "must be >= 1"),
        ("limit", "-1", "must be >= 1"),
        ("limit", str(-(10**30)), "must be >= 1"),
        ("limit", "101", "must be <= 100"),
        ("limit", "1000000000", "must be <= 100"),
        ("limit", str(LARGEST), "must be <= 100"),
        ("limit", str(10**30), "must be <= 100"),
        ("limit", "9" * 5000, "must be <= 100"),
        ("sort_by", "", SORT_BY),
        ("sort_by", "id", SORT_BY),
        ("sort_by", "TO_STATUS", SORT_BY),
        ("sort_by", "to_status ", SORT_BY),
        ("sort_by", "to_status;drop", SORT_BY),
        ("sort_order", "", "must be one of: asc, desc"),
        ("sort_order", "ASC", "must be one of: asc, desc"),
        ("sort_order", "descending", "must be one of: asc, desc"),
    ],
    ids=lambda value: value[:24],
)
def test_out_of_bounds(name: str, value: str, message: str) -> None:
    assert faults(**{name: [value]}) == [{"instancePath": f"/{name}", "message": message}]


@pytest.mark.parametrize("name", ["page", "limit", "sort_by", "sort_order"])
def test_a_repeated_parameter(name: str) -> None:
    once = {"page": "1", "limit": "10", "sort_by": "to_status", "sort_order": "asc"}[name]
    assert faults(**{name: [once, once]}) == [{"instancePath": f"/{name}", "message": "must be given once"}]


def test_all_faults_are_reported_together() -> None:
    found = faults(page=["0"], limit=["101"], sort_by=["x"], sort_order=["asc", "desc"])
    assert sorted((fault["instancePath"], fault["message"]) for fault in found) == [
        ("/limit", "must be <= 100"),
        ("/page", "must be >= 1"),
        ("/sort_by", SORT_BY),
        ("/sort_order", "must be given once"),
    ]


@pytest.mark.parametrize("event", [{}, {"multiValueQueryStringParameters": None}])
def test_the_defaults(event: dict[str, Any]) -> None:
    assert request(event).query(StatusLogsQuery.parse)._asdict() == {
        "page": 1,
        "limit": 10,
        "sort_by": "transition_time",
        "sort_order": "desc",
        "since": None,
        "until": None,
        "to_status": None,
        "from_status": None,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"page": ["1"], "limit": ["1"]}, (1, 1, "transition_time", "desc")),
        ({"page": [str(LARGEST)], "limit": ["100"]}, (LARGEST, 100, "transition_time", "desc")),
        ({"sort_by": ["created_at"], "sort_order": ["asc"]}, (1, 10, "created_at", "asc")),
        ({"sort_by": ["from_status"]}, (1, 10, "from_status", "desc")),
        # Unknown parameters are ignored, even if repeated, and so are other spellings.
        ({"cursor": ["x", "y"], "LIMIT": ["500"], "limit[]": ["5"]}, (1, 10, "transition_time", "desc")),
    ],
)
def test_valid_queries(given: dict[str, list[str]], expected: tuple[int, int, str, str]) -> None:
    found = query(**given)
    assert (found.page, found.limit, found.sort_by, found.sort_order) == expected


def keyed(*values: str, name: str = "Idempotency-Key") -> Request:
    return request({"multiValueHeaders": {name: list(values)}})


@pytest.mark.parametrize("key", ["k", "x" * 128, "!", "~", "a#b,c;d", '"quoted"', "507f1f77-bcf8"])
@pytest.mark.parametrize("name", ["Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY"])
def test_valid_keys(key: str, name: str) -> None:
    assert keyed(key, name=name).idempotency_key == key
    assert keyed(key, name=name).to_perform(Operation.START).idempotency_key == key


@pytest.mark.parametrize("event", [{}, {"multiValueHeaders": None}, {"multiValueHeaders": {"Accept": ["*/*"]}}])
def test_no_key(event: dict[str, Any]) -> None:
    assert request(event).idempotency_key is None


@pytest.mark.parametrize(
    "key", ["", "x" * 129, " ", "a b", " a", "a ", "a\n", "\na", "a\tb", "a\x00", "a\x7f", "é", "键", "\xa0"]
)
def test_invalid_keys(key: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        keyed(key).to_perform(Operation.START)
    message = "must be 1 to 128 visible ASCII characters"
    assert caught.value.data == [{"instancePath": "/Idempotency-Key", "message": message}]
    assert caught.value.message == f"Idempotency-Key {message}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Idempotency-Key": ["a", "a"]},
        {"Idempotency-Key": ["a", "b"]},
        {"Idempotency-Key": ["a"], "idempotency-key": ["b"]},
        {"Idempotency-Key": ["", "a"]},
    ],
)
def test_a_repeated_key(headers: dict[str, list[str]]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        request({"multiValueHeaders": headers}).to_perform(Operation.START)
    assert caught.value.data == [{"instancePath": "/Idempotency-Key", "message": "must be given once"}]


def identity(actor: str | None, key: str | None) -> str | None:
    return OperationRequest(
        container_id="507f1f77bcf86cd799439011",
        operation=Operation.START,
        actor=actor,
        request_id="request-1",
        idempotency_key=key,
    ).idempotency_id


def test_keys_of_different_callers_never_collide() -> None:
    pairs = [
        ("a#b", "c"),
        ("a", "b#c"),
        ("a", "b"),
        ("b", "a"),
        ("", "ab"),
        ("ab", ""),
        ('a", "b', "c"),
        ("a", 'b", "c'),
    ]
    for one, other in combinations(pairs, 2):
        assert identity(*one) != identity(*other)
    assert identity(None, "a") != identity("None", "a")
    assert identity(None, "a") != identity("null", "a")


def test_a_key_identifies_the_same_record_for_every_request_of_its_caller() -> None:
    assert identity("a", "b") == identity("a", "b")
    other = OperationRequest(
        container_id="f" * 24, operation=Operation.STOP, actor="a", request_id="request-2", idempotency_key="b"
    )
    assert other.idempotency_id == identity("a", "b")
    assert identity("a", None) is None
