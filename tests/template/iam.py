"""A model of IAM: the permissions that a function's role grants, and the permissions that a recorded call requires.

It covers only the identity policies of this template. Anything that it does not support (an element of a statement, an
operator of a condition, a managed policy, an AWS operation) raises UnsupportedError.

The required permissions are those of https://docs.aws.amazon.com/service-authorization/latest/reference/. Three of its
rules are easily overlooked: a transaction is authorised by its items, a Query of an index only by the ARN of the index,
and RunTask passes every role of the task definition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.emulator import Call
from local.template import ACCOUNT_ID, PARTITION, REGION, Function, Stack

# Managed policies that SAM adds: logs for every function, and traces if tracing is active. Their content is ignored.
AWS_MANAGED = {
    f"arn:{PARTITION}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    f"arn:{PARTITION}:iam::aws:policy/AWSXrayWriteOnlyAccess",
}

# Actions whose calls name no resource, so that their policy has to allow `*`. ListTasks of a whole cluster is
# authorised for `*`, although the reference gives an ARN: https://github.com/cdklabs/construct-hub/pull/1207
WITHOUT_RESOURCE = {
    "application-autoscaling:DescribeScalableTargets",
    "ecs:ListServices",
    "ecs:ListTasks",
    "scheduler:ListSchedules",
    "ssm:GetCommandInvocation",
}

_TRANSACTION_ITEMS = {
    "Update": "dynamodb:UpdateItem",
    "Put": "dynamodb:PutItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
_READ_STREAM = (
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
)
_OF_ONE_ITEM = {"GetItem", "PutItem", "UpdateItem", "DeleteItem"}
_OF_MANY_ITEMS = {"Query", "Scan"}
_PARTITION_KEYS = {"id", "user_id", "container_id"}

Roles = Callable[[str], Iterable[str]]
"""Returns the ARNs of the roles of a task definition, given the reference that RunTask received."""


class UnsupportedError(Exception):
    """The model does not support this element, so it cannot decide whether a call is allowed."""


@dataclass(frozen=True)
class Request:
    """A request for authorization that AWS sends to IAM. `context` contains condition keys and their values."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


@dataclass(frozen=True)
class Grant:
    """A permission: one action on one resource. `conditions` are tuples of operator, key and values."""

    policy: str
    action: str
    resource: str
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    def allows(self, request: Request) -> bool:
        context = dict(request.context)
        return (
            _matches(self.action.lower(), request.action.lower())
            and _arn_matches(self.resource, request.resource)
            # All conditions have to match. A key that the request lacks does not match.
            and all(
                key in context and any(_OPERATORS[operator](value, context[key]) for value in values)
                for operator, key, values in self.conditions
            )
        )

    def __str__(self) -> str:
        return f"{self.action} on {self.resource} ({self.policy})"


def missing(grants: Iterable[Grant], used: Iterable[Request]) -> list[Request]:
    """Return the requests that no grant allows."""
    return [request for request in used if not any(grant.allows(request) for grant in grants)]


def unused(grants: Iterable[Grant], used: Iterable[Request]) -> list[Grant]:
    """Return the grants that no request needs."""
    return [grant for grant in grants if not any(grant.allows(request) for request in used)]


# --- Granted permissions ----------------------------------------------------------------------------------------------


def grants(stack: Stack, function: Function) -> list[Grant]:
    """Return the grants of all policies of a function's role: inline, referenced by the role, and attached to it."""
    return [grant for name, document in _policies(stack, function) for grant in statements(name, document)]


def statements(policy: str, document: Mapping[str, Any]) -> Iterator[Grant]:
    """Yield the grants of a policy document."""
    if unknown := document.keys() - {"Version", "Statement"}:
        raise UnsupportedError(f"{policy}: {', '.join(sorted(unknown))}")
    for statement in _list(document["Statement"]):
        if unknown := statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}:
            raise UnsupportedError(f"{policy}: {', '.join(sorted(unknown))} in a statement")
        if statement["Effect"] != "Allow":
            raise UnsupportedError(f"{policy}: Effect {statement['Effect']}")
        conditions = tuple(_conditions(policy, statement.get("Condition", {})))
        for action in _list(statement["Action"]):
            for resource in _list(statement["Resource"]):
                yield Grant(policy, action, resource, conditions)


def role_of(stack: Stack, function: Function) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the properties of a function's role."""
    arn = stack.resources[function.logical_id]["Properties"]["Role"]
    for logical_id, properties in stack.of_type("AWS::IAM::Role").items():
        name = stack.physical_name(logical_id)
        if arn == f"arn:{PARTITION}:iam::{ACCOUNT_ID}:role/{name}":
            return name, properties
    raise UnsupportedError(f"{function.logical_id}: its role is not of this template")


