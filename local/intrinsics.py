"""CloudFormation's conditions and intrinsic functions, evaluated for the local account."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from local.naming import (
    ACCOUNT_ID,
    NAME_PROPERTIES,
    PARTITION,
    REGION,
    STACK_NAME,
    TemplateError,
    arn_of,
    as_string,
    physical_name,
)

_PSEUDO_PARAMETERS: Mapping[str, str] = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT_ID,
    "AWS::Partition": PARTITION,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": STACK_NAME,
    "AWS::StackId": f"arn:{PARTITION}:cloudformation:{REGION}:{ACCOUNT_ID}:stack/{STACK_NAME}/local",
}

# Ref returns the ARN of these types, and the physical name of all others.
_REF_IS_ARN = {
    "AWS::IAM::ManagedPolicy",
    "AWS::Lambda::LayerVersion",
    "AWS::SNS::Topic",
    "AWS::SecretsManager::Secret",
}


def _queue_url(name: str) -> str:
    return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/{name}"


class _NoValue:
    """The value of `AWS::NoValue`. A property with this value is omitted."""


_NO_VALUE = _NoValue()


class Resolver:
    """Evaluates conditions and intrinsic functions."""

    def __init__(
        self, parameters: Mapping[str, Any], conditions: Mapping[str, Any], resources: Mapping[str, Any]
    ) -> None:
        self._parameters = parameters
        self._conditions = conditions
        self._resources = resources
        self._functions: dict[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Fn::GetAtt": self._get_att,
            "Fn::Sub": self._sub,
            "Fn::If": self._if,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
        }

    def resources(self) -> dict[str, dict[str, Any]]:
        """Return the resources whose condition is true, resolved."""
        resolved = {}
        for logical_id, resource in self._resources.items():
            condition = resource.get("Condition")
            if condition is not None and not self._condition(condition):
                continue
            try:
                properties = self.value(resource.get("Properties", {}))
            except TemplateError as error:
                raise TemplateError(f"{logical_id}: {error}") from None
            resolved[logical_id] = {"Type": resource["Type"], "Properties": properties}
        return resolved

    def outputs(self, declared: Mapping[str, Any]) -> dict[str, str]:
        """Return the values of the outputs whose condition is true, by name."""
        there = {
            name: output
            for name, output in declared.items()
            if "Condition" not in output or self._condition(output["Condition"])
        }
        return {name: as_string(self.value(output["Value"])) for name, output in there.items()}

    def violations(self, rules: Mapping[str, Any]) -> list[str]:
        """Return the descriptions of the assertions in the template's rules that the parameters violate."""
        return [
            str(assertion["AssertDescription"])
            for rule in rules.values()
            if "RuleCondition" not in rule or self._condition(rule["RuleCondition"])
            for assertion in rule["Assertions"]
            if not self._condition(assertion["Assert"])
        ]

    def value(self, node: Any) -> Any:
        if isinstance(node, str) and "{{resolve:" in node:
            raise TemplateError("a dynamic reference ({{resolve:…}}) is not supported locally")
        if isinstance(node, list):
            return [item for item in map(self.value, node) if item is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (name, argument), *_ = node.items()
            if name in self._functions:
                return self._functions[name](argument)
            if str(name).startswith("Fn::"):
                raise TemplateError(f"{name} is not supported locally")
        items = ((key, self.value(item)) for key, item in node.items())
        return {key: item for key, item in items if item is not _NO_VALUE}

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in _PSEUDO_PARAMETERS:
            return _PSEUDO_PARAMETERS[name]
        if name in self._parameters:
            return self._parameters[name]
        resource_type, physical_name = self._named(name, "Ref")
        if resource_type in _REF_IS_ARN:
            return arn_of(resource_type, physical_name)
        if resource_type == "AWS::SQS::Queue":
            return _queue_url(physical_name)
        return physical_name

    def _get_att(self, argument: Any) -> Any:
        logical_id, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        resource_type, physical_name = self._named(logical_id, "Fn::GetAtt")
        if attribute == "Arn":
            return arn_of(resource_type, physical_name)
        if attribute == "StreamArn" and resource_type == "AWS::DynamoDB::Table":
            return f"{arn_of(resource_type, physical_name)}/stream/local"
        if attribute == "QueueName" and resource_type == "AWS::SQS::Queue":
            return physical_name
        raise TemplateError(f"Fn::GetAtt {logical_id}.{attribute} of a {resource_type} is not supported locally")

    def _named(self, logical_id: str, function: str) -> tuple[str, str]:
        """Return the type and the physical name of a resource."""
        resource = self._resources.get(logical_id)
        if resource is None:
            raise TemplateError(f"{function} {logical_id}: no such parameter or resource")
        if "Condition" in resource and not self._condition(resource["Condition"]):
            raise TemplateError(f"{function} {logical_id}: its condition {resource['Condition']} is false")
        properties = resource.get("Properties", {})
        key = NAME_PROPERTIES.get(resource["Type"], "")
        if resource["Type"] == "AWS::ApiGateway::Stage":
            key = "StageName"
        # Only the name is resolved, because other properties may refer to the resource itself.
        named = {key: self.value(properties[key])} if key in properties else {}
        return resource["Type"], physical_name(logical_id, resource["Type"], named)

    def _sub(self, argument: Any) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in variables:
                return as_string(self.value(variables[name]))
            known = name in self._parameters or name.startswith("AWS::")
            return as_string(self._get_att(name) if "." in name and not known else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", replace, text)

    def _if(self, argument: Any) -> Any:
        condition, if_true, if_false = argument
        return self.value(if_true if self._condition(condition) else if_false)

    def _join(self, argument: Any) -> str:
        delimiter, items = argument
        return str(delimiter).join(as_string(item) for item in self.value(items))

    def _select(self, argument: Any) -> Any:
        index, items = argument
        return self.value(items)[int(self.value(index))]

    def _split(self, argument: Any) -> list[str]:
        delimiter, text = argument
        return str(self.value(text)).split(delimiter)

    def _condition(self, node: Any) -> bool:
        if isinstance(node, str):
            if node not in self._conditions:
                raise TemplateError(f"no such condition: {node}")
            return self._condition(self._conditions[node])
        (name, argument), *_ = node.items()
        match name:
            case "Condition":
                return self._condition(argument)
            case "Fn::Equals":
                left, right = (self.value(item) for item in argument)
                return bool(left == right)
            case "Fn::And":
                return all(self._condition(item) for item in argument)
            case "Fn::Or":
                return any(self._condition(item) for item in argument)
            case "Fn::Not":
                return not self._condition(argument[0])
            case _:
                raise TemplateError(f"{name} in a condition is not supported locally")
