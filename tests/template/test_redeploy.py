"""Tests of a second deployment with a changed parameter: what CloudFormation changes, and what it replaces.

Both templates are translated as `sam deploy` translates them, and compared resource by resource. A property that
CloudFormation cannot change is listed as create-only in the schema of its resource type, which cfn-lint contains.
"""

from __future__ import annotations

import pytest
from template.redeployment import Expected, compare, deploy, deployment_of, plain

from local import template
from local.template import ACCOUNT_ID, REGION

KEY = f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/1234abcd-12ab-34cd-56ef-1234567890ab"


FUNCTIONS = "AWS::Lambda::Function"
SCHEDULE = {"ScheduledStopFunctionNightly"}
AUTHORIZER = {"AuthorizerFunction"}
OPERATION_FUNCTIONS = {f"{name}Function" for name in ("Start", "Stop", "ForceStop", "Restart", "Pause", "Resume")}

# Tables whose content can be lost.
COPIES = {"IdempotencyTable", "ScheduleCacheTable"}

EXPECTED = [
    Expected(
        {"ClusterName": "other"},
        changed={
            "ChangeCountsPolicy",
            "ChangeTasksPolicy",
            "CommandHostsPolicy",
            "DriveOperationsPolicy",
            "FindContainersToRecoverPolicy",
            "FindTasksPolicy",
            "RecoverFunction",
            "RunTasksPolicy",
            "SettleOperationsPolicy",
            "SettleTasksPolicy",
            "StopTasksPolicy",
            "TaskStateChangeFunctionTaskStateChange",
        },
    ),
    Expected({"TaskRoleArns": f"arn:aws:iam::{ACCOUNT_ID}:role/a"}, changed={"RunTasksPolicy"}),
    Expected({"HostTagValue": "true"}, changed={"CommandHostsPolicy"}),
    Expected({"WaitSeconds": "5"}, changed={FUNCTIONS}),
    Expected({"WaitConcurrency": "5"}, changed={FUNCTIONS}),
    Expected(
        {
            "TokenAlgorithm": "RS256",
            "JwksUrl": "https://issuer.example.com/jwks.json",
            "TokenIssuer": "https://issuer.example.com/",
            "TokenAudience": "longshore",
        },
        changed={*AUTHORIZER, "AuthorizerFunctionRole", "IndexFunction"},
        removed={"TokenSecret"},
    ),
    Expected(
        {"TokenSecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT_ID}:secret:mine-AbCdEf"},
        changed={*AUTHORIZER, "AuthorizerFunctionRole"},
        removed={"TokenSecret"},
    ),
    Expected({"TokenSecretKmsKeyArn": KEY}, changed={"AuthorizerFunctionRole", "TokenSecret"}),
    Expected({"TokenIssuer": "https://issuer.example.com/"}, changed={*AUTHORIZER, "IndexFunction"}),
    Expected({"TokenAudience": "longshore"}, changed={*AUTHORIZER, "IndexFunction"}),
    Expected({"TokenLeewaySeconds": "0"}, changed=AUTHORIZER),
    Expected({"TokenType": "at+jwt"}, changed=AUTHORIZER),
    Expected({"TokenClientIds": "app,cli"}, changed=AUTHORIZER),
    Expected({"TokenLifetimeSeconds": "3600"}, changed=AUTHORIZER),
    Expected(
        {
            "TokenAlgorithm": "RS256",
            "JwksUrl": "https://issuer.example.com/jwks.json",
            "TokenIssuer": "https://issuer.example.com/",
            "TokenAudience": "longshore",
            "SignInClientId": "longshore",
        },
        changed={*AUTHORIZER, "AuthorizerFunctionRole", "IndexFunction"},
        removed={"TokenSecret"},
    ),
    Expected({"SignInScopes": "openid"}, changed={"IndexFunction"}),
    Expected({"SignInAudienceParameter": "resource"}, changed={"IndexFunction"}),
    Expected({"AuthorizerCacheSeconds": "60"}, changed={"Api"}),
    # The functions and the API's own responses contain the origin.
    Expected({"AllowedOrigin": "https://console.example.com"}, changed={"Api", FUNCTIONS}),
    Expected(
        {"ServeConsole": "false"},
        changed={"Api", "IndexFunction"},
        removed={"PagesFunction", "PagesFunctionPermission", "PagesFunctionRole"},
    ),
    Expected({"ReferenceUrl": "https://example.com/docs"}, changed={"IndexFunction"}),
    Expected({"ConsoleUrl": "https://example.com/console"}, changed={"IndexFunction"}),
    Expected({"OpenApiUrl": "https://example.com/openapi.yaml"}, changed={"IndexFunction"}),
    Expected({"StopSchedule": "rate(1 day)"}, changed=SCHEDULE),
    Expected({"StopInput": '{"all": true}'}, changed=SCHEDULE),
    Expected({"StopScheduleState": "ENABLED"}, changed=SCHEDULE),
    Expected(
        {"EventBusName": "platform"},
        changed={"PublishEventsFunction", "PublishEventsPolicy"},
    ),
    Expected(
        {"EventBusName": ""},
        changed={"EventFunctionErrorsAlarm"},
        removed={
            "FollowHistoryPolicy",
            "LateEventsAlarm",
            "PublishEventsFunction",
            "PublishEventsFunctionRole",
            "PublishEventsFunctionStream",
            "PublishEventsPolicy",
            "UndeliveredEvents",
            "UndeliveredEventsAlarm",
            "UndeliveredEventsPolicy",
        },
    ),
    Expected({"Architecture": "arm64"}, changed={FUNCTIONS}, added={"CommonLayerArm64"}, removed={"CommonLayer"}),
    Expected(
        {"MemorySize": "1024"},
        changed={FUNCTIONS},
        unchanged={"IndexFunction", "UnknownOperationFunction", *OPERATION_FUNCTIONS},
    ),
    Expected({"OperationMemorySize": "512"}, changed=OPERATION_FUNCTIONS),
    Expected({"HistoryRetentionDays": "90"}, changed={FUNCTIONS}),
    Expected(
        {"MetricsEnabled": "true"},
        changed={"ApiStage", FUNCTIONS},
        added={
            "Dashboard",
            "ReadFunctionErrorsAlarm",
            "OperationFunctionErrorsAlarm",
            "TableThrottlesAlarm",
            "IndexThrottlesAlarm",
        },
    ),
    Expected({"StageName": "v2"}, changed={"FaultsAlarm", "ThrottledRequestsAlarm"}, replaced={"ApiStage"}),
    Expected({"ThrottleRate": "5"}, changed={"ApiStage"}),
    Expected({"ThrottleBurst": "5"}, changed={"ApiStage"}),
    Expected({"AddressRateLimit": "100"}, added={"AddressLimit", "AddressLimitOfStage"}),
    Expected({"LogLevel": "DEBUG"}, changed={FUNCTIONS}),
    Expected({"LogRetentionDays": "7"}, changed={"AWS::Logs::LogGroup"}),
    Expected({"DeletionProtection": "false"}, changed={"AWS::DynamoDB::Table"}, unchanged=COPIES),
    Expected(
        {"TableKmsKeyArn": KEY},
        changed={
            "AWS::DynamoDB::Table",
            "DriveOperationsPolicy",
            "ExpireContainersPolicy",
            "PublishEventsPolicy",
            "ReadContainersPolicy",
            "ReadProjectHistoryPolicy",
            "ReadRolesPolicy",
            "SettleOperationsPolicy",
        },
    ),
    Expected({"PermissionsBoundaryArn": f"arn:aws:iam::{ACCOUNT_ID}:policy/b"}, changed={"AWS::IAM::Role"}),
    Expected({"AlarmTopicArn": f"arn:aws:sns:{REGION}:{ACCOUNT_ID}:alarms"}, changed={"AWS::CloudWatch::Alarm"}),
    Expected({"Tracing": "Active"}, changed={"ApiStage", "AWS::IAM::Role", FUNCTIONS}, unchanged={"ScheduleRole"}),
    Expected({"BackgroundConcurrency": "10"}, changed={"RecoverFunction", "ScheduledStopFunction"}),
    Expected({"AuthorizerConcurrency": "20"}, changed={"AuthorizerFunction"}),
    Expected(
        {"OperationConcurrency": "50"},
        changed={f"{name}Function" for name in ("Start", "Stop", "ForceStop", "Restart", "Pause", "Resume")},
    ),
    *(
        Expected({name: "10"}, changed={"RecoverFunction", "ScheduledStopFunction"})
        for name in ("TaskActionsPerSecond", "FargateStartsPerSecond", "TaskReadsPerSecond")
    ),
    Expected({"ManageApiGatewayAccount": "true"}, added={"ApiGatewayAccount", "ApiGatewayLogsRole"}),
]


