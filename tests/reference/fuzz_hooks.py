"""What schemathesis checks besides: what the contract says of every answer, and of refusals."""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import schemathesis

# Never in an answer.
INTERNALS = re.compile(r"arn:|longshore-|Traceback|boto|dynamo|Exception|pydantic|\.py\b", re.IGNORECASE)


@schemathesis.check
def contract(
    _context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    """Every answer has the envelope, its own id, and nothing internal; also those to methods that do not exist."""
    if response.request.method == "OPTIONS":
        # A preflight's answer has no body.
        return
    body = response.json()
    assert body["statusCode"] == response.status_code
    assert body.keys() - {"data"} == (
        {"statusCode", "message"} if response.status_code < 400 else {"statusCode", "error", "code", "message"}
    )
    assert response.headers["x-request-id"]
    assert not INTERNALS.search(response.text)


@schemathesis.check
def refusal(_context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]) -> None:
    """A 400 to a valid operation is for a reason that lies in the container, or in the key's first use."""
    if case.method != "POST" or response.status_code != 400 or not _is_valid(case):
        return
    body = response.json()
    match body["code"]:
        case "OPERATION_STATE_CONFLICT":
            assert body["data"]["operation"] == case.path_parameters["operation"]
            assert body["data"]["operation"] not in body["data"]["allowed_operations"]
        case "VALIDATION_ERROR":
            (fault,) = body["data"]
            on_fargate = fault["instancePath"] == "/operation" and "Fargate" in fault["message"]
            assert on_fargate or fault["instancePath"] == "/Idempotency-Key"
        case code:
            raise AssertionError(f"{code} for valid input")


def _is_valid(case: schemathesis.Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.check
class Answers:
    """Writes how often each operation was answered with each code into the file that FUZZ_ANSWERS names."""

    def __init__(self) -> None:
        # By test case: a case is checked again when it is replayed.
        self._codes: dict[str, dict[str, str]] = defaultdict(dict)

    def after_response(
        self, _context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
    ) -> None:
        if response.request.method != "OPTIONS":
            self._codes[case.operation.label][case.id] = response.json().get("code", "OK")

    def after_run(self, _context: schemathesis.CheckContext) -> None:
        told = {operation: Counter(codes.values()) for operation, codes in self._codes.items()}
        Path(os.environ["FUZZ_ANSWERS"]).write_text(json.dumps(told))
