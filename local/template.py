"""`template.yaml`, translated from SAM to CloudFormation and resolved for local use.

The local stack reads routes, environments and tables from the result of `load()`. Unsupported intrinsic functions raise
errors.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.utils.py27hash_fix import to_py27_compatible_template, undo_mark_unicode_str_in_template
from samtranslator.yaml_helper import yaml_parse

from local.intrinsics import Resolver
from local.naming import (
    ACCOUNT_ID,
    API_ID,
    PARTITION,
    REGION,
    STACK_NAME,
    TemplateError,
    arn_of,
    as_string,
    physical_name,
)

__all__ = [
    "ACCOUNT_ID",
    "API_ID",
    "PARTITION",
    "REGION",
    "ROOT",
    "STACK_NAME",
    "Api",
    "Function",
    "Stack",
    "TemplateError",
    "load",
    "translate",
]

ROOT = Path(__file__).resolve().parent.parent
# The bucket of placeholders for packaged code, which the translator requires. Their key is the logical id.
_ARTIFACT_BUCKET = "local-code"
_CODE_PROPERTIES = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}

# It logs warnings about feature flags and metrics that exist only inside AWS, even at exit.
logging.getLogger("samtranslator").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Function:
    """A Lambda function.

    `timeout` is in seconds, `memory` in MB; `code_path` is a folder that may not exist. `reserved` is its reserved
    concurrency; None if it shares the concurrency of the account.
    """

    logical_id: str
    name: str
    arn: str
    code_path: Path
    handler: str
    environment: Mapping[str, str]
    timeout: int
    memory: int
    reserved: int | None = None


@dataclass(frozen=True)
class Api:
    """A REST API.

    `body` is its resolved OpenAPI document; `functions` maps ARNs to logical ids. Responses of at least
    `minimum_compression_size` bytes are compressed; None compresses none.
    """

    id: str
    stage: str
    body: Mapping[str, Any]
    method_settings: tuple[Mapping[str, Any], ...]
    stage_variables: Mapping[str, str]
    functions: Mapping[str, str]
    minimum_compression_size: int | None


@dataclass(frozen=True)
class Stack:
    """The translated template, with parameters, conditions and intrinsic functions resolved.

    `resources` contains the resources whose condition is true, by logical id: `{"Type": …, "Properties": {…}}`.
    `translated` is the CloudFormation template before it is resolved.
    """

    parameters: Mapping[str, Any]
    resources: Mapping[str, Mapping[str, Any]]
    functions: Mapping[str, Function]
    layers: tuple[Path, ...]
    api: Api | None
    outputs: Mapping[str, str]
    translated: Mapping[str, Any]

    def of_type(self, resource_type: str) -> dict[str, Mapping[str, Any]]:
        """Return the properties of all resources of a CloudFormation type, by logical id."""
        return {
            logical_id: resource["Properties"]
            for logical_id, resource in self.resources.items()
            if resource["Type"] == resource_type
        }

    @property
    def tables(self) -> dict[str, Mapping[str, Any]]:
        """The properties of all DynamoDB tables, by logical id."""
        return self.of_type("AWS::DynamoDB::Table")

    def physical_name(self, logical_id: str) -> str:
        """Return the name of a resource in the local account. Raises KeyError."""
        resource = self.resources[logical_id]
        return physical_name(logical_id, resource["Type"], resource["Properties"])


def translate(template: Path = ROOT / "template.yaml", parameters: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the template as CloudFormation, with placeholders in S3 for local code paths. Raises TemplateError."""
    return _translate(_read(template), parameters or {})[0]