def _policies(stack: Stack, function: Function) -> Iterator[tuple[str, Mapping[str, Any]]]:
    role_name, role = role_of(stack, function)
    if "PermissionsBoundary" in role:
        raise UnsupportedError(f"{role_name}: PermissionsBoundary")
    for policy in role.get("Policies", []):
        yield f"{role_name} {policy['PolicyName']}", policy["PolicyDocument"]
    managed = {
        f"arn:{PARTITION}:iam::{ACCOUNT_ID}:policy/{stack.physical_name(logical_id)}": (logical_id, properties)
        for logical_id, properties in stack.of_type("AWS::IAM::ManagedPolicy").items()
    }
    for arn in role.get("ManagedPolicyArns", []):
        if arn not in managed and arn not in AWS_MANAGED:
            raise UnsupportedError(f"{role_name}: {arn}")
    for arn, (logical_id, properties) in managed.items():
        if arn in role.get("ManagedPolicyArns", []) or role_name in properties.get("Roles", []):
            yield logical_id, properties["PolicyDocument"]
    for kind in ("AWS::IAM::Policy", "AWS::IAM::RolePolicy"):
        if stack.of_type(kind):
            raise UnsupportedError(kind)


def _conditions(policy: str, condition: Mapping[str, Any]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for operator, keys in condition.items():
        if operator not in _OPERATORS:
            raise UnsupportedError(f"{policy}: operator {operator}")
        for key, values in keys.items():
            yield operator, key, tuple(_list(values))


def _matches(pattern: str, text: str) -> bool:
    """Return whether the text matches a pattern with `*` and `?`."""
    regex = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.fullmatch(regex, text, re.DOTALL) is not None


def _arn_matches(pattern: str, arn: str) -> bool:
    """Match each part of an ARN separately, because a wildcard does not extend beyond its part."""
    if pattern == "*":
        return True
    parts, others = pattern.split(":", 5), arn.split(":", 5)
    return len(parts) == len(others) == 6 and all(map(_matches, parts, others))


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "StringEquals": str.__eq__,
    "ForAllValues:StringEquals": str.__eq__,  # of keys with one value
    "StringLike": _matches,
    "ArnEquals": _arn_matches,  # the same as ArnLike
    "ArnLike": _arn_matches,
}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# --- Required permissions ---------------------------------------------------------------------------------------------


def requests(call: Call, roles: Roles) -> Iterator[Request]:
    """Yield the requests that AWS sends to IAM when a function makes the call."""
    match call.service:
        case "dynamodb":
            yield from _of_dynamodb(call)
        case "ecs":
            yield from _of_ecs(call, roles)
        case "application-autoscaling":
            yield from _of_auto_scaling(call)
        case "ssm":
            yield from _of_ssm(call)
        case "scheduler":
            yield from _of_scheduler(call)
        case "secretsmanager" if call.operation == "GetSecretValue":
            yield Request("secretsmanager:GetSecretValue", call.parameters["SecretId"])
        case "lambda" if call.operation == "Invoke":
            yield Request("lambda:InvokeFunction", _arn("lambda", "function", call.parameters["FunctionName"], ":"))
        case "events" if call.operation == "PutEvents":
            for entry in call.parameters["Entries"]:
                yield Request("events:PutEvents", _arn("events", "event-bus", entry["EventBusName"]))
        case "sqs" if call.operation == "SendMessage":
            name = call.parameters["QueueUrl"].rpartition("/")[2]
            yield Request("sqs:SendMessage", f"arn:{PARTITION}:sqs:{REGION}:{ACCOUNT_ID}:{name}")
        case _:
            raise _unknown(call)


def requests_of_lambda(stack: Stack, function: Function) -> Iterator[Request]:
    """Yield the requests that Lambda makes with the function's role.

    It reads the stream of the function, and sends failed events to the destination.
    """
    for kind in ("AWS::Lambda::EventInvokeConfig", "AWS::Lambda::EventSourceMapping"):
        for config in stack.of_type(kind).values():
            if config["FunctionName"] != function.name:
                continue
            for action in _READ_STREAM if "EventSourceArn" in config else ():
                yield Request(action, config["EventSourceArn"])
            for destination in config.get("DestinationConfig", {}).values():
                target = destination["Destination"]
                if ":sqs:" not in target:
                    raise UnsupportedError(f"{function.logical_id}: the destination {target}")
                yield Request("sqs:SendMessage", target)


def _of_dynamodb(call: Call) -> Iterator[Request]:
    parameters = call.parameters
    if call.operation == "TransactWriteItems":
        for item in parameters["TransactItems"]:
            ((kind, request),) = item.items()
            yield Request(_TRANSACTION_ITEMS[kind], _arn("dynamodb", "table", request["TableName"]))
        return
    if call.operation == "BatchGetItem":
        for name in parameters["RequestItems"]:
            yield Request("dynamodb:BatchGetItem", _arn("dynamodb", "table", name))
        return
    table = _arn("dynamodb", "table", parameters.get("TableName", ""))
    if call.operation in _OF_MANY_ITEMS and "IndexName" in parameters:
        yield Request(f"dynamodb:{call.operation}", f"{table}/index/{parameters['IndexName']}")
    elif call.operation in _OF_MANY_ITEMS | _OF_ONE_ITEM:
        # The partition key, of which a call of one item has one value.
        keys = [value["S"] for name, value in parameters.get("Key", {}).items() if name in _PARTITION_KEYS]
        yield Request(f"dynamodb:{call.operation}", table, tuple(("dynamodb:LeadingKeys", key) for key in keys))
    else:
        raise _unknown(call)


