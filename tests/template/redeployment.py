"""Comparison of two deployments of a stack.

Both templates are translated as `sam deploy` translates them, and compared resource by resource. A property that
CloudFormation cannot change is listed as create-only in the schema of its resource type, which cfn-lint contains.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from samtranslator.model import apigateway

from local import template
from local.template import REGION, ROOT

# Their replacement would lose data. The schema lists them as create-only under a condition, or not at all.
_KEYS_OF_TABLES = {"AWS::DynamoDB::Table": ["KeySchema", "LocalSecondaryIndexes"]}


@dataclass(frozen=True)
class Expected:
    """What a deployment with a changed parameter does, besides deploying the API again.

    Attributes:
        parameters: The changed parameters.
        changed: Logical ids of resources that are updated in place. A type stands for all resources of the type.
        unchanged: Exceptions from the types in `changed`.
        replaced: Logical ids of resources that are replaced.
        added: Logical ids of new resources.
        removed: Logical ids of resources that leave the stack.
    """

    parameters: dict[str, str]
    changed: set[str] = field(default_factory=set)
    unchanged: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    added: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)


def deploy(second: int, parameters: Mapping[str, str], file: Path = ROOT / "template.yaml") -> template.Stack:
    """Return the stack as deployed at a time. SAM derives the name of the API's deployment from the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apigateway, "time", SimpleNamespace(time=lambda: second))
        return template.load(file, parameters)


def plain(logical_id: str) -> str:
    """Return a logical id without the digest that SAM appends to resources that it replaces."""
    return re.sub(r"[0-9a-f]{10}$", "", logical_id)


def replacements(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield the create-only properties that differ."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, after["Type"]).schema
    pointers = schema.get("createOnlyProperties", [])
    names = [pointer.removeprefix("/properties/").partition("/")[0] for pointer in pointers]
    for name in [*names, *_KEYS_OF_TABLES.get(after["Type"], [])]:
        if before["Properties"].get(name) != after["Properties"].get(name):
            yield name


def without_deployment(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a resource without the reference to the API's deployment, which is new with every deployment."""
    kept = {name: value for name, value in resource["Properties"].items() if name != "DeploymentId"}
    return {**resource, "Properties": kept}


def compare(before: template.Stack, after: template.Stack) -> Expected:
    """Return the differences, except those of every deployment."""
    old, new = ({plain(name): (name, each) for name, each in stack.resources.items()} for stack in (before, after))
    result = Expected({}, added=new.keys() - old.keys(), removed=old.keys() - new.keys())
    for logical_id in (old.keys() & new.keys()) - {"ApiDeployment"}:
        (old_id, one), (new_id, other) = old[logical_id], new[logical_id]
        if old_id != new_id or list(replacements(one, other)):
            result.replaced.add(logical_id)
        elif without_deployment(one) != without_deployment(other):
            result.changed.add(logical_id)
    return result


def deployment_of(stack: template.Stack) -> str:
    """Return the logical id of the API's deployment, which the stage serves."""
    (deployment,) = stack.of_type("AWS::ApiGateway::Deployment")
    (stage,) = stack.of_type("AWS::ApiGateway::Stage").values()
    assert stage["DeploymentId"] == stack.physical_name(deployment)
    return deployment
