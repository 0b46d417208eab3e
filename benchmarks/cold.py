"""Cold starts: CPU time until the handler is ready, as a ratio to boto3 with a DynamoDB client.

Each sample of a function is paired with a sample of the baseline that ran directly before or after it. The start of the
interpreter, which is the same for all functions, is subtracted from both. The ratio with the interpreter is also given.

A handler is ready when its module is imported and the clients and models of its first call exist. Models that the first
call would build are built explicitly. If the first call creates a client, the call itself is measured. The authorizer
is ready when it has verified a token with a key that it has fetched. The time until the first call returns, with stubs
for AWS, is also given.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from benchmarks import samples
from benchmarks.figures import Spread, middle, ratios
from benchmarks.progress import bar
from benchmarks.runs import Cold
from benchmarks.targets import WORK, Target, Targets
from local import template

OPERATIONS = ("start", "stop", "force_stop", "restart", "pause", "resume")


_ISSUER, _AUDIENCE = "https://example.com/", "longshore"
_PLAIN = "the default layer"
_QUICK = ("authorizer", "start", "status_logs")

# Parts of a cold start, each measured alone, so that imports that two parts share are counted twice.
_PIECES = {
    "botocore with a client of DynamoDB": (
        "import botocore.session; botocore.session.get_session().create_client('dynamodb')"
    ),
    "pydantic with the models": "import longshore.domain.models",
    "Powertools Logger": "from aws_lambda_powertools import Logger; Logger()",
    "Powertools Metrics": "from aws_lambda_powertools.metrics import EphemeralMetrics; EphemeralMetrics()",
    "PyJWT with cryptography": "import jwt; import cryptography.hazmat.primitives.asymmetric.rsa",
}


@dataclass(frozen=True)
class _Start:
    """The two measurements of a target: until it is ready, and until its first call returns."""

    ready: Cold
    answered: Cold
    how: str


def measure(targets: Targets, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Measure the cold starts of all functions and peers.

    Args:
        targets: The built functions and peers.
        rounds: The number of pairs per target.
        quick: Whether to measure a few functions only.

    Returns:
        The figures. Their keys are the names in the tables.
    """
    nothing = Cold(targets.stock, ("nothing",), {})
    client = Cold(targets.stock, ("client",), {})
    of_layer = replace(targets.functions["status_logs"], path=(targets.layer,))
    pieces = {name: Cold(of_layer, ("run", code), {}) for name, code in _PIECES.items()}
    bare: list[float] = []
    with _authority() as (key_set, token):
        functions = _QUICK if quick else tuple(sorted(targets.functions, key=_order))
        starts = {**_functions(functions, targets, key_set, token), **_peers(targets)}
        plain = replace(starts["status_logs"].ready, target=targets.without_bytecode["status_logs"])
        # The baseline runs alternately before and after each target.
        trains = {name: [start.ready, start.answered] for name, start in starts.items()}
        trains |= {_PLAIN: [plain], **{name: [piece] for name, piece in pieces.items()}}
        # The first runs fill the disk cache.
        for cold in (nothing, client, *(cold for train in trains.values() for cold in train if not quick)):
            cold.cpu(targets.python)
        samples_of: dict[str, list[list[float]]] = {name: [] for name in trains}
        for turn in bar(range(rounds), "cold starts"):
            bare.append(nothing.cpu(targets.python))
            for name, train in trains.items():
                cars = [*train, client]
                seconds = [cold.cpu(targets.python) for cold in (cars if turn % 2 else reversed(cars))]
                samples_of[name].append(seconds if turn % 2 else seconds[::-1])
    less = middle(bare)

    def ratio(name: str, car: int = 0, less: float = less) -> Spread:
        return ratios([(seconds[car], seconds[-1]) for seconds in samples_of[name]], less)

    ours = [seconds[0] - less for seconds in samples_of["status_logs"]]
    default = [seconds[0] - less for seconds in samples_of[_PLAIN]]
    return {
        "interpreter_seconds": less,
        "baseline_seconds": middle([seconds[-1] for all_of in samples_of.values() for seconds in all_of]),
        "targets": {
            name: {
                "seconds": middle([seconds[0] for seconds in samples_of[name]]),
                "ratio": ratio(name).as_dict(),
                "ratio_with_interpreter": ratio(name, less=0.0).as_dict(),
                "ratio_answered": ratio(name, 1).as_dict(),
                "ready": start.how,
            }
            for name, start in starts.items()
        },
        "pieces": {
            name: {"seconds": middle([seconds[0] - less for seconds in samples_of[name]]), "ratio": ratio(name).median}
            for name in pieces
        },
        "plain_layer": {
            "ratio": ratio(_PLAIN).as_dict(),
            "to_ours": ratios(list(zip(default, ours, strict=True))).as_dict(),
        },
    }


