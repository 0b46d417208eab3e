"""`template.yaml`, translated from SAM to CloudFormation and resolved for local use.

Nothing that the template says is written again here: routes, environments, tables and the like are read from what
`load()` returns. An intrinsic function that this module does not know is an error that names it.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.utils.py27hash_fix import to_py27_compatible_template, undo_mark_unicode_str_in_template
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent
REGION = "us-east-1"
# The account that the emulated AWS answers for.
ACCOUNT_ID = "123456789012"
PARTITION = "aws"
STACK_NAME = "longshore"
API_ID = "local"

# Where the translator expects packaged code. The key is the logical id, which finds the folder again afterwards.
_ARTIFACT_BUCKET = "local-code"
_CODE_PROPERTIES = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}

_PSEUDO_PARAMETERS: Mapping[str, str] = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT_ID,
    "AWS::Partition": PARTITION,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": STACK_NAME,
    "AWS::StackId": f"arn:{PARTITION}:cloudformation:{REGION}:{ACCOUNT_ID}:stack/{STACK_NAME}/local",
}

# The property that names a resource, where one is given.
_NAME_PROPERTIES = {
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
    "AWS::SSM::Document": "Name",
    "AWS::SecretsManager::Secret": "Name",
}

# The ARN of a resource, after its partition.
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
    # Without the random suffix, which Secrets Manager lets a caller leave out.
    "AWS::SecretsManager::Secret": "secretsmanager:{region}:{account}:secret:{name}",
    "AWS::CloudWatch::Alarm": "cloudwatch:{region}:{account}:alarm:{name}",
}

# Ref gives the ARN of these, and the physical name of all others.
_REF_IS_ARN = {
    "AWS::IAM::ManagedPolicy",
    "AWS::Lambda::LayerVersion",
    "AWS::SNS::Topic",
    "AWS::SecretsManager::Secret",
}


# It warns of its feature flags and its metrics, which exist only inside AWS, and does so as late as at exit.
logging.getLogger("samtranslator").setLevel(logging.ERROR)


class TemplateError(Exception):
    """The template cannot be used locally; the message says which part and why."""


@dataclass(frozen=True)
class Function:
    """One Lambda function. `timeout` is in seconds, `memory` in MB; `code_path` is a folder that may not exist."""

    logical_id: str
    name: str
    arn: str
    code_path: Path
    handler: str
    environment: Mapping[str, str]
    timeout: int
    memory: int


@dataclass(frozen=True)
class Api:
    """One REST API: `body` is its OpenAPI document, resolved; `functions` maps ARNs to logical ids."""

    id: str
    stage: str
    body: Mapping[str, Any]
    method_settings: tuple[Mapping[str, Any], ...]
    stage_variables: Mapping[str, str]
    functions: Mapping[str, str]


@dataclass(frozen=True)
class Stack:
    """The translated template with every parameter, condition and intrinsic resolved.

    `resources` holds, by logical id, what the conditions leave: `{"Type": …, "Properties": {…}}`.
    `translated` is the CloudFormation template before any of it was resolved.
    """

    parameters: Mapping[str, Any]
    resources: Mapping[str, Mapping[str, Any]]
    functions: Mapping[str, Function]
    layers: tuple[Path, ...]
    api: Api | None
    outputs: Mapping[str, str]
    translated: Mapping[str, Any]

    def of_type(self, resource_type: str) -> dict[str, Mapping[str, Any]]:
        """The properties of every resource of a CloudFormation type, by logical id."""
        return {
            logical_id: resource["Properties"]
            for logical_id, resource in self.resources.items()
            if resource["Type"] == resource_type
        }

    @property
    def tables(self) -> dict[str, Mapping[str, Any]]:
        """The properties of every DynamoDB table, by logical id."""
        return self.of_type("AWS::DynamoDB::Table")

    def physical_name(self, logical_id: str) -> str:
        """The name of a resource in the local account. KeyError when there is none."""
        resource = self.resources[logical_id]
        return _physical_name(logical_id, resource["Type"], resource["Properties"])


def translate(template: Path = ROOT / "template.yaml", parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The template as CloudFormation, its local code paths replaced by placeholders in S3. TemplateError."""
    return _translate(_read(template), parameters or {})[0]


