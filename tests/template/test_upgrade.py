"""Tests of the upgrade of a stack from version 0.2: what CloudFormation changes, and what it replaces.

`sam deploy` keeps the parameter values of the stack, so the defaults of version 0.2 stay.
"""

from __future__ import annotations

from typing import Any

import pytest
from simulation.versions import FIRST_TEMPLATE, first_version_is_there
from template.redeployment import compare, deploy, plain

from local import template

pytestmark = pytest.mark.skipif(not first_version_is_there(), reason="requires the history of the repository")

NEW_INDEXES: dict[str, set[str]] = {}


def defaults_of_first() -> dict[str, str]:
    """Return the parameter values of a stack that was deployed with the defaults of version 0.2."""
    declared = template.translate(FIRST_TEMPLATE)["Parameters"]
    return {name: str(each["Default"]) for name, each in declared.items()}


@pytest.fixture(scope="module")
def first() -> template.Stack:
    return deploy(1_000_000_000, {}, FIRST_TEMPLATE)


@pytest.fixture(scope="module")
def current() -> template.Stack:
    return deploy(1_000_000_060, defaults_of_first())


def indexes(table: Any) -> dict[str, Any]:
    return {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes", [])}


def test_no_parameter_and_no_output_is_removed(first: template.Stack, current: template.Stack) -> None:
    """`sam deploy` with the values of version 0.2 is accepted."""
    assert first.parameters.keys() <= current.parameters.keys()
    assert first.outputs.keys() <= current.outputs.keys()


@pytest.mark.parametrize("logical_id", ["ContainersTable", "StatusLogsTable", "AccessTable", "IdempotencyTable"])
def test_a_table_gets_at_most_one_index(first: template.Stack, current: template.Stack, logical_id: str) -> None:
    """DynamoDB creates or deletes one index per update of a table, and CloudFormation refuses more."""
    before, after = indexes(first.tables[logical_id]), indexes(current.tables[logical_id])
    assert after.keys() - before.keys() == NEW_INDEXES.get(logical_id, set())
    assert {name: after.get(name) for name in before} == before
    assert max(map(len, NEW_INDEXES.values()), default=0) <= 1


def test_nothing_is_replaced_or_removed(first: template.Stack, current: template.Stack) -> None:
    """The description of a managed policy cannot be changed in place."""
    there, back = compare(first, current), compare(current, first)
    assert there.removed == set()
    types = {plain(name): resource["Type"] for name, resource in current.resources.items()}
    assert {types[name] for name in there.replaced | back.replaced} <= {"AWS::IAM::ManagedPolicy"}


def test_the_secret_keeps_its_value(first: template.Stack, current: template.Stack) -> None:
    """CloudFormation generates a new value if the settings of the generation change."""
    before, after = (stack.resources["TokenSecret"]["Properties"] for stack in (first, current))
    assert before["GenerateSecretString"] == after["GenerateSecretString"]


def test_a_rollback_deletes_nothing_that_must_be_kept(first: template.Stack, current: template.Stack) -> None:
    removed = compare(current, first).removed
    policies = {plain(name): each.get("DeletionPolicy", "Delete") for name, each in current.resources.items()}
    assert {policies[name] for name in removed} <= {"Delete"}
