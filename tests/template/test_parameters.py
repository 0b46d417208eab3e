"""Tests of the parameters: combinations that cannot work are rejected, and optional protections work when requested."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from template import iam

from local import template
from local.rules import matcher
from local.template import ACCOUNT_ID, REGION

SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT_ID}:secret:mine-AbCdEf"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
OTHER_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/0987dcba-09fe-87dc-65ba-ab0987654321"
BOUNDARY = f"arn:aws:iam::{ACCOUNT_ID}:policy/boundary"
KEY_SET = {
    "TokenAlgorithm": "RS256",
    "JwksUrl": "https://issuer.example.com/jwks.json",
    "TokenIssuer": "https://issuer.example.com/",
    "TokenAudience": "longshore",
}
# Every optional protection, except the permissions boundary, which the model of IAM does not support.
PROTECTED = {
    "TableKmsKeyArn": KEY,
    "TokenSecretKmsKeyArn": OTHER_KEY,
    "HostTagValue": "true",
    "AddressRateLimit": "1000",
}


# --- Combinations that cannot work ------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"JwksUrl": ""}, "require JwksUrl"),
        ({"TokenIssuer": ""}, "JwksUrl requires TokenIssuer"),
        ({"TokenAudience": ""}, "JwksUrl requires TokenAudience"),
        ({"TokenSecretArn": SECRET}, "TokenSecretArn must be empty"),
        ({"TokenSecretKmsKeyArn": KEY}, "TokenSecretKmsKeyArn must be empty"),
    ],
    ids=str,
)
def test_a_key_set_requires_url_issuer_and_audience(algorithm: str, change: dict[str, str], message: str) -> None:
    given = KEY_SET | {"TokenAlgorithm": algorithm}
    template.load(parameters=given)
    with pytest.raises(template.TemplateError, match=message):
        template.load(parameters=given | change)


def test_a_secret_excludes_a_key_set() -> None:
    with pytest.raises(template.TemplateError, match="JwksUrl must be empty"):
        template.load(parameters={"JwksUrl": KEY_SET["JwksUrl"]})
    template.load(parameters={"TokenSecretArn": SECRET, "TokenIssuer": "me", "TokenAudience": "you"})


def test_a_sign_in_requires_a_provider() -> None:
    with pytest.raises(template.TemplateError, match="SignInClientId requires RS256"):
        template.load(parameters={"SignInClientId": "longshore"})
    template.load(parameters=KEY_SET | {"SignInClientId": "longshore"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SignInClientId", "two words"),
        ("SignInScopes", "offline_access"),
        ("SignInScopes", "openid  email"),
        ("SignInAudienceParameter", "aud"),
        ("AddressRateLimit", "9"),
        ("AddressRateLimit", "-1"),
        ("AddressRateLimit", "many"),
        ("HistoryRetentionDays", "6"),
        ("HistoryRetentionDays", "07"),
        ("HistoryRetentionDays", "10000"),
        ("HistoryRetentionDays", ""),
        ("TableKmsKeyArn", "alias/mine"),
        ("TokenSecretKmsKeyArn", "1234abcd-12ab-34cd-56ef-1234567890ab"),
        ("PermissionsBoundaryArn", "boundary"),
        ("HostTagValue", "a*"),
        ("WaitConcurrency", "0"),
        ("WaitConcurrency", "501"),
        ("TokenType", "JWT"),
        ("TokenClientIds", "app,"),
        ("TokenClientIds", "app, cli"),
        ("TokenLifetimeSeconds", "-1"),
    ],
)
def test_an_invalid_value(name: str, value: str) -> None:
    with pytest.raises(template.TemplateError, match=name):
        template.load(parameters={name: value})


# --- Optional protections ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def default() -> template.Stack:
    return template.load()


@pytest.fixture(scope="module")
def protected() -> template.Stack:
    return template.load(parameters=PROTECTED)


def decrypts(stack: template.Stack, function: str) -> list[tuple[str, Any]]:
    """Return the keys that a function may use, with the conditions."""
    grants = iam.grants(stack, stack.functions[function])
    return [(grant.resource, grant.conditions) for grant in grants if grant.action.startswith("kms:")]


def via(service: str) -> Any:
    return (("StringEquals", "kms:ViaService", (f"{service}.{REGION}.amazonaws.com",)),)


def test_tables_and_secret_use_the_given_keys(default: template.Stack, protected: template.Stack) -> None:
    for name, table in protected.tables.items():
        assert table["SSESpecification"] == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}, name
    for name, table in default.tables.items():
        assert table["SSESpecification"] == {"SSEEnabled": True}, name
    assert protected.of_type("AWS::SecretsManager::Secret")["TokenSecret"]["KmsKeyId"] == OTHER_KEY
    assert "KmsKeyId" not in default.of_type("AWS::SecretsManager::Secret")["TokenSecret"]


@pytest.mark.parametrize("function", sorted(template.load().functions))
def test_a_function_may_decrypt_what_it_reads(
    default: template.Stack, protected: template.Stack, function: str
) -> None:
    actions = {grant.action for grant in iam.grants(default, default.functions[function])}
    expected = []
    if any(action.startswith("dynamodb:") for action in actions):
        expected.append((KEY, via("dynamodb")))
    if "secretsmanager:GetSecretValue" in actions:
        expected.append((OTHER_KEY, via("secretsmanager")))
    assert decrypts(protected, function) == expected
    assert decrypts(default, function) == []


def test_the_key_of_a_given_secret() -> None:
    stack = template.load(parameters={"TokenSecretArn": SECRET, "TokenSecretKmsKeyArn": KEY})
    assert decrypts(stack, "AuthorizerFunction") == [(KEY, via("secretsmanager"))]


def test_every_role_has_the_permissions_boundary(default: template.Stack) -> None:
    given = {"PermissionsBoundaryArn": BOUNDARY, "ManageApiGatewayAccount": "true"}
    roles = template.load(parameters=given).of_type("AWS::IAM::Role")
    assert roles.keys() == {*default.of_type("AWS::IAM::Role"), "ApiGatewayLogsRole"}
    assert {role["PermissionsBoundary"] for role in roles.values()} == {BOUNDARY}
    assert not any("PermissionsBoundary" in role for role in default.of_type("AWS::IAM::Role").values())


@pytest.mark.parametrize("instance", ["ec2:{}:{}:instance/i-0a", "ssm:{}:{}:managed-instance/mi-0a"])
def test_commands_are_sent_only_to_tagged_instances(
    default: template.Stack, protected: template.Stack, instance: str
) -> None:
    arn = f"arn:aws:{instance.format(REGION, ACCOUNT_ID)}"
    tagged = iam.Request("ssm:SendCommand", arn, (("ssm:resourceTag/Longshore", "true"),))
    others = [
        iam.Request("ssm:SendCommand", arn),
        iam.Request("ssm:SendCommand", arn, (("ssm:resourceTag/Longshore", "false"),)),
        iam.Request("ssm:SendCommand", arn, (("ssm:resourceTag/Other", "true"),)),
    ]
    function = protected.functions["PauseFunction"]
    assert iam.missing(iam.grants(protected, function), [tagged, *others]) == others
    assert iam.missing(iam.grants(default, function), [tagged, *others]) == []
    # The document has no tag.
    document = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:document/{protected.physical_name('HostCommandDocument')}"
    assert iam.missing(iam.grants(protected, function), [iam.Request("ssm:SendCommand", document)]) == []


def test_the_rate_limit_of_addresses(default: template.Stack, protected: template.Stack) -> None:
    (acl,) = protected.of_type("AWS::WAFv2::WebACL").values()
    assert acl["DefaultAction"] == {"Allow": {}}
    (rule,) = acl["Rules"]
    limit = {"AggregateKeyType": "IP", "EvaluationWindowSec": 300, "Limit": "1000"}
    assert rule["Statement"] == {"RateBasedStatement": limit}
    response = rule["Action"]["Block"]["CustomResponse"]
    # The response is the one that the stage's own limit causes.
    assert protected.api is not None
    throttled = protected.api.body["x-amazon-apigateway-gateway-responses"]["THROTTLED"]
    body = acl["CustomResponseBodies"][response["CustomResponseBodyKey"]]
    assert body["Content"] == throttled["responseTemplates"]["application/json"]
    assert str(response["ResponseCode"]) == str(throttled["statusCode"]) == "429"
    assert {"Retry-After", "Access-Control-Allow-Origin"} <= {header["Name"] for header in response["ResponseHeaders"]}
    # Sampled requests would contain the Authorization header.
    assert not acl["VisibilityConfig"]["SampledRequestsEnabled"]
    assert not rule["VisibilityConfig"]["SampledRequestsEnabled"]
    (association,) = protected.of_type("AWS::WAFv2::WebACLAssociation").values()
    assert association["ResourceArn"] == f"arn:aws:apigateway:{REGION}::/restapis/local/stages/live"
    assert ":regional/webacl/" in association["WebACLArn"]
    assert default.of_type("AWS::WAFv2::WebACL") == default.of_type("AWS::WAFv2::WebACLAssociation") == {}


@pytest.mark.parametrize(
    ("level", "application", "system"),
    [("DEBUG", "DEBUG", "INFO"), ("INFO", "INFO", "INFO"), ("WARNING", "INFO", "WARN"), ("ERROR", "INFO", "WARN")],
)
def test_log_levels(level: str, application: str, system: str) -> None:
    """Lambda discards lines below its own level, and treats metrics and errors of the runtime as INFO."""
    stack = template.load(parameters={"LogLevel": level})
    for name, function in stack.of_type("AWS::Lambda::Function").items():
        config = function["LoggingConfig"]
        levels = (config["LogFormat"], config["ApplicationLogLevel"], config["SystemLogLevel"])
        assert levels == ("JSON", application, system), name
        assert function["Environment"]["Variables"]["POWERTOOLS_LOG_LEVEL"] == level, name


# --- Alarms -----------------------------------------------------------------------------------------------------------


def metrics_of(alarm: Any) -> list[tuple[str, str, dict[str, str]]]:
    """Return the namespace, name and dimensions of the metrics of an alarm."""
    plain = [alarm] if "MetricName" in alarm else []
    stats = [metric["MetricStat"]["Metric"] for metric in alarm.get("Metrics", []) if "MetricStat" in metric]
    return [
        (metric["Namespace"], metric["MetricName"], {each["Name"]: each["Value"] for each in metric["Dimensions"]})
        for metric in plain + stats
    ]


def test_functions_that_no_response_reports_have_an_alarm(default: template.Stack) -> None:
    """API Gateway answers 5xx for the others, which the alarm for faults reports."""
    assert default.api is not None
    alarms = default.of_type("AWS::CloudWatch::Alarm").values()
    watched = [metric for alarm in alarms for metric in metrics_of(alarm)]
    paths = str(default.api.body["paths"])
    others = [function for function in default.functions.values() if function.arn not in paths]
    assert len(others) == 7
    for function in others:
        assert ("AWS/Lambda", "Errors", {"FunctionName": function.name}) in watched, function.logical_id


def test_every_function_table_and_index_has_an_alarm_on_request() -> None:
    default = template.load(parameters={"MetricsEnabled": "true"})
    alarms = default.of_type("AWS::CloudWatch::Alarm").values()
    watched = [metric for alarm in alarms for metric in metrics_of(alarm)]
    for function in default.functions.values():
        assert ("AWS/Lambda", "Errors", {"FunctionName": function.name}) in watched, function.logical_id
    for logical_id, table in default.tables.items():
        name = default.physical_name(logical_id)
        indexes = [index["IndexName"] for index in table.get("GlobalSecondaryIndexes", [])]
        for dimensions in [
            {"TableName": name},
            *({"TableName": name, "GlobalSecondaryIndexName": index} for index in indexes),
        ]:
            for metric in ("ReadThrottleEvents", "WriteThrottleEvents"):
                assert ("AWS/DynamoDB", metric, dimensions) in watched, (logical_id, dimensions)
    # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    assert max(len(metrics_of(alarm)) for alarm in alarms) <= 10


def test_the_dead_letter_alarm_recovers_while_messages_remain(default: template.Stack) -> None:
    alarm = default.of_type("AWS::CloudWatch::Alarm")["DeadLettersAlarm"]
    assert (alarm["MetricName"], alarm["Statistic"], alarm["TreatMissingData"]) == (
        "NumberOfMessagesSent",
        "Sum",
        "notBreaching",
    )


# --- The documentation ------------------------------------------------------------------------------------------------


def test_the_documentation_describes_every_parameter() -> None:
    declared = template.translate()["Parameters"]
    page = (template.ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z]\w+)` \| (.*?) \| .+ \|$", page, re.MULTILINE)
    documented = {name: default.strip("`").replace("\\|", "|") for name, default in rows}
    assert documented == {name: str(each["Default"]) or "empty" for name, each in declared.items()}


# --- Clusters ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["web-1", "web-1,web-2", "web-1,web-2,web-3"])
def test_the_functions_have_access_to_the_clusters_of_the_stack_only(names: str) -> None:
    stack = template.load(parameters={"ClusterName": names})
    grants = [grant for function in stack.functions.values() for grant in iam.grants(stack, function)]
    clusters = names.split(",")
    assert stack.outputs["ClusterName"] == stack.functions["RecoverFunction"].environment["CLUSTER_NAMES"] == names
    own, others = (REGION, ACCOUNT_ID), (("eu-west-1", ACCOUNT_ID), (REGION, "210987654321"))
    for action, kind in (
        ("RunTask", "task-definition/web:1"),
        ("StopTask", "task/{}/1"),
        ("DescribeTasks", "task/{}/1"),
        ("DescribeContainerInstances", "container-instance/{}/1"),
        ("ListTasks", None),
    ):
        for cluster in (*clusters, "web", "web-11", "web-1/web-2"):
            for region, account in (own, *others):
                prefix = f"arn:aws:ecs:{region}:{account}:"
                context = (("ecs:cluster", f"{prefix}cluster/{cluster}"), ("aws:RequestedRegion", region))
                request = iam.Request(f"ecs:{action}", prefix + kind.format(cluster) if kind else "*", context)
                # A request without a resource is made with the credentials of the account.
                allowed = cluster in clusters and ((region, account) == own or (kind is None and region == REGION))
                assert any(grant.allows(request) for grant in grants) is allowed, request


def test_the_rule_matches_the_tasks_of_the_clusters_of_the_stack_only() -> None:
    stack = template.load(parameters={"ClusterName": "web-1,web-2"})
    pattern = stack.resources["TaskStateChangeFunctionTaskStateChange"]["Properties"]["EventPattern"]
    rule = matcher(json.loads(pattern))
    for cluster, change, matches in (
        ("web-1", {}, True),
        ("web-2", {}, True),
        ("web-3", {}, False),
        ("my-web-1", {}, False),
        ("web-1", {"account": "210987654321"}, False),
        ("web-1", {"region": "eu-west-1"}, False),
        ("web-1", {"source": "mine"}, False),
    ):
        arn = f"arn:aws:ecs:{REGION}:{ACCOUNT_ID}:cluster/{cluster}"
        event = {
            "source": "aws.ecs",
            "detail-type": "ECS Task State Change",
            "account": ACCOUNT_ID,
            "region": REGION,
            "detail": {"clusterArn": arn, "lastStatus": "RUNNING"},
        } | change
        assert bool(rule.matches_event(event)) is matches, event
    pending = event | {"detail": {"clusterArn": arn, "lastStatus": "PENDING"}, "source": "aws.ecs"}
    assert not rule.matches_event(pending)


@pytest.mark.parametrize(
    "names", ["", "a b", "a, b", "web,", ",web", "arn:aws:ecs:us-east-1:123456789012:cluster/web", "*"]
)
def test_invalid_names_of_clusters(names: str) -> None:
    with pytest.raises(template.TemplateError, match="ClusterName"):
        template.load(parameters={"ClusterName": names})