def _of_ecs(call: Call, roles: Roles) -> Iterator[Request]:
    parameters = call.parameters
    cluster = _arn("ecs", "cluster", parameters["cluster"])
    context = (("ecs:cluster", cluster), ("aws:RequestedRegion", REGION))
    action = f"ecs:{call.operation}"

    def within(kind: str, reference: str) -> Request:
        return Request(action, _arn("ecs", f"{kind}/{cluster.rpartition('/')[2]}", reference), context)

    match call.operation:
        case "RunTask":
            # A reference without a revision results in an ARN without one.
            yield Request(action, _arn("ecs", "task-definition", parameters["taskDefinition"]), context)
            for role in roles(parameters["taskDefinition"]):
                yield Request("iam:PassRole", role, (("iam:PassedToService", "ecs-tasks.amazonaws.com"),))
        case "StopTask":
            yield within("task", parameters["task"])
        case "DescribeTasks":
            for task in parameters["tasks"]:
                yield within("task", task)
        case "DescribeContainerInstances":
            for instance in parameters["containerInstances"]:
                yield within("container-instance", instance)
        case "ListTasks" if "containerInstance" not in parameters:
            yield Request(action, "*", context)
        case "ListServices" | "DescribeServices" | "ListServiceDeployments" | "UpdateService":
            yield from _of_services(call, cluster, roles)
        case _:
            raise _unknown(call)


def _of_services(call: Call, cluster: str, roles: Roles) -> Iterator[Request]:
    action, parameters = f"ecs:{call.operation}", call.parameters
    context = (("ecs:cluster", cluster), ("aws:RequestedRegion", REGION))
    if call.operation == "ListServices":
        yield Request(action, "*", context)
        return
    services = parameters["services"] if "services" in parameters else [parameters["service"]]
    for service in services:
        yield Request(action, _arn("ecs", f"service/{cluster.rpartition('/')[2]}", service), context)
    if "taskDefinition" in parameters:
        for role in roles(parameters["taskDefinition"]):
            yield Request("iam:PassRole", role, (("iam:PassedToService", "ecs-tasks.amazonaws.com"),))


def _of_auto_scaling(call: Call) -> Iterator[Request]:
    action, parameters = f"application-autoscaling:{call.operation}", call.parameters
    match call.operation:
        case "DescribeScalableTargets":
            yield Request(action, "*")
        case "RegisterScalableTarget" | "DeregisterScalableTarget":
            # Policies cannot name a scalable target, because its id is random.
            context = (
                ("application-autoscaling:service-namespace", parameters["ServiceNamespace"]),
                ("application-autoscaling:scalable-dimension", parameters["ScalableDimension"]),
            )
            yield Request(action, _arn("application-autoscaling", "scalable-target", "0" * 34), context)
        case _:
            raise _unknown(call)


def _of_ssm(call: Call) -> Iterator[Request]:
    match call.operation:
        case "SendCommand" if "Targets" not in call.parameters:
            # The document and each instance have to be allowed.
            yield Request("ssm:SendCommand", _arn("ssm", "document", call.parameters["DocumentName"]))
            for instance in call.parameters["InstanceIds"]:
                kind = ("ssm", "managed-instance") if instance.startswith("mi-") else ("ec2", "instance")
                yield Request("ssm:SendCommand", _arn(*kind, instance))
        case "GetCommandInvocation":
            yield Request("ssm:GetCommandInvocation", "*")
        case _:
            raise _unknown(call)


def _of_scheduler(call: Call) -> Iterator[Request]:
    parameters = call.parameters
    match call.operation:
        case "ListSchedules":
            yield Request("scheduler:ListSchedules", "*")
        case "GetSchedule" | "CreateSchedule" | "UpdateSchedule" | "DeleteSchedule":
            schedule = f"{parameters['GroupName']}/{parameters['Name']}"
            yield Request(f"scheduler:{call.operation}", _arn("scheduler", "schedule", schedule))
            if "Target" in parameters:
                role = parameters["Target"]["RoleArn"]
                yield Request("iam:PassRole", role, (("iam:PassedToService", "scheduler.amazonaws.com"),))
        case _:
            raise _unknown(call)


def _arn(service: str, kind: str, reference: str, separator: str = "/") -> str:
    """Return the ARN of a resource that is given by its ARN or its name."""
    if reference.startswith("arn:"):
        return reference
    return f"arn:{PARTITION}:{service}:{REGION}:{ACCOUNT_ID}:{kind}{separator}{reference}"


def _unknown(call: Call) -> UnsupportedError:
    return UnsupportedError(f"{call.service} {call.operation} with {', '.join(sorted(call.parameters))}")
