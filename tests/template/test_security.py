"""Tests of the security of the deployed stack: encryption, transport, logs, limits and secrets.

checkov needs its own virtual environment (`make checkov`); without it its test is skipped. Accepted findings are
listed in the template, in the Metadata of their resource. A listed finding that checkov no longer reports fails the
test.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from longshore.edge.http import SECURITY_HEADERS
from samtranslator.yaml_helper import yaml_parse

from local import template

CHECKOV = template.ROOT / ".venv" / "checkov" / "bin" / "checkov"

# Functions that EventBridge or a client invokes asynchronously.
ASYNCHRONOUS = {
    "TaskStateChangeFunction",
    "CommandFinishedFunction",
    "ServerTerminatedFunction",
    "ScheduledStopFunction",
    "RecoverFunction",
}
SWEEPS = {"ScheduledStopFunction", "RecoverFunction"}


@pytest.fixture(scope="module")
def stack() -> template.Stack:
    return template.load()


# --- checkov ----------------------------------------------------------------------------------------------------------


def accepted_findings(source: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the comment of every accepted finding in the template, by resource and check."""
    return {
        (logical_id, skipped["id"]): skipped.get("comment", "")
        for logical_id, resource in source["Resources"].items()
        for skipped in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    }


def findings(translated: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the logical id and the check of every finding of checkov, accepted or not."""
    bare = copy.deepcopy(dict(translated))
    for resource in bare["Resources"].values():
        resource.pop("Metadata", None)
    path = folder / "template.json"
    path.write_text(json.dumps(bare), encoding="utf-8")
    options = ["--framework", "cloudformation", "--compact", "--quiet", "--skip-download", "--output", "json"]
    # The exit code is 1 if there are findings. checkov writes files to HOME.
    ran = subprocess.run(
        [CHECKOV, "--file", path, *options],
        env={"PATH": os.defpath, "HOME": str(folder), "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stderr
    report = json.loads(ran.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 0
    for check in report["results"]["failed_checks"]:
        yield check["resource"].rpartition(".")[2], check["check_id"]


@pytest.mark.skipif(not CHECKOV.exists(), reason="checkov is not installed: make checkov")
def test_checkov_reports_only_accepted_findings(stack: template.Stack, tmp_path: Path) -> None:
    accepted = accepted_findings(source())
    unexplained = []
    needed = set()
    for resource, check in findings(stack.translated, tmp_path):
        # Resources that SAM generates start with the name of their source, and some of them lack its Metadata.
        reasons = {(owner, known) for owner, known in accepted if known == check and resource.startswith(owner)}
        needed |= reasons
        if not reasons:
            unexplained.append(f"{resource}: {check}")
    assert unexplained == []
    assert accepted.keys() - needed == set(), "accepted findings that checkov does not report"


def test_every_accepted_finding_has_a_reason() -> None:
    assert all(len(comment) > 20 for comment in accepted_findings(source()).values())


def source() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml_parse((template.ROOT / "template.yaml").read_text(encoding="utf-8"))
    return loaded


# --- Secrets ----------------------------------------------------------------------------------------------------------


def test_the_template_contains_no_secret(stack: template.Stack) -> None:
    """Functions receive the ARN of a secret, never its value, and no parameter contains one."""
    text = json.dumps(stack.translated)
    assert "resolve:secretsmanager" not in text
    assert "resolve:ssm-secure" not in text
    assert "NoEcho" not in text
    for secret in stack.of_type("AWS::SecretsManager::Secret").values():
        assert "SecretString" not in secret


def test_the_access_log_contains_no_secrets(stack: template.Stack) -> None:
    (stage,) = stack.of_type("AWS::ApiGateway::Stage").values()
    logged = stage["AccessLogSetting"]["Format"]
    assert "authorizer.principalId" in logged
    assert "header" not in logged.lower()
    assert "querystring" not in logged.lower()
    # The authorizer escapes principalId. Values of its context, such as user_id, could end the JSON string.
    assert re.findall(r"context\.authorizer\.(\w+)", logged) == ["principalId"]
    assert not any(settings.get("DataTraceEnabled") for settings in stage["MethodSettings"])


# --- Encryption at rest and in transit --------------------------------------------------------------------------------


def test_the_api_requires_tls_1_2(stack: template.Stack) -> None:
    (api,) = stack.of_type("AWS::ApiGateway::RestApi").values()
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-security-policies-list.html
    assert api["SecurityPolicy"] == "SecurityPolicy_TLS13_1_2_2021_06"
    assert api["EndpointAccessMode"] == "BASIC"
    assert api["EndpointConfiguration"] == {"Types": ["REGIONAL"]}


def test_responses_of_the_gateway_and_the_web_acl_have_the_security_headers(stack: template.Stack) -> None:
    (api,) = stack.of_type("AWS::ApiGateway::RestApi").values()
    responses = api["Body"]["x-amazon-apigateway-gateway-responses"]
    for name, response in responses.items():
        for header, value in SECURITY_HEADERS.items():
            assert response["responseParameters"][f"gatewayresponse.header.{header}"] == f"'{value}'", name
    limited = template.load(parameters={"AddressRateLimit": "100"})
    (acl,) = limited.of_type("AWS::WAFv2::WebACL").values()
    (rule,) = acl["Rules"]
    sent = {header["Name"]: header["Value"] for header in rule["Action"]["Block"]["CustomResponse"]["ResponseHeaders"]}
    assert sent.items() >= SECURITY_HEADERS.items()


def test_tables_are_encrypted_and_can_be_restored(stack: template.Stack) -> None:
    for name, table in stack.tables.items():
        assert table["SSESpecification"]["SSEEnabled"] is True, name
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True, name


def test_permanent_data_is_retained(stack: template.Stack) -> None:
    kept = {
        logical_id
        for logical_id, resource in stack.translated["Resources"].items()
        if resource.get("DeletionPolicy") == "RetainExceptOnCreate" and resource["UpdateReplacePolicy"] == "Retain"
    }
    tables = stack.tables.keys() - {"IdempotencyTable", "ScheduleCacheTable"}
    assert kept == {*tables, "TokenSecret"}
    assert all(stack.tables[name]["DeletionProtectionEnabled"] == "true" for name in tables)


@pytest.mark.parametrize("name", ["DeadLetters", "UndeliveredEvents"])
def test_a_queue_is_encrypted_and_takes_only_tls(stack: template.Stack, name: str) -> None:
    queues, policies = stack.of_type("AWS::SQS::Queue"), stack.of_type("AWS::SQS::QueuePolicy")
    assert queues.keys() == {"DeadLetters", "UndeliveredEvents"}
    assert queues[name]["SqsManagedSseEnabled"] is True
    policy = policies[f"{name}Policy"]
    assert policy["Queues"] == [f"https://sqs.{template.REGION}.amazonaws.com/{template.ACCOUNT_ID}/longshore-{name}"]
    refused = policy["PolicyDocument"]["Statement"][-1]
    assert (refused["Effect"], refused["Principal"], refused["Action"]) == ("Deny", "*", "sqs:*")
    assert refused["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_only_rules_of_this_account_may_send_dead_letters(stack: template.Stack) -> None:
    """The function and Lambda send with the role of the function, which needs no policy of the queue."""
    policies = stack.of_type("AWS::SQS::QueuePolicy")
    assert len(policies["UndeliveredEventsPolicy"]["PolicyDocument"]["Statement"]) == 1
    allowed, _ = policies["DeadLettersPolicy"]["PolicyDocument"]["Statement"]
    assert (allowed["Effect"], allowed["Action"]) == ("Allow", "sqs:SendMessage")
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    sources = allowed["Condition"]["ArnLike"]["aws:SourceArn"]
    assert sources.startswith(f"arn:aws:events:{template.REGION}:{template.ACCOUNT_ID}:rule/")


def test_the_key_set_requires_tls() -> None:
    with pytest.raises(template.TemplateError, match="JwksUrl"):
        template.load(parameters={"TokenAlgorithm": "ES256", "JwksUrl": "http://issuer.example.com/jwks.json"})


# --- Callers ----------------------------------------------------------------------------------------------------------


def test_every_route_but_preflight_index_and_pages_has_the_authorizer(stack: template.Stack) -> None:
    assert stack.api is not None
    pages = ("/console", "/console/{path+}", "/docs", "/docs/{path+}", "/openapi.yaml")
    public = [("/", "get"), ("/api/v1", "get"), *product(pages, ("get", "head", "options"))]
    for path, methods in stack.api.body["paths"].items():
        for method, operation in methods.items():
            security = [name for scheme in operation.get("security", []) for name in scheme]
            expected = ["NONE"] if (path, method) in public else [] if method == "options" else ["TokenAuthorizer"]
            assert security == expected, f"{method} {path}"


def test_only_this_stack_may_invoke_functions(stack: template.Stack) -> None:
    for name, permission in stack.of_type("AWS::Lambda::Permission").items():
        assert permission["Action"] == "lambda:InvokeFunction", name
        assert permission["Principal"] in ("apigateway.amazonaws.com", "events.amazonaws.com"), name
        source = permission["SourceArn"].split(":")
        assert source[3:5] == [template.REGION, template.ACCOUNT_ID], name
        # The stack's own rules are named in full.
        assert "*" not in source[5] or source[5].startswith(("local/", "rule/longshore.")), name


def test_rules_of_a_stack_with_a_longer_name_may_not_invoke_functions(stack: template.Stack) -> None:
    """The names of EventBridge rules begin with the name of their stack, followed by a hyphen or a dot."""
    arn = f"arn:aws:events:{template.REGION}:{template.ACCOUNT_ID}:rule"
    allowed = [
        fnmatchcase(f"{arn}/{rule}", permission["SourceArn"])
        for permission in stack.of_type("AWS::Lambda::Permission").values()
        if permission["Principal"] == "events.amazonaws.com"
        for rule in ("longshore-dev.weekend", "longshore-dev-weekend", "longshore-dev-ScheduledStopFunctionNightly-X1")
    ]
    assert allowed
    assert not any(allowed)
    added = stack.of_type("AWS::Lambda::Permission")["AddedSchedulesPermission"]
    assert fnmatchcase(f"{arn}/longshore.weekend", added["SourceArn"])


# --- Limits and failures ----------------------------------------------------------------------------------------------


def test_every_method_is_throttled(stack: template.Stack) -> None:
    (stage,) = stack.of_type("AWS::ApiGateway::Stage").values()
    (settings,) = stage["MethodSettings"]
    assert (settings["ResourcePath"], settings["HttpMethod"]) == ("/*", "*")
    assert settings["ThrottlingRateLimit"] == stack.parameters["ThrottleRate"]
    assert settings["ThrottlingBurstLimit"] == stack.parameters["ThrottleBurst"]


def test_concurrency_is_reserved_on_request(stack: template.Stack) -> None:
    """It is not reserved by default, because an account has to keep 100 unreserved executions.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
    """
    assert reserved(stack) == {}
    assert reserved(template.load(parameters={"BackgroundConcurrency": "10"})) == dict.fromkeys(SWEEPS, "10")
    assert reserved(template.load(parameters={"AuthorizerConcurrency": "20"})) == {"AuthorizerFunction": "20"}
    operations = [f"{name}Function" for name in ("Start", "Stop", "ForceStop", "Restart", "Pause", "Resume")]
    assert reserved(template.load(parameters={"OperationConcurrency": "50"})) == dict.fromkeys(operations, "50")


def reserved(stack: template.Stack) -> dict[str, Any]:
    functions = stack.of_type("AWS::Lambda::Function")
    key = "ReservedConcurrentExecutions"
    return {name: properties[key] for name, properties in functions.items() if key in properties}


def test_failed_events_go_to_the_dead_letter_queue(stack: template.Stack) -> None:
    names = {function.name: logical_id for logical_id, function in stack.functions.items()}
    queue = f"arn:aws:sqs:{template.REGION}:{template.ACCOUNT_ID}:longshore-DeadLetters"
    configured = set()
    for config in stack.of_type("AWS::Lambda::EventInvokeConfig").values():
        assert config["DestinationConfig"]["OnFailure"]["Destination"] == queue
        configured.add(names[config["FunctionName"]])
    assert configured == ASYNCHRONOUS
    targets = [target for rule in stack.of_type("AWS::Events::Rule").values() for target in rule["Targets"]]
    assert {target["DeadLetterConfig"]["Arn"] for target in targets} == {queue}
    (mapping,) = stack.of_type("AWS::Lambda::EventSourceMapping").values()
    assert mapping["DestinationConfig"] == {"OnFailure": {"Destination": queue}}
    assert stack.of_type("AWS::SQS::Queue")["DeadLetters"]["MessageRetentionPeriod"] == 14 * 24 * 3600


# --- Logs and traces --------------------------------------------------------------------------------------------------


def test_every_log_has_a_retention(stack: template.Stack) -> None:
    groups = stack.of_type("AWS::Logs::LogGroup")
    assert {group["RetentionInDays"] for group in groups.values()} == {stack.parameters["LogRetentionDays"]}
    named = {stack.physical_name(name) for name in groups}
    for name, function in stack.of_type("AWS::Lambda::Function").items():
        # A log group that Lambda creates would keep its logs forever.
        assert function["LoggingConfig"]["LogGroup"] in named, name
    (stage,) = stack.of_type("AWS::ApiGateway::Stage").values()
    assert any(name in stage["AccessLogSetting"]["DestinationArn"] for name in named)


@pytest.mark.parametrize("tracing", ["Disabled", "Active"])
def test_tracing_is_off_by_default(tracing: str) -> None:
    active = tracing == "Active"
    loaded = template.load(parameters={"Tracing": tracing})
    (stage,) = loaded.of_type("AWS::ApiGateway::Stage").values()
    assert stage["TracingEnabled"] is active
    for name, function in loaded.of_type("AWS::Lambda::Function").items():
        assert function.get("TracingConfig") == ({"Mode": "Active"} if active else None), name
    for name, role in loaded.of_type("AWS::IAM::Role").items():
        may = any("Xray" in arn for arn in role.get("ManagedPolicyArns", []))
        assert may is (active and name not in {"ApiGatewayLogsRole", "ScheduleRole"}), name
