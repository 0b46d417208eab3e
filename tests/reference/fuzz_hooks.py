"""Additional schemathesis checks: the contract's rules for every response and for refusals."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core.parameters import ParameterLocation

# Never in a response.
INTERNALS = re.compile(r"arn:|longshore-|Traceback|boto|dynamo|Exception|pydantic|\.py\b", re.IGNORECASE)


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case[Any], _kwargs: dict[str, Any]) -> None:
    """Shorten valid waits for a status to one second."""
    if (
        case.query
        and "wait_for" in case.query
        and re.fullmatch(r"[1-9]|1[0-9]|2[0-5]", str(case.query.get("timeout", 20)))
    ):
        case.query["timeout"] = 1


@schemathesis.hook
def filter_case(_context: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Leave out invalid bodies of operations, which are ignored."""
    if case.operation.label != "POST /containers/{id}/{operation}" or case.meta is None:
        return True
    body = case.meta.components.get(ParameterLocation.BODY)
    return body is None or body.mode.is_positive


@schemathesis.check
def contract(
    _context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Every response has the envelope, a request id and nothing internal, even if the method does not exist."""
    if response.request.method == "OPTIONS":
        # The response to a preflight has no body.
        return
    body = response.json()
    assert body["statusCode"] == response.status_code
    assert body.keys() - {"data"} == (
        {"statusCode", "message"} if response.status_code < 400 else {"statusCode", "error", "code", "message"}
    )
    if response.request.method == "TRACE":
        assert body["code"] == "ROUTE_NOT_FOUND"
    assert response.headers["x-request-id"]
    assert not INTERNALS.search(response.text)


_CONTRADICTIONS = {
    "/from": "must not be after to",
    "/from_status": "cannot be combined with to_status",
    "/sort_by": "must be transition_time, created_at or ",
    "/cursor": ("must be the next_cursor of", "requires a project and sort_by=name"),
}
"""The faults of queries whose values are valid, but not with each other."""


@schemathesis.check
def contradiction(
    _context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """A valid query returns 400 only because its filters contradict each other, or because of its cursor."""
    if case.method != "GET" or response.status_code != 400 or not _is_valid(case):
        return
    body = response.json()
    assert body["code"] == "VALIDATION_ERROR"
    for fault in body["data"]:
        assert fault["message"].startswith(_CONTRADICTIONS[fault["instancePath"]])


@schemathesis.check
def refusal(_context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]) -> None:
    """A valid operation returns 400 only because of the container's state or an earlier use of the key."""
    if case.method != "POST" or response.status_code != 400 or not _is_valid(case):
        return
    body = response.json()
    match body["code"]:
        case "OPERATION_STATE_CONFLICT":
            assert body["data"]["operation"] == case.path_parameters.get("operation", "keep-alive")
            assert body["data"]["operation"] not in body["data"]["allowed_operations"]
        case "CONTAINER_PROTECTED":
            assert body["data"]["protection"]["reason"]
        case "VALIDATION_ERROR":
            (fault,) = body["data"]
            on_fargate = fault["instancePath"] == "/operation" and "Fargate" in fault["message"]
            in_the_past = fault == {"instancePath": "/stop_at", "message": "must be in the future"}
            assert on_fargate or in_the_past or fault["instancePath"] == "/Idempotency-Key"
        case code:
            raise AssertionError(f"{code} for valid input")


def _is_valid(case: schemathesis.Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.check
class Answers:
    """Counts the responses by operation and code, and writes the counts to the file in FUZZ_ANSWERS."""

    def __init__(self) -> None:
        # By test case, because a replayed case is checked again.
        self._codes: dict[str, dict[str, str]] = defaultdict(dict)

    def after_response(
        self, _context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
    ) -> None:
        if response.request.method != "OPTIONS":
            self._codes[case.operation.label][case.id] = response.json().get("code", "OK")

    def after_run(self, _context: schemathesis.CheckContext) -> None:
        counts = {operation: Counter(codes.values()) for operation, codes in self._codes.items()}
        Path(os.environ["FUZZ_ANSWERS"]).write_text(json.dumps(counts))