def load(template: Path = ROOT / "template.yaml", parameters: Mapping[str, str] | None = None) -> Stack:
    """Return the template, translated and resolved with these parameter values. Raises TemplateError."""
    source = _read(template)
    values = _parameter_values(source.get("Parameters", {}), parameters or {})
    translated, code_paths = _translate(source, parameters or {})
    resolver = Resolver(values, translated.get("Conditions", {}), translated["Resources"])
    if violations := resolver.violations(translated.get("Rules", {})):
        raise TemplateError("; ".join(violations))
    resources = resolver.resources()
    base = template.resolve().parent

    functions = {}
    layers = []
    for logical_id, resource in resources.items():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::Lambda::Function":
            name = physical_name(logical_id, resource["Type"], properties)
            reserved = properties.get("ReservedConcurrentExecutions")
            environment = properties.get("Environment", {}).get("Variables", {})
            functions[logical_id] = Function(
                logical_id=logical_id,
                name=name,
                arn=arn_of(resource["Type"], name),
                code_path=base / code_paths[properties["Code"]["S3Key"]],
                handler=properties["Handler"],
                environment={key: as_string(value) for key, value in environment.items()},
                timeout=int(properties.get("Timeout", 3)),
                memory=int(properties.get("MemorySize", 128)),
                reserved=None if reserved is None else int(reserved),
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
    """Return the parsed template, which must not be changed."""
    return _parse(template, template.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _parse(template: Path, _modified_at: int) -> dict[str, Any]:
    # Parsing takes as long as the rest of `load`, and the tests load the template hundreds of times.
    source: Any = yaml_parse(template.read_text(encoding="utf-8"))
    if not isinstance(source, dict) or not isinstance(source.get("Resources"), dict):
        raise TemplateError(f"{template.name}: not a template with resources")
    return source


def _translate(source: Mapping[str, Any], parameters: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the translated template, and the local code paths by the keys of their placeholders."""
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
    # Like samtranslator's transform(), which reads the region only from the environment. The translator uses only the
    # region of the session; a real session would require a valid AWS profile.
    translator = Translator(None, Parser(), boto_session=SimpleNamespace(region_name=REGION))
    try:
        translated = translator.translate(fragment, parameter_values=values, get_managed_policy_map=dict)
    except Exception as error:
        causes = getattr(error, "causes", None) or [error]
        raise TemplateError("; ".join(str(getattr(cause, "message", cause)) for cause in causes)) from error
    plain: dict[str, Any] = undo_mark_unicode_str_in_template(translated)
    return plain, code_paths


def _parameter_values(definitions: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of all parameters, as strings or lists of strings."""
    if unknown := sorted(given.keys() - definitions.keys()):
        raise TemplateError(f"no such parameter: {', '.join(unknown)}")
    values: dict[str, Any] = {}
    for name, definition in definitions.items():
        if name not in given and "Default" not in definition:
            raise TemplateError(f"parameter {name} has no default and was not given")
        value = as_string(given.get(name, definition.get("Default")))
        allowed = [as_string(item) for item in definition.get("AllowedValues", [])]
        if allowed and value not in allowed:
            raise TemplateError(f"parameter {name}: must be one of {', '.join(allowed)}")
        is_list = definition["Type"] == "CommaDelimitedList"
        elements = [element.strip() for element in value.split(",")] if is_list else [value]
        pattern = definition.get("AllowedPattern", "(?s).*")
        if not all(re.fullmatch(pattern, element) for element in elements):
            raise TemplateError(f"parameter {name}: does not match {pattern}")
        if definition["Type"] == "Number":
            _check_number(name, value, definition)
        values[name] = elements if is_list else value
    return values


def _check_number(name: str, value: str, definition: Mapping[str, Any]) -> None:
    try:
        number = float(value)
    except ValueError:
        raise TemplateError(f"parameter {name}: not a number") from None
    if number < float(definition.get("MinValue", number)) or number > float(definition.get("MaxValue", number)):
        raise TemplateError(f"parameter {name}: out of range")


def _api(resources: Mapping[str, Mapping[str, Any]], functions: Mapping[str, Function]) -> Api | None:
    apis = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::ApiGateway::RestApi"]
    stages = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::ApiGateway::Stage"]
    if not apis:
        return None
    if len(apis) > 1 or len(stages) != 1:
        raise TemplateError("only one REST API with one stage can be served")
    minimum = apis[0].get("MinimumCompressionSize")
    return Api(
        id=API_ID,
        stage=stages[0]["StageName"],
        body=apis[0]["Body"],
        method_settings=tuple(stages[0].get("MethodSettings", [])),
        stage_variables=stages[0].get("Variables", {}),
        functions={function.arn: function.logical_id for function in functions.values()},
        minimum_compression_size=None if minimum is None else int(minimum),
    )
