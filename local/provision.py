"""Creates the template's resources that the functions use in the emulated AWS.

Existing tables and their data stay unchanged, so that a database can outlive the stack.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from local.template import Stack

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ecs import ECSClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_secretsmanager import SecretsManagerClient
    from types_boto3_ssm import SSMClient

# Properties with the same format in CreateTable. Backups, encryption, tags and deletion protection are omitted.
_TABLE_PROPERTIES = (
    "AttributeDefinitions",
    "KeySchema",
    "BillingMode",
    "ProvisionedThroughput",
    "GlobalSecondaryIndexes",
    "LocalSecondaryIndexes",
)


class ProvisionError(Exception):
    """An existing resource differs from the template. The message names it."""


def provision(
    stack: Stack,
    *,
    dynamodb: DynamoDBClient,
    secretsmanager: SecretsManagerClient,
    ssm: SSMClient,
    ecs: ECSClient,
    events: EventBridgeClient,
    scheduler: Any,
    sqs: Any,
    token_key: str,
) -> None:
    """Create the resources. Secrets get the value `token_key`.

    Raises:
        ProvisionError: An existing table differs from the template.
    """
    for logical_id, properties in stack.tables.items():
        _create_table(dynamodb, stack.physical_name(logical_id), properties)
    for logical_id in stack.of_type("AWS::SecretsManager::Secret"):
        _create_secret(secretsmanager, stack.physical_name(logical_id), token_key)
    for logical_id, properties in stack.of_type("AWS::SSM::Document").items():
        _create_document(ssm, stack.physical_name(logical_id), properties)
    for logical_id, properties in stack.of_type("AWS::Events::Rule").items():
        _create_rule(events, stack.physical_name(logical_id), properties)
    for logical_id in stack.of_type("AWS::Scheduler::ScheduleGroup"):
        scheduler.create_schedule_group(Name=stack.physical_name(logical_id))
    for logical_id in stack.of_type("AWS::SQS::Queue"):
        sqs.create_queue(QueueName=stack.physical_name(logical_id))
    if (bus := stack.parameters.get("EventBusName", "")) not in ("", "default"):
        events.create_event_bus(Name=bus)
    for cluster in filter(None, str(stack.parameters.get("ClusterName", "")).split(",")):
        # CreateCluster does nothing if the cluster exists.
        ecs.create_cluster(clusterName=cluster)


def _create_table(dynamodb: DynamoDBClient, name: str, properties: Mapping[str, Any]) -> None:
    wanted: dict[str, Any] = {key: properties[key] for key in _TABLE_PROPERTIES if key in properties}
    if "StreamSpecification" in properties:
        wanted["StreamSpecification"] = {"StreamEnabled": True, **properties["StreamSpecification"]}
    try:
        dynamodb.create_table(TableName=name, **wanted)
    except dynamodb.exceptions.ResourceInUseException:
        description = dynamodb.describe_table(TableName=name)["Table"]
        if _keys(description) != _keys(wanted):
            raise ProvisionError(
                f"table {name} exists with other keys or indexes than the template's; delete it first"
            ) from None
        if "StreamSpecification" in wanted and "LatestStreamArn" not in description:
            dynamodb.update_table(TableName=name, StreamSpecification=wanted["StreamSpecification"])
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    ttl = properties.get("TimeToLiveSpecification")
    if ttl is None:
        return
    present = dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    if present.get("TimeToLiveStatus") not in {"ENABLED", "ENABLING"}:
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)


def _keys(table: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Return the key schemas of a table and its indexes, in a comparable form."""

    def schema(holder: Mapping[str, Any]) -> list[tuple[str, str]]:
        return sorted((key["AttributeName"], key["KeyType"]) for key in holder["KeySchema"])

    keys = {"": schema(table)}
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        for index in table.get(kind) or []:
            keys[index["IndexName"]] = schema(index)
    return keys


def _create_secret(secretsmanager: SecretsManagerClient, name: str, value: str) -> None:
    try:
        secretsmanager.create_secret(Name=name, SecretString=value)
    except secretsmanager.exceptions.ResourceExistsException:
        secretsmanager.put_secret_value(SecretId=name, SecretString=value)


def _create_document(ssm: SSMClient, name: str, properties: Mapping[str, Any]) -> None:
    content = properties["Content"]
    request: dict[str, Any] = {
        key: properties[key] for key in ("DocumentType", "DocumentFormat", "TargetType") if key in properties
    }
    # The emulated AWS starts empty with each stack, so an existing document is the same document.
    with suppress(ssm.exceptions.DocumentAlreadyExists):
        ssm.create_document(Name=name, Content=content if isinstance(content, str) else json.dumps(content), **request)


def _create_rule(events: EventBridgeClient, name: str, properties: Mapping[str, Any]) -> None:
    request: dict[str, Any] = {
        key: properties[key] for key in ("ScheduleExpression", "State", "Description") if key in properties
    }
    if "EventPattern" in properties:
        pattern = properties["EventPattern"]
        request["EventPattern"] = pattern if isinstance(pattern, str) else json.dumps(pattern)
    events.put_rule(Name=name, **request)
    if targets := properties.get("Targets"):
        events.put_targets(Rule=name, Targets=targets)
