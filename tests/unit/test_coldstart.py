"""Tests of the cold start: each function creates everything that its handler needs before its first request."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local import pages, template

FUNCTIONS = {function.code_path.name: function for function in template.load().functions.values()}
PROGRAM = template.ROOT / "tests" / "started_child.py"

CLIENTS = {
    "authorizer": ["secretsmanager"],
    "index": [],
    "pages": [],
    "unknown_operation": [],
    "status_logs": ["dynamodb"],
    "project_status_logs": ["dynamodb"],
    "get_container": ["dynamodb"],
    "list_projects": ["dynamodb"],
    "list_containers": ["dynamodb"],
    "list_project_containers": ["dynamodb"],
    "update_container": ["dynamodb"],
    "keep_alive": ["dynamodb"],
    "list_schedules": ["dynamodb", "scheduler"],
    "get_schedule": ["dynamodb", "scheduler"],
    "save_schedule": ["dynamodb", "scheduler"],
    "delete_schedule": ["dynamodb", "scheduler"],
    "server_terminated": ["dynamodb"],
    "start": ["dynamodb", "ecs"],
    "publish_events": ["dynamodb", "events", "sqs"],
}
"""The clients of each function. Functions that are not listed have ALL."""

ALL = ["dynamodb", "ecs", "ssm"]

STATUSES = {"start": "stopped", "resume": "paused"}
"""The container's status for each function. For the others it is running."""

MOMENT = {"S": "2025-01-15T10:30:00.000Z"}


def container(status: str) -> dict[str, Any]:
    return {
        "id": {"S": "507f1f77bcf86cd799439011"},
        "project_id": {"S": "507f1f77bcf86cd799439033"},
        "log_count": {"N": "0"},
        "name": {"S": "demo"},
        "server_instance_id": {"S": "i-0123456789abcdef0"},
        "status": {"S": status},
        "status_since": MOMENT,
        "runtime": {"M": {"cluster": {"S": "default"}, "task_definition": {"S": "t"}, "launch_type": {"S": "EC2"}}},
        "task_arn": {"S": "arn:aws:ecs:us-east-1:123456789012:task/default/1"},
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }


def start(folder: str, result: Path, **variables: str) -> Any:
    """Start a function in a new process, call it once, and return the report of `started_child.py`."""
    event = json.loads((template.ROOT / "events" / f"{folder}.json").read_text(encoding="utf-8"))
    if "authorizer" in event.get("requestContext", {}):
        event["requestContext"]["authorizer"]["expires_at"] = "9999999999"
    environment = {
        **FUNCTIONS[folder].environment,
        **variables,
        "PYTHONPATH": str(template.ROOT / "layers" / "common"),
        "AWS_DEFAULT_REGION": template.REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    item = container(STATUSES.get(folder, "running"))
    code_path = pages.built() if folder == "pages" else FUNCTIONS[folder].code_path
    arguments = [str(code_path / "app.py"), json.dumps(event), json.dumps(item), str(result)]
    command = [sys.executable, "-W", "error", str(PROGRAM), *arguments]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(result.read_text(encoding="utf-8"))


@pytest.mark.parametrize("folder", sorted(FUNCTIONS))
def test_everything_is_ready_before_the_first_request(folder: str, tmp_path: Path) -> None:
    reported = start(folder, tmp_path / "result")
    if "statusCode" in reported["answer"]:
        assert reported["answer"]["statusCode"] == (400 if folder == "unknown_operation" else 200), reported["answer"]
    assert reported["clients"] == CLIENTS.get(folder, ALL)
    assert reported["late"] == []
    # The cold start freezes its objects and re-enables the garbage collector. One collection may have been due before
    # the library was imported.
    assert reported["collected"] <= 1
    assert reported["enabled"]
    assert reported["frozen"] > 10_000
    # Modules of other use cases are not imported.
    assert "boto3" not in reported["modules"]
    assert ("jwt" in reported["modules"]) == (folder == "authorizer")
    histories = ("status_logs", "project_status_logs")
    lists = ("list_projects", "list_containers", "list_project_containers")
    public = ("index", "pages")
    schedules = ("list_schedules", "get_schedule", "save_schedule", "delete_schedule")
    one = ("get_container", "update_container", "keep_alive", "unknown_operation")
    others = ("authorizer", "publish_events", *public, *one, *histories, *lists, *schedules)
    runs_the_engine = folder not in others
    assert ("longshore.engine.driver" in reported["modules"]) == runs_the_engine


def test_an_authorizer_with_a_key_set_needs_no_aws(tmp_path: Path) -> None:
    key_set = {"JWKS_URL": "https://issuer.example.com/jwks.json", "TOKEN_ISSUER": "https://issuer.example.com/"}
    variables = {"TOKEN_ALGORITHM": "RS256", "TOKEN_SECRET_ARN": "", "TOKEN_AUDIENCE": "longshore", **key_set}
    reported = start("authorizer", tmp_path / "result", **variables)
    assert reported["clients"] == reported["late"] == []
    assert reported["answer"]["context"]["code"] == "INVALID_TOKEN"
    assert not {"longshore.domain.models", "longshore.aws.store"} & set(reported["modules"])


@pytest.mark.parametrize("folder", sorted(FUNCTIONS))
def test_a_function_measures_its_cold_start(folder: str) -> None:
    """The module imports `coldstart` before the rest of the library, and calls `ready` in its last line."""
    module = ast.parse((FUNCTIONS[folder].code_path / "app.py").read_text(encoding="utf-8"))
    imports = [ast.unparse(node) for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    # Python itself imports these when it starts, or they are small.
    free = ("import os", "from collections.abc", "from datetime", "from typing")
    others = [line for line in imports if not line.startswith(free)]
    assert others[0] == "import longshore.wiring.coldstart"
    assert ast.unparse(module.body[-1]).startswith("longshore.wiring.coldstart.ready(")
