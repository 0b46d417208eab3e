"""Names and ARNs of the stack's resources in the local account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REGION = "us-east-1"
# The account of the emulated AWS.
ACCOUNT_ID = "123456789012"
PARTITION = "aws"
STACK_NAME = "longshore"
API_ID = "local"

# The properties that contain the name of a resource.
NAME_PROPERTIES = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::EventBus": "Name",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Lambda::LayerVersion": "LayerName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Scheduler::ScheduleGroup": "Name",
    "AWS::SSM::Document": "Name",
    "AWS::SecretsManager::Secret": "Name",
    "AWS::WAFv2::WebACL": "Name",
}

# ARN formats, without the prefix and the partition.
_ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::EventBus": "events:{region}:{account}:event-bus/{name}",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{name}",
    "AWS::IAM::ManagedPolicy": "iam::{account}:policy/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Lambda::LayerVersion": "lambda:{region}:{account}:layer:{name}:1",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::Scheduler::ScheduleGroup": "scheduler:{region}:{account}:schedule-group/{name}",
    # Without the random suffix, which is optional in requests to Secrets Manager.
    "AWS::SecretsManager::Secret": "secretsmanager:{region}:{account}:secret:{name}",
    "AWS::WAFv2::WebACL": "wafv2:{region}:{account}:regional/webacl/{name}/local",
    "AWS::CloudWatch::Alarm": "cloudwatch:{region}:{account}:alarm:{name}",
}


class TemplateError(Exception):
    """The template cannot be used locally. The message states the part and the reason."""


def as_string(value: object) -> str:
    """Return a YAML scalar as CloudFormation renders it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TemplateError(f"not a scalar: {type(value).__name__}")


def physical_name(logical_id: str, resource_type: str, properties: Mapping[str, Any]) -> str:
    if resource_type == "AWS::ApiGateway::RestApi":
        return API_ID
    if resource_type == "AWS::ApiGateway::Stage":
        return str(properties["StageName"])
    given = properties.get(NAME_PROPERTIES.get(resource_type, ""))
    return given if isinstance(given, str) else f"{STACK_NAME}-{logical_id}"


def arn_of(resource_type: str, name: str) -> str:
    pattern = _ARNS.get(resource_type)
    if pattern is None:
        raise TemplateError(f"the ARN of a {resource_type} is not supported locally")
    return f"arn:{PARTITION}:" + pattern.format(region=REGION, account=ACCOUNT_ID, name=name)
