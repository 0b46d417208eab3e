"""Tests that SAM CLI accepts the template, and that validation detects errors that would fail only in a deployment.

`sam validate` overlooks many errors, so the checks in `tests/template` are included. For each change of the template
the test states which check has to detect it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e import sam
from template import test_template as checks

from local import template

SOURCE = template.ROOT / "template.yaml"


@pytest.fixture(autouse=True)
def _sam() -> None:
    if missing := sam.lacks_sam():
        pytest.skip(missing)


def test_sam_validates_the_template(tmp_path: Path) -> None:
    # Copy the template, because samconfig.toml in its folder would add --lint to every run.
    copy = shutil.copy(SOURCE, tmp_path / "template.yaml")
    for options in ([], ["--lint"]):
        ran = sam.sam("validate", *options, "--template", copy, cwd=tmp_path)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def loads(path: Path) -> None:
    template.load(path)


def cfn_lint(path: Path) -> None:
    checks.test_cfn_lint_reports_nothing_unexpected(template.load(path))


def gateway_responses(path: Path) -> None:
    checks.test_every_gateway_response_type_exists(template.load(path))


def sam_validate(path: Path) -> None:
    ran = sam.sam("validate", "--template", path, cwd=path.parent)
    assert ran.returncode == 0, ran.stdout + ran.stderr


CHANGES: dict[str, tuple[str, str, Callable[[Path], None], str]] = {
    "a Ref in Globals to a missing resource": (
        "CONTAINERS_TABLE: !Ref ContainersTable",
        "CONTAINERS_TABLE: !Ref ContainerTable",
        loads,
        "ContainerTable",
    ),
    "a missing layer": (
        "CommonLayerArm64, !Ref CommonLayer]",
        "CommonLayerArm64, !Ref CommonLayers]",
        loads,
        "CommonLayers",
    ),
    "an attribute that the resource lacks": (
        "FunctionArn: !GetAtt AuthorizerFunction.Arn",
        "FunctionArn: !GetAtt AuthorizerFunction.Uri",
        loads,
        "AuthorizerFunction.Uri",
    ),
    "a runtime that does not exist": ("Runtime: python3.13", "Runtime: python3.99", cfn_lint, "python3.99"),
    "a rate with the wrong unit": ("rate(15 minutes)", "rate(15 minute)", cfn_lint, "E3027"),
    "a misspelled gateway response": ("        THROTTLED:", "        THROTLED:", gateway_responses, "THROTLED"),
    "a missing authorizer": (
        "DefaultAuthorizer: TokenAuthorizer",
        "DefaultAuthorizer: TokensAuthorizer",
        sam_validate,
        "TokensAuthorizer",
    ),
    "an event without its method": (
        'Method: get, Path: "/api/v1/containers/{id}"}',
        'Path: "/x"}',
        sam_validate,
        "Method",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_invalid_change_is_detected(tmp_path: Path, change: str) -> None:
    before, after, check, message = CHANGES[change]
    source = SOURCE.read_text(encoding="utf-8")
    assert source.count(before) == 1
    path = tmp_path / "template.yaml"
    path.write_text(source.replace(before, after), encoding="utf-8")
    with pytest.raises((AssertionError, template.TemplateError)) as caught:
        check(path)
    assert message in str(caught.value)
