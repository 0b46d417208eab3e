"""Schemathesis against the local stack: all checks, as several users. `make fuzz` runs more examples."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml
from documented import ROOT, load
from invariants import check
from longshore.domain.errors import ErrorCode
from settling import eventually, pending

from local import tokens
from local.seed import container_id
from local.stack import LocalStack

HERE = Path(__file__).parent
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES") or 8)
# The same examples in each run, unless FUZZ_EXAMPLES is set.
DETERMINISTIC = [] if "FUZZ_EXAMPLES" in os.environ else ["--generation-deterministic"]
# Each walk makes several calls.
WALKS = max(EXAMPLES // 20, 5)
MANAGE = "POST /containers/{id}/{operation}"
# Schemathesis's codes for failed checks.
NOT_AS_DOCUMENTED = "ST108"
ACCEPTED_THOUGH_WRONG = "ST201"
PROJECTS = "GET /projects"
OPERATIONS = (
    PROJECTS,
    "GET /projects/{project_id}/containers",
    "GET /containers",
    "GET /containers/{id}",
    "PATCH /containers/{id}",
    "GET /containers/{id}/status-logs",
    "GET /projects/{project_id}/status-logs",
    "GET /projects/{project_id}/schedules",
    "GET /projects/{project_id}/schedules/{name}",
    "PUT /projects/{project_id}/schedules/{name}",
    "DELETE /projects/{project_id}/schedules/{name}",
    "POST /containers/{id}/keep-alive",
    MANAGE,
)


@dataclass
class Run:
    """The exit code and output of schemathesis, and the responses by operation and code ("OK" for none)."""

    exit_code: int
    printed: str
    answers: dict[str, dict[str, int]]

    @property
    def codes(self) -> set[str]:
        return {code for codes in self.answers.values() for code in codes}


def run(
    stack: LocalStack, folder: Path, user: str | None, *options: str, document: Path = ROOT / "openapi.yaml"
) -> Run:
    """Run schemathesis as a user; None sends no token."""
    answers = folder / "answers.json"
    token = ["--header", f"Authorization: Bearer {tokens.token(user)}"] if user else []
    # The API returns 404, not 405, for a method that does not exist: the check `contract` of fuzz_hooks.py expects it.
    checks = ("--checks", "all", "--exclude-checks", "unsupported_method")
    command = [
        *(str(Path(sys.executable).with_name("st")), "--no-color", "--config-file", str(HERE / "schemathesis.toml")),
        *("run", str(document), "--url", f"{stack.url}/api/v1", *checks, *token, *DETERMINISTIC, *options),
    ]
    environment = {**os.environ, "FUZZ_ANSWERS": str(answers)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return Run(done.returncode, done.stdout + done.stderr, json.loads(answers.read_text()) if answers.exists() else {})


def found_nothing(done: Run, examples: int, *operations: str) -> None:
    """Assert that no check failed, and that each operation had at least `examples` examples."""
    assert done.exit_code == 0, done.printed
    assert done.answers.keys() == set(operations)
    for operation, codes in done.answers.items():
        print(f"{operation}: {sum(codes.values())} examples, {dict(sorted(codes.items()))}")
        # Without parameters, there are only a few different calls.
        assert sum(codes.values()) >= (1 if operation == PROJECTS else examples)


def test_an_operator(stack: LocalStack, tmp_path: Path) -> None:
    done = run(stack, tmp_path, "operator", "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing")
    found_nothing(done, EXAMPLES, *OPERATIONS)
    expected = {ErrorCode.INVALID_ID_FORMAT, ErrorCode.VALIDATION_ERROR, ErrorCode.CONTAINER_NOT_FOUND}
    assert done.codes >= expected | {"OK", ErrorCode.OPERATION_STATE_CONFLICT}
    assert not done.codes & {ErrorCode.INTERNAL_SERVER_ERROR, ErrorCode.EXTERNAL_SERVICE_ERROR}
    settled(stack)


def test_linked_calls(stack: LocalStack, tmp_path: Path) -> None:
    """Follows the links of the document: a call takes its parameters from an earlier response."""
    done = run(stack, tmp_path, "owner", "--max-examples", str(WALKS), "--phases", "stateful")
    # Which other calls are made depends on the responses.
    assert {MANAGE, "GET /containers/{id}", "GET /containers"} <= done.answers.keys() <= {*OPERATIONS}
    found_nothing(done, 1, *done.answers)
    settled(stack)


def test_a_viewer(stack: LocalStack, tmp_path: Path) -> None:
    rows = row_counts(stack)
    only = ("--include-operation-id", "manage", "--phases", "examples,coverage,fuzzing")
    done = run(stack, tmp_path, "viewer", "--max-examples", str(EXAMPLES), *only)
    found_nothing(done, EXAMPLES, MANAGE)
    assert ErrorCode.INSUFFICIENT_PERMISSIONS in done.codes
    assert "OK" not in done.codes
    assert row_counts(stack) == rows


def test_without_a_token(stack: LocalStack, tmp_path: Path) -> None:
    rows = row_counts(stack)
    done = run(stack, tmp_path, None, "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing")
    found_nothing(done, EXAMPLES, *OPERATIONS)
    assert ErrorCode.MISSING_TOKEN in done.codes
    assert done.codes <= {ErrorCode.MISSING_TOKEN, ErrorCode.INVALID_TOKEN, ErrorCode.ROUTE_NOT_FOUND}
    assert row_counts(stack) == rows


def test_a_wrong_document_is_detected(stack: LocalStack, tmp_path: Path) -> None:
    """One bound and one property of the document are wrong."""
    document = load()
    document["components"]["parameters"]["Limit"]["schema"]["maximum"] = 50
    document["components"]["schemas"]["Pagination"]["required"].append("pages")
    wrong = tmp_path / "openapi.yaml"
    wrong.write_text(yaml.safe_dump(document))
    only = ("--include-operation-id", "getStatusLogs", "--phases", "examples,coverage")
    done = run(stack, tmp_path, "operator", *only, document=wrong)
    assert done.exit_code == 1
    assert set(re.findall(r"^- (ST\d+)", done.printed, re.MULTILINE)) == {NOT_AS_DOCUMENTED, ACCEPTED_THOUGH_WRONG}


def settled(stack: LocalStack) -> None:
    """Wait until no operation is pending, and check the invariants of the containers."""
    eventually(lambda: pending(stack), lambda waiting: not waiting)
    for number in range(11, 18):
        check(stack, container_id(number))


def row_counts(stack: LocalStack) -> list[int]:
    """Return the number of rows of each container."""
    return [check(stack, container_id(number))["log_count"] for number in range(11, 18)]