def load(template: Path = ROOT / "template.yaml", parameters: Mapping[str, str] | None = None) -> Stack:
    """The template, translated and resolved with these parameter values over its defaults. TemplateError."""
    source = _read(template)
    values = _parameter_values(source.get("Parameters", {}), parameters or {})
    translated, code_paths = _translate(source, parameters or {})
    resolver = _Resolver(values, translated.get("Conditions", {}), translated["Resources"])
    resources = resolver.resources()
    base = template.resolve().parent

    functions = {}
    layers = []
    for logical_id, resource in resources.items():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::Lambda::Function":
            name = _physical_name(logical_id, resource["Type"], properties)
            environment = properties.get("Environment", {}).get("Variables", {})
            functions[logical_id] = Function(
                logical_id=logical_id,
                name=name,
                arn=_arn(resource["Type"], name),
                code_path=base / code_paths[properties["Code"]["S3Key"]],
                handler=properties["Handler"],
                environment={key: _as_string(value) for key, value in environment.items()},
                timeout=int(properties.get("Timeout", 3)),
                memory=int(properties.get("MemorySize", 128)),
            )
        elif resource["Type"] == "AWS::Lambda::LayerVersion":
            layers.append(base / code_paths[properties["Content"]["S3Key"]])
    return Stack(
        parameters=values,
        resources=resources,
        functions=functions,
        layers=tuple(layers),
        api=_api(resources, functions),
        outputs=resolver.outputs(translated.get("Outputs", {})),
        translated=translated,
    )


def _read(template: Path) -> dict[str, Any]:
    source = yaml_parse(template.read_text(encoding="utf-8"))
    if not isinstance(source, dict) or not isinstance(source.get("Resources"), dict):
        raise TemplateError(f"{template.name}: not a template with resources")
    return source