def _order(function: str) -> tuple[int, str]:
    """Return a sort key that puts the functions of the API first."""
    first = ("authorizer", "status_logs", "get_container", *OPERATIONS, "unknown_operation")
    return (first.index(function) if function in first else len(first), function)


def _functions(functions: tuple[str, ...], targets: Targets, key_set: str, token: str) -> dict[str, _Start]:
    # The configuration for an identity provider, but with an http URL for the key set.
    parameters = {
        "TokenAlgorithm": "RS256",
        "JwksUrl": "https://example.com/jwks.json",
        "TokenIssuer": _ISSUER,
        "TokenAudience": _AUDIENCE,
    }
    deployed = template.load(parameters=parameters).functions["AuthorizerFunction"].environment
    of_token = {**deployed, "JWKS_URL": key_set}
    return {
        name: _start(targets.functions[name], name, targets, of_token if name == "authorizer" else {}, token)
        for name in functions
    }


def _peers(targets: Targets) -> dict[str, _Start]:
    return {target.name: _start(target, "status_logs", targets, {}, "") for target in targets.peers.values()}


def _start(target: Target, function: str, targets: Targets, environment: dict[str, str], token: str) -> _Start:
    """Determine what a target needs to be ready, from an unmeasured first call."""
    ours, theirs = samples.write_replies(targets, function, WORK)
    sent = samples.page_event() if function == "status_logs" else samples.event(function)
    file = WORK / f"event-{function}.json"
    file.write_text(json.dumps(sent).replace("Bearer TOKEN", f"Bearer {token}"), encoding="utf-8")
    answered = Cold(target, ("call", str(file), str(theirs if target.resource else ours)), environment)
    seen = answered.check(targets.python)
    answer = seen["answer"] or {}
    if function == "authorizer":
        if answer["policyDocument"]["Statement"][0]["Effect"] != "Allow":
            raise RuntimeError(f"the authorizer rejected the token: {answer}")
        return _Start(answered, answered, "a token is verified")
    if isinstance(answer, dict) and answer.get("statusCode", 200) >= 400 and function != "unknown_operation":
        raise RuntimeError(f"{target.name} returned {answer}")
    if seen["clients"]:
        return _Start(answered, answered, "its first call, which creates clients, has returned")
    models = seen["models"]
    built = f"imported, and {len(models)} models built" if models else "imported"
    return _Start(Cold(target, ("import", *models), environment), answered, built)


@contextmanager
def _authority() -> Iterator[tuple[str, str]]:
    """Serve a JSON Web Key Set on localhost. Yield its URL and a token that is signed with its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "one", "use": "sig", "alg": "RS256"}
    body = json.dumps({"keys": [public]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    claims = {
        "sub": samples.USER,
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "iat": int(time.time()),
        "exp": int(time.time()) + 86400,
    }
    try:
        yield (
            f"http://127.0.0.1:{server.server_port}/jwks.json",
            jwt.encode(claims, key, algorithm="RS256", headers={"kid": "one"}),
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
