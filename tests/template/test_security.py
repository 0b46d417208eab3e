"""What keeps the deployed stack safe: encryption, transport, logs, limits, and no secret where it does not belong.

checkov finds what is commonly forgotten. It needs a virtual environment of its own (`make checkov`): without it the one
test that runs it skips. An exception is told in the template, in the Metadata of its resource, and has to be one that
checkov would else find: what is fixed has to go from there too.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from local import template

CHECKOV = template.ROOT / ".venv" / "checkov" / "bin" / "checkov"

# EventBridge invokes these, or what a client invokes in its place.
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


def exceptions(source: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """The comment of every exception in the template, by resource and check."""
    return {
        (logical_id, skipped["id"]): skipped.get("comment", "")
        for logical_id, resource in source["Resources"].items()
        for skipped in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    }


def findings(translated: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, str]]:
    """What checkov finds fault with, exceptions or not: the logical id and the check."""
    bare = copy.deepcopy(dict(translated))
    for resource in bare["Resources"].values():
        resource.pop("Metadata", None)
    path = folder / "template.json"
    path.write_text(json.dumps(bare), encoding="utf-8")
    options = ["--framework", "cloudformation", "--compact", "--quiet", "--skip-download", "--output", "json"]
    # It fails by its exit code when it finds something, and keeps files at home.
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


@pytest.mark.skipif(not CHECKOV.exists(), reason="checkov is not there: make checkov")
def test_checkov_finds_only_what_is_explained(stack: template.Stack, tmp_path: Path) -> None:
    explained = exceptions(source())
    unexplained = []
    needed = set()
    for resource, check in findings(stack.translated, tmp_path):
        # What SAM makes of a resource has its name in front, and not all of it has its Metadata.
        reasons = {(owner, known) for owner, known in explained if known == check and resource.startswith(owner)}
        needed |= reasons
        if not reasons:
            unexplained.append(f"{resource}: {check}")
    assert unexplained == []
    assert explained.keys() - needed == set(), "exceptions that nothing needs"


def test_every_exception_says_why() -> None:
    assert all(len(comment) > 20 for comment in exceptions(source()).values())


def source() -> Mapping[str, Any]:
    loaded: Mapping[str, Any] = yaml_parse((template.ROOT / "template.yaml").read_text(encoding="utf-8"))
    return loaded


# --- Secrets ----------------------------------------------------------------------------------------------------------


def test_no_value_of_a_secret_is_in_the_template(stack: template.Stack) -> None:
    """Functions are told where a secret is, never what it is, and nobody passes one as a parameter."""
    text = json.dumps(stack.translated)
    assert "resolve:secretsmanager" not in text
    assert "resolve:ssm-secure" not in text
    assert "NoEcho" not in text
    for secret in stack.of_type("AWS::SecretsManager::Secret").values():
        assert "SecretString" not in secret


def test_nothing_of_a_request_that_is_secret_is_logged(stack: template.Stack) -> None:
    (stage,) = stack.of_type("AWS::ApiGateway::Stage").values()
    logged = stage["AccessLogSetting"]["Format"]
    assert "authorizer.principalId" in logged
    assert "header" not in logged.lower()
    assert "querystring" not in logged.lower()
    assert not any(settings.get("DataTraceEnabled") for settings in stage["MethodSettings"])


# --- At rest and on the way -------------------------------------------------------------------------------------------


def test_tables_are_encrypted_and_can_be_restored(stack: template.Stack) -> None:
    for name, table in stack.tables.items():
        assert table["SSESpecification"]["SSEEnabled"] is True, name
        assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True, name


def test_what_cannot_be_made_again_is_kept(stack: template.Stack) -> None:
    kept = {
        logical_id
        for logical_id, resource in stack.translated["Resources"].items()
        if resource["Type"] == "AWS::DynamoDB::Table" and resource["DeletionPolicy"] == "Retain"
    }
    assert kept == stack.tables.keys() - {"IdempotencyTable"}
    assert all(stack.tables[name]["DeletionProtectionEnabled"] == "true" for name in kept)


def test_the_queue_is_encrypted_and_takes_only_tls(stack: template.Stack) -> None:
    ((name, queue),) = stack.of_type("AWS::SQS::Queue").items()
    assert queue["SqsManagedSseEnabled"] is True
    ((_, policy),) = stack.of_type("AWS::SQS::QueuePolicy").items()
    assert policy["Queues"] == [f"https://sqs.{template.REGION}.amazonaws.com/{template.ACCOUNT_ID}/longshore-{name}"]
    allowed, refused = policy["PolicyDocument"]["Statement"]
    assert (refused["Effect"], refused["Principal"], refused["Action"]) == ("Deny", "*", "sqs:*")
    assert refused["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    # Nobody else's rules may fill it.
    assert (allowed["Effect"], allowed["Action"]) == ("Allow", "sqs:SendMessage")
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    sources = allowed["Condition"]["ArnLike"]["aws:SourceArn"]
    assert sources.startswith(f"arn:aws:events:{template.REGION}:{template.ACCOUNT_ID}:rule/")


def test_keys_of_tokens_come_by_tls() -> None:
    with pytest.raises(template.TemplateError, match="JwksUrl"):
        template.load(parameters={"TokenAlgorithm": "ES256", "JwksUrl": "http://issuer.example.com/jwks.json"})


# --- Who may call -----------------------------------------------------------------------------------------------------


def test_every_route_but_preflight_has_the_authorizer(stack: template.Stack) -> None:
    assert stack.api is not None
    for path, methods in stack.api.body["paths"].items():
        for method, operation in methods.items():
            security = [name for scheme in operation.get("security", []) for name in scheme]
            assert security == ([] if method == "options" else ["TokenAuthorizer"]), f"{method} {path}"


def test_functions_are_invoked_by_this_stack_only(stack: template.Stack) -> None:
    for name, permission in stack.of_type("AWS::Lambda::Permission").items():
        assert permission["Action"] == "lambda:InvokeFunction", name
        assert permission["Principal"] in ("apigateway.amazonaws.com", "events.amazonaws.com"), name
        source = permission["SourceArn"].split(":")
        assert source[3:5] == [template.REGION, template.ACCOUNT_ID], name
        assert source[5].startswith(("local/", "rule/longshore-")), name


# --- Limits and what becomes of failures ------------------------------------------------------------------------------


def test_every_method_is_throttled(stack: template.Stack) -> None:
    (stage,) = stack.of_type("AWS::ApiGateway::Stage").values()
    (settings,) = stage["MethodSettings"]
    assert (settings["ResourcePath"], settings["HttpMethod"]) == ("/*", "*")
    assert settings["ThrottlingRateLimit"] == stack.parameters["ThrottleRate"]
    assert settings["ThrottlingBurstLimit"] == stack.parameters["ThrottleBurst"]


def test_concurrency_is_reserved_when_it_is_asked_for(stack: template.Stack) -> None:
    """Not else: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html, 100 stay unreserved."""
    assert reserved(stack) == {}
    assert reserved(template.load(parameters={"BackgroundConcurrency": "10"})) == dict.fromkeys(SWEEPS, "10")


def reserved(stack: template.Stack) -> dict[str, Any]:
    functions = stack.of_type("AWS::Lambda::Function")
    key = "ReservedConcurrentExecutions"
    return {name: properties[key] for name, properties in functions.items() if key in properties}


def test_what_fails_for_good_is_kept(stack: template.Stack) -> None:
    names = {function.name: logical_id for logical_id, function in stack.functions.items()}
    queue = f"arn:aws:sqs:{template.REGION}:{template.ACCOUNT_ID}:longshore-DeadLetters"
    configured = set()
    for config in stack.of_type("AWS::Lambda::EventInvokeConfig").values():
        assert config["DestinationConfig"]["OnFailure"]["Destination"] == queue
        configured.add(names[config["FunctionName"]])
    assert configured == ASYNCHRONOUS
    targets = [target for rule in stack.of_type("AWS::Events::Rule").values() for target in rule["Targets"]]
    assert {target["DeadLetterConfig"]["Arn"] for target in targets} == {queue}
    assert stack.of_type("AWS::SQS::Queue")["DeadLetters"]["MessageRetentionPeriod"] == 14 * 24 * 3600


# --- What is seen of it -----------------------------------------------------------------------------------------------


def test_every_log_ends(stack: template.Stack) -> None:
    groups = stack.of_type("AWS::Logs::LogGroup")
    assert {group["RetentionInDays"] for group in groups.values()} == {stack.parameters["LogRetentionDays"]}
    named = {stack.physical_name(name) for name in groups}
    for name, function in stack.of_type("AWS::Lambda::Function").items():
        # Without one of the stack's it would have one of Lambda's, which keeps everything for ever.
        assert function["LoggingConfig"]["LogGroup"] in named, name
    (stage,) = stack.of_type("AWS::ApiGateway::Stage").values()
    assert any(name in stage["AccessLogSetting"]["DestinationArn"] for name in named)


@pytest.mark.parametrize("tracing", ["Disabled", "Active"])
def test_traces_cost_nothing_unless_they_are_asked_for(tracing: str) -> None:
    active = tracing == "Active"
    loaded = template.load(parameters={"Tracing": tracing})
    (stage,) = loaded.of_type("AWS::ApiGateway::Stage").values()
    assert stage["TracingEnabled"] is active
    for name, function in loaded.of_type("AWS::Lambda::Function").items():
        assert function.get("TracingConfig") == ({"Mode": "Active"} if active else None), name
    for name, role in loaded.of_type("AWS::IAM::Role").items():
        may = any("Xray" in arn for arn in role["ManagedPolicyArns"])
        assert may is (active and name != "ApiGatewayLogsRole"), name