def _translate(source: Mapping[str, Any], parameters: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The translated template, and the local code path behind each placeholder's key."""
    fragment = copy.deepcopy(dict(source))
    code_paths = {}
    for logical_id, resource in fragment["Resources"].items():
        key = _CODE_PROPERTIES.get(resource["Type"])
        if key is None:
            continue
        path = resource.get("Properties", {}).get(key)
        if not isinstance(path, str) or path.startswith("s3://"):
            raise TemplateError(f"{logical_id}: {key} is not a local folder")
        code_paths[logical_id] = path
        resource["Properties"][key] = f"s3://{_ARTIFACT_BUCKET}/{logical_id}"

    values = dict(parameters)
    to_py27_compatible_template(fragment, values)
    # The same as samtranslator's transform(), which takes its region from the environment only. Nothing but the region
    # is read from the session, and a real one would want the user's AWS profile to be in order.
    translator = Translator(None, Parser(), boto_session=SimpleNamespace(region_name=REGION))
    try:
        translated = translator.translate(fragment, parameter_values=values, get_managed_policy_map=dict)
    except Exception as error:
        causes = getattr(error, "causes", None) or [error]
        raise TemplateError("; ".join(str(getattr(cause, "message", cause)) for cause in causes)) from error
    plain: dict[str, Any] = undo_mark_unicode_str_in_template(translated)
    return plain, code_paths


def _parameter_values(definitions: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Every parameter's value as CloudFormation would hold it: a string, or a list of strings."""
    if unknown := sorted(given.keys() - definitions.keys()):
        raise TemplateError(f"no such parameter: {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for name, definition in definitions.items():
        if name not in given and "Default" not in definition:
            raise TemplateError(f"parameter {name} has no default and was not given")
        value = _as_string(given.get(name, definition.get("Default")))
        allowed = [_as_string(item) for item in definition.get("AllowedValues", [])]
        if allowed and value not in allowed:
            raise TemplateError(f"parameter {name}: must be one of {', '.join(allowed)}")
        if "AllowedPattern" in definition and not re.fullmatch(definition["AllowedPattern"], value):
            raise TemplateError(f"parameter {name}: does not match {definition['AllowedPattern']}")
        if definition["Type"] == "Number":
            _check_number(name, value, definition)
        values[name] = value.split(",") if definition["Type"] == "CommaDelimitedList" else value
    return values


def _check_number(name: str, value: str, definition: Mapping[str, Any]) -> None:
    try:
        number = float(value)
    except ValueError:
        raise TemplateError(f"parameter {name}: not a number") from None
    if number < float(definition.get("MinValue", number)) or number > float(definition.get("MaxValue", number)):
        raise TemplateError(f"parameter {name}: out of range")


def _as_string(value: object) -> str:
    """A scalar of YAML as CloudFormation renders it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TemplateError(f"not a scalar: {type(value).__name__}")


def _physical_name(logical_id: str, resource_type: str, properties: Mapping[str, Any]) -> str:
    if resource_type == "AWS::ApiGateway::RestApi":
        return API_ID
    if resource_type == "AWS::ApiGateway::Stage":
        return str(properties["StageName"])
    given = properties.get(_NAME_PROPERTIES.get(resource_type, ""))
    return given if isinstance(given, str) else f"{STACK_NAME}-{logical_id}"


def _arn(resource_type: str, name: str) -> str:
    pattern = _ARNS.get(resource_type)
    if pattern is None:
        raise TemplateError(f"the ARN of a {resource_type} is not known locally")
    return f"arn:{PARTITION}:" + pattern.format(region=REGION, account=ACCOUNT_ID, name=name)


def _queue_url(name: str) -> str:
    return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT_ID}/{name}"


def _api(resources: Mapping[str, Mapping[str, Any]], functions: Mapping[str, Function]) -> Api | None:
    apis = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::ApiGateway::RestApi"]
    stages = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::ApiGateway::Stage"]
    if not apis:
        return None
    if len(apis) > 1 or len(stages) != 1:
        raise TemplateError("only one REST API with one stage can be served")
    return Api(
        id=API_ID,
        stage=stages[0]["StageName"],
        body=apis[0]["Body"],
        method_settings=tuple(stages[0].get("MethodSettings", [])),
        stage_variables=stages[0].get("Variables", {}),
        functions={function.arn: function.logical_id for function in functions.values()},
    )


class _NoValue:
    """What `AWS::NoValue` resolves to: whoever holds it leaves it out."""


_NO_VALUE = _NoValue()


class _Resolver:
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
        """The resources whose condition holds, resolved."""
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
        """The values of the outputs whose condition holds, by name."""
        there = {
            name: output
            for name, output in declared.items()
            if "Condition" not in output or self._condition(output["Condition"])
        }
        return {name: _as_string(self.value(output["Value"])) for name, output in there.items()}

    def value(self, node: Any) -> Any:
        if isinstance(node, str) and "{{resolve:" in node:
            raise TemplateError("a dynamic reference ({{resolve:…}}) is not known locally")
        if isinstance(node, list):
            return [item for item in map(self.value, node) if item is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (name, argument), *_ = node.items()
            if name in self._functions:
                return self._functions[name](argument)
            if str(name).startswith("Fn::"):
                raise TemplateError(f"{name} is not known locally")
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
            return _arn(resource_type, physical_name)
        if resource_type == "AWS::SQS::Queue":
            return _queue_url(physical_name)
        return physical_name

    def _get_att(self, argument: Any) -> Any:
        logical_id, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        resource_type, physical_name = self._named(logical_id, "Fn::GetAtt")
        if attribute == "Arn":
            return _arn(resource_type, physical_name)
        if attribute == "QueueName" and resource_type == "AWS::SQS::Queue":
            return physical_name
        raise TemplateError(f"Fn::GetAtt {logical_id}.{attribute} of a {resource_type} is not known locally")

    def _named(self, logical_id: str, function: str) -> tuple[str, str]:
        """The type and the physical name of a resource that exists."""
        resource = self._resources.get(logical_id)
        if resource is None:
            raise TemplateError(f"{function} {logical_id}: no such parameter or resource")
        if "Condition" in resource and not self._condition(resource["Condition"]):
            raise TemplateError(f"{function} {logical_id}: its condition {resource['Condition']} is false")
        properties = resource.get("Properties", {})
        key = _NAME_PROPERTIES.get(resource["Type"], "")
        if resource["Type"] == "AWS::ApiGateway::Stage":
            key = "StageName"
        # Only the name: a resource may refer to itself elsewhere.
        named = {key: self.value(properties[key])} if key in properties else {}
        return resource["Type"], _physical_name(logical_id, resource["Type"], named)

    def _sub(self, argument: Any) -> str:
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in variables:
                return _as_string(self.value(variables[name]))
            known = name in self._parameters or name.startswith("AWS::")
            return _as_string(self._get_att(name) if "." in name and not known else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", replace, text)

    def _if(self, argument: Any) -> Any:
        condition, if_true, if_false = argument
        return self.value(if_true if self._condition(condition) else if_false)

    def _join(self, argument: Any) -> str:
        delimiter, items = argument
        return str(delimiter).join(_as_string(item) for item in self.value(items))

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
                raise TemplateError(f"{name} in a condition is not known locally")
