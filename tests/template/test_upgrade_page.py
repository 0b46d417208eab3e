"""The commands of docs/upgrade.md name what exists, and its template of retained tables can be imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from typer.main import get_command

from admin.cli import app
from local import template
from local.template import REGION, ROOT

PAGE = (ROOT / "docs" / "upgrade.md").read_text(encoding="utf-8")
STACK = template.load()


@pytest.fixture(scope="module")
def imported() -> dict[str, Any]:
    """The template that the page's script prints."""
    (script,) = re.findall(r"<<'EOF'\n(.*?)\n *EOF\n", PAGE, re.DOTALL)
    code = "\n".join(line.removeprefix("   ") for line in script.splitlines())
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, cwd=ROOT, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_imported_tables_are_those_of_the_stack(imported: dict[str, Any]) -> None:
    translated = template.translate()
    tables = {name for name, each in translated["Resources"].items() if each["Type"] == "AWS::DynamoDB::Table"}
    assert imported["Resources"].keys() == tables - {"IdempotencyTable", "ScheduleCacheTable"}
    for name, resource in imported["Resources"].items():
        assert resource == translated["Resources"][name]
        # CloudFormation imports only resources with a deletion policy.
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate"
    # It contains everything that the tables refer to.
    assert [str(each) for each in lint(json.dumps(imported), config=ManualArgs(regions=[REGION]))] == []


def test_the_imported_tables_have_the_identifiers_of_their_type(imported: dict[str, Any]) -> None:
    pattern = r'LogicalResourceId\\": \\"(\w+)\\", \\"ResourceIdentifier\\": {\\"(\w+)\\"'
    identifiers = dict(re.findall(pattern, PAGE))
    assert identifiers.keys() == imported["Resources"].keys()
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, "AWS::DynamoDB::Table").schema
    assert [f"/properties/{name}" for name in set(identifiers.values())] == schema["primaryIdentifier"]


def test_parameters_and_outputs_exist() -> None:
    given = set(re.findall(r"(?<!\[\?)\b([A-Z][a-z]+[A-Z]\w+)=", PAGE)) - {
        "PointInTimeRecoveryEnabled",
        "StreamEnabled",
        "StreamViewType",
    }
    assert {"ManageApiGatewayAccount", "TokenSecretArn"} <= given <= STACK.parameters.keys()
    read = set(re.findall(r"(?:\$\(|`)output (\w+)", PAGE))
    assert {"Version", "ContainersTableName"} <= read <= STACK.outputs.keys()


def test_administration_commands_exist() -> None:
    named = {tuple(words.split()) for words in re.findall(r"python -m admin ((?:schedule )?[a-z][a-z-]+)", PAGE)}
    commands: Any = get_command(app).commands  # type: ignore[attr-defined]
    known = {(name,) for name in commands} | {("schedule", name) for name in commands["schedule"].commands}
    assert {("doctor",), ("schedule", "list")} <= named <= known