@pytest.fixture(scope="module")
def first() -> template.Stack:
    return deploy(1_000_000_000, {})


def test_an_unchanged_stack_only_deploys_the_api_again(first: template.Stack) -> None:
    again = deploy(1_000_000_060, {})
    assert compare(first, again) == Expected({})
    assert deployment_of(again) != deployment_of(first)


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: ",".join(expected.parameters))
def test_a_changed_parameter(first: template.Stack, expected: Expected) -> None:
    second = deploy(1_000_000_060, expected.parameters)
    # Without a new deployment, the stage would serve the API's previous definition.
    assert deployment_of(second) != deployment_of(first)
    found = compare(first, second)
    types = {plain(logical_id): each["Type"] for logical_id, each in second.resources.items()}
    changed = {name for name, kind in types.items() if {name, kind} & expected.changed} - expected.unchanged
    assert found.changed == changed - found.added
    assert found.replaced == expected.replaced
    assert (found.added, found.removed) == (expected.added, expected.removed)
    # The way back is the same.
    back = compare(second, first)
    assert (back.changed, back.replaced) == (found.changed, found.replaced)
    assert (back.added, back.removed) == (found.removed, found.added)


def test_nothing_that_holds_data_is_replaced(first: template.Stack) -> None:
    types = {plain(logical_id): each["Type"] for logical_id, each in first.resources.items()}
    replaced = {types[name] for expected in EXPECTED for name in expected.replaced}
    assert replaced == {"AWS::ApiGateway::Stage"}
    # What leaves the stack is retained, except code, and what belongs to events: the queue contains copies of rows.
    kept = [expected for expected in EXPECTED if "EventBusName" not in expected.parameters]
    removed = {name for expected in kept for name in expected.removed if not name.startswith("PagesFunction")}
    removed -= {"CommonLayer"}
    assert {first.translated["Resources"][name]["DeletionPolicy"] for name in removed} == {"RetainExceptOnCreate"}


def test_every_parameter_is_tested(first: template.Stack) -> None:
    assert {name for expected in EXPECTED for name in expected.parameters} == first.parameters.keys()


def test_the_new_origin_reaches_the_stage(first: template.Stack) -> None:
    """The definition that the new deployment serves contains the new origin, for preflights and gateway responses."""
    origin = "https://console.example.com"
    second = deploy(1_000_000_060, {"AllowedOrigin": origin})
    assert first.api is not None
    assert second.api is not None
    assert origin not in str(first.api.body)
    assert str(second.api.body).count(origin) == str(first.api.body).count("'*'")
