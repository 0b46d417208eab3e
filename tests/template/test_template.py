"""Tests that `template.yaml` can be deployed, grants no wildcards, and conforms to the API's contract."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs

from local import template
from local.naming import arn_of

# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
GATEWAY_RESPONSE_TYPES = {
    "ACCESS_DENIED",
    "API_CONFIGURATION_ERROR",
    "AUTHORIZER_CONFIGURATION_ERROR",
    "AUTHORIZER_FAILURE",
    "BAD_REQUEST_BODY",
    "BAD_REQUEST_PARAMETERS",
    "DEFAULT_4XX",
    "DEFAULT_5XX",
    "EXPIRED_TOKEN",
    "INTEGRATION_FAILURE",
    "INTEGRATION_TIMEOUT",
    "INVALID_API_KEY",
    "INVALID_SIGNATURE",
    "MISSING_AUTHENTICATION_TOKEN",
    "QUOTA_EXCEEDED",
    "REQUEST_TOO_LARGE",
    "RESOURCE_NOT_FOUND",
    "THROTTLED",
    "UNAUTHORIZED",
    "UNSUPPORTED_MEDIA_TYPE",
    "WAF_FILTERED",
}

# Accepted findings of cfn-lint: rule and a part of its message.
EXPECTED_FINDINGS = [
    # The translation replaces references with the parameter's value, here and in a deployment.
    ("W2001", "Parameter AuthorizerCacheSeconds not used"),
    # The default is empty. The condition then selects the other branch.
    ("W1030", "{'Ref': 'TokenSecretArn'}"),
]

SMALL_FUNCTIONS = {"IndexFunction", "UnknownOperationFunction"}
OPERATION_FUNCTIONS = {f"{name}Function" for name in ("Start", "Stop", "ForceStop", "Restart", "Pause", "Resume")}

KEY_SET = {
    "TokenAlgorithm": "ES256",
    "JwksUrl": "https://issuer.example.com/jwks.json",
    "TokenIssuer": "https://issuer.example.com/",
    "TokenAudience": "longshore",
}

ENVELOPE = {"statusCode", "error", "code", "message"}


@pytest.fixture(scope="module")
def resolved() -> template.Stack:
    return template.load()


def gateway_responses(resolved: template.Stack) -> Mapping[str, Mapping[str, Any]]:
    assert resolved.api is not None
    responses: Mapping[str, Mapping[str, Any]] = resolved.api.body["x-amazon-apigateway-gateway-responses"]
    return responses


def test_cfn_lint_reports_nothing_unexpected(resolved: template.Stack) -> None:
    matches = lint(json.dumps(resolved.translated), config=ManualArgs(regions=[template.REGION]))
    unexpected = [
        f"{match.rule.id} {match.message}"
        for match in matches
        if not any(match.rule.id == rule and part in match.message for rule, part in EXPECTED_FINDINGS)
    ]
    assert unexpected == []


@pytest.mark.parametrize(
    "parameters",
    [
        KEY_SET,
        {"TokenSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:mine-AbCdEf"},
        {"AuthorizerCacheSeconds": "0", "ManageApiGatewayAccount": "true"},
        {"TaskRoleArns": "arn:aws:iam::123456789012:role/a,arn:aws:iam::123456789012:role/b"},
        {"Architecture": "arm64", "MemorySize": "1024"},
    ],
)
def test_the_template_resolves_with_other_parameters(parameters: dict[str, str]) -> None:
    resolved = template.load(parameters=parameters)
    uses_own_secret = not parameters.keys() & {"TokenAlgorithm", "TokenSecretArn"}
    assert ("TokenSecret" in resolved.resources) is uses_own_secret


@pytest.mark.parametrize(("architecture", "layer"), [("x86_64", "CommonLayer"), ("arm64", "CommonLayerArm64")])
def test_functions_and_layer_have_the_same_architecture(architecture: str, layer: str) -> None:
    resolved = template.load(parameters={"Architecture": architecture, "MemorySize": "1024"})
    ((name, properties),) = resolved.of_type("AWS::Lambda::LayerVersion").items()
    # SAM appends a digest, because a changed layer is a new layer version.
    assert re.fullmatch(f"{layer}[0-9a-f]{{10}}", name)
    assert properties["CompatibleArchitectures"] == [architecture]
    for function, own in resolved.of_type("AWS::Lambda::Function").items():
        assert own["Architectures"] == [architecture]
        expected = "160" if function in OPERATION_FUNCTIONS else "1024"
        assert own["MemorySize"] == (256 if function in SMALL_FUNCTIONS else expected)
        assert own["Layers"] == [arn_of("AWS::Lambda::LayerVersion", resolved.physical_name(name))]


def test_every_gateway_response_type_exists(resolved: template.Stack) -> None:
    responses = gateway_responses(resolved)
    assert responses.keys() <= GATEWAY_RESPONSE_TYPES
    # With these defaults, every response has the format of the contract.
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} <= responses.keys()


def test_every_gateway_response_is_an_error_of_the_contract(resolved: template.Stack) -> None:
    for name, response in gateway_responses(resolved).items():
        assert list(response["responseTemplates"]) == ["application/json"], name
        filled = re.sub(r"\$context\.[\w.]+", "x", response["responseTemplates"]["application/json"])
        body = json.loads(filled)
        assert body.keys() == ENVELOPE, name
        assert body["statusCode"] == int(response["statusCode"]), name
        assert body["error"] == HTTPStatus(body["statusCode"]).phrase, name
        headers = response["responseParameters"]
        assert headers["gatewayresponse.header.X-Request-Id"] == "context.requestId", name
        assert "gatewayresponse.header.Access-Control-Allow-Origin" in headers, name
        exposed = headers["gatewayresponse.header.Access-Control-Expose-Headers"]
        assert exposed == "'X-Request-Id,Retry-After,Preference-Applied'", name


def test_no_output_has_the_name_of_a_list(resolved: template.Stack) -> None:
    """SAM CLI replaces the name of such an output by the list, and fails."""
    lists = {name for name, value in resolved.parameters.items() if isinstance(value, list)}
    assert "TaskRoleArns" in lists
    assert not lists & resolved.outputs.keys()


def test_every_function_has_its_code(resolved: template.Stack) -> None:
    missing = [
        f"{function.logical_id}: {function.code_path.name}"
        for function in resolved.functions.values()
        if not function.code_path.is_dir()
    ]
    assert missing == []


def test_no_permission_contains_a_wildcard_action(resolved: template.Stack) -> None:
    for where, statement in statements(resolved):
        if statement["Effect"] == "Allow":
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                assert "*" not in action, f"{where} allows {action}"
            assert "NotAction" not in statement, where


def statements(resolved: template.Stack) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every statement of every policy in the template."""
    for logical_id, resource in resolved.resources.items():
        properties = resource["Properties"]
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        if "PolicyDocument" in properties:
            documents.append(properties["PolicyDocument"])
        if resource["Type"].startswith("AWS::IAM::"):
            for document in documents:
                for statement in document["Statement"]:
                    yield logical_id, statement
