"""Tests of signatures with the vectors of Project Wycheproof, whose payloads are not claims.

A token whose signature is accepted is therefore refused because of its payload, and the cause of the error says so.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import jwt
import pytest
from longshore.domain.errors import InvalidTokenError, MissingTokenError
from longshore.edge.jwks import KeySetError
from longshore.edge.tokens import Verifier
from unit.signed_tokens import Jwks, by_key, shared

VECTORS = json.loads((Path(__file__).parent / "vectors" / "wycheproof_jws.json").read_text(encoding="utf-8"))
CASES = [
    pytest.param(group["key"], case, id=f"{group['comment']}-{case['tcId']}-{case['comment']}")
    for group in VECTORS["groups"]
    for case in group["tests"]
]
# The verdicts that differ from those of the suite, by test case.
ACCEPTED = {
    367: "the text equals test case 357, which is valid: the padding that it is named after is missing in the file",
    370: "the same",
}
REFUSED = {
    372: "a character that is not base64url in the header, which RFC 7515 does not allow",
    373: "the same in the payload",
}


def verifier_of(key: dict[str, Any], jwks: Jwks) -> Verifier:
    if key["kty"] != "oct":
        jwks.serve(key)
        return by_key(jwks, {"EC": "ES256", "RSA": "RS256"}[key["kty"]])
    verifier = shared()
    # Secrets are text, and the keys of the suite are any bytes.
    secret: Any = base64.urlsafe_b64decode(key["k"] + "==")
    verifier._secret_read = (math.inf, secret)
    return verifier


def accepts_signature(verifier: Verifier, token: str) -> bool:
    with pytest.raises((InvalidTokenError, MissingTokenError, KeySetError)) as caught:
        verifier.verify(f"Bearer {token}")
    cause = caught.value.__cause__
    return type(cause) is jwt.DecodeError and str(cause).startswith("Invalid payload string")


@pytest.mark.parametrize(("key", "case"), CASES)
def test_a_vector(jwks: Jwks, key: dict[str, Any], case: dict[str, Any]) -> None:
    number = case["tcId"]
    expected = (case["result"] == "valid" or number in ACCEPTED) and number not in REFUSED
    assert accepts_signature(verifier_of(key, jwks), case["jws"]) is expected


def test_the_verdicts_that_differ() -> None:
    results = {case["tcId"]: case["result"] for group in VECTORS["groups"] for case in group["tests"]}
    assert {results[number] for number in ACCEPTED} == {"invalid"}
    assert {results[number] for number in REFUSED} == {"valid"}
    texts = {case["tcId"]: case["jws"] for group in VECTORS["groups"] for case in group["tests"]}
    assert all(texts[number] == texts[357] for number in ACCEPTED)
