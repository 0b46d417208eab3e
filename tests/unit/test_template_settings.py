"""Tests that `template.yaml` sets exactly the environment variables that the functions read."""

import re
from collections.abc import Iterator, Mapping

import pytest
from longshore.edge.tokens import TokenSettings
from longshore.wiring.settings import PaceSettings, PublishingSettings, Settings

from local import template

AUTHORIZER = "AuthorizerFunction"
RECOVER = "RecoverFunction"
PUBLISH = "PublishEventsFunction"
PACED = {RECOVER, "ScheduledStopFunction"}
# Variables that are not read through Settings: by the edge, the drift sweep, Powertools, and the index.
ORIGIN = "ALLOWED_ORIGIN"
CLUSTER = "CLUSTER_NAMES"
SERVED = "SERVE_CONSOLE"
LEVEL = "POWERTOOLS_LOG_LEVEL"
METRICS = "METRICS_ENABLED"
POWERTOOLS = {"POWERTOOLS_SERVICE_NAME", "POWERTOOLS_METRICS_NAMESPACE", LEVEL}
# Variables of single functions that are not read through Settings either.
SIGN_IN = {
    "SIGN_IN_CLIENT_ID",
    "SIGN_IN_SCOPES",
    "SIGN_IN_AUDIENCE_PARAMETER",
    "TOKEN_ISSUER",
    "TOKEN_AUDIENCE",
}
GROUP = "SCHEDULE_GROUP"
CACHE = "SCHEDULE_CACHE_TABLE"
TARGET = {"SCHEDULE_FUNCTION_ARN", "SCHEDULE_ROLE_ARN", "DEAD_LETTERS_ARN"}
OWN = {
    RECOVER: {CLUSTER},
    "IndexFunction": {SERVED, "REFERENCE_URL", "CONSOLE_URL", "OPENAPI_URL", *SIGN_IN},
    "ListSchedulesFunction": {GROUP, CACHE},
    "GetScheduleFunction": {GROUP},
    "SaveScheduleFunction": {GROUP, *TARGET},
    "DeleteScheduleFunction": {GROUP},
}
FUNCTIONS = template.load().functions


class Recording(Mapping[str, str]):
    """An environment that records which of its variables were read."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("an environment is read by name")

    def __len__(self) -> int:
        return len(self._values)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_has_exactly_the_variables_that_it_reads(function: str) -> None:
    environment = Recording(FUNCTIONS[function].environment)
    Settings.of(environment)
    if function == AUTHORIZER:
        TokenSettings.of(environment)
    if function == PUBLISH:
        PublishingSettings.of(environment)
    if function in PACED:
        PaceSettings.of(environment)
    assert (
        environment.read | POWERTOOLS | {ORIGIN, METRICS} | OWN.get(function, set())
        == FUNCTIONS[function].environment.keys()
    )


def test_no_other_variables_are_read() -> None:
    sources = [*template.ROOT.glob("layers/common/longshore/*/*.py"), *template.ROOT.glob("functions/*/*.py")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    found = set(re.findall(r"(?:environ|getenv)\W*(?:get\W*)?[\"'](\w+)", text))
    assert found == {ORIGIN, CLUSTER, LEVEL, METRICS, SERVED, GROUP, CACHE, *TARGET, *SIGN_IN}


def test_the_settings_come_from_the_template() -> None:
    stack = template.load(
        parameters={
            "WaitSeconds": "12",
            "WaitConcurrency": "80",
            "HistoryRetentionDays": "90",
            "AllowedOrigin": "https://console.example.com",
        }
    )
    environment = stack.functions["StartFunction"].environment
    assert Settings.of(environment) == Settings(
        containers_table=stack.physical_name("ContainersTable"),
        status_logs_table=stack.physical_name("StatusLogsTable"),
        access_table=stack.physical_name("AccessTable"),
        idempotency_table=stack.physical_name("IdempotencyTable"),
        host_command_document=stack.physical_name("HostCommandDocument"),
        wait_seconds=12,
        wait_concurrency=80,
        history_retention=90,
    )
    assert environment["ALLOWED_ORIGIN"] == "https://console.example.com"


@pytest.mark.parametrize("function", sorted(PACED))
def test_the_settings_of_the_pace_come_from_the_template(function: str) -> None:
    given = {"TaskActionsPerSecond": "90", "FargateStartsPerSecond": "45.5", "TaskReadsPerSecond": "30"}
    environment = template.load(parameters=given).functions[function].environment
    assert PaceSettings.of(environment) == PaceSettings(task_actions=90, fargate_starts=45.5, task_reads=30)


def test_the_settings_of_the_publisher_come_from_the_template() -> None:
    stack = template.load(parameters={"EventBusName": "platform"})
    assert PublishingSettings.of(stack.functions[PUBLISH].environment) == PublishingSettings(
        event_bus="platform",
        undelivered_events=stack.outputs["UndeliveredEventsUrl"],
        stack_arn="arn:aws:cloudformation:us-east-1:123456789012:stack/longshore/local",
    )


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_key_set_needs_no_secret(algorithm: str) -> None:
    url = "https://issuer.example.com/jwks.json"
    given = {
        "TokenAlgorithm": algorithm,
        "JwksUrl": url,
        "TokenIssuer": "https://issuer.example.com/",
        "TokenAudience": "longshore",
        "TokenLeewaySeconds": "30",
        "TokenType": "at+jwt",
        "TokenLifetimeSeconds": "3600",
        "TokenClientIds": "app,cli",
        "SignInClientId": "console",
    }
    environment = template.load(parameters=given).functions[AUTHORIZER].environment
    assert TokenSettings.of(environment) == TokenSettings(
        algorithm=algorithm,
        secret_arn="",
        jwks_url=url,
        issuer="https://issuer.example.com/",
        audience="longshore",
        leeway_seconds=30,
        access_tokens_only=True,
        lifetime_seconds=3600,
        client_ids=frozenset({"app", "cli", "console"}),
    )


@pytest.mark.parametrize("given", ["", "arn:aws:secretsmanager:us-east-1:123456789012:secret:mine-AbCdEf"])
def test_token_settings_with_a_secret(given: str) -> None:
    stack = template.load(parameters={"TokenSecretArn": given})
    settings = TokenSettings.of(stack.functions[AUTHORIZER].environment)
    assert (settings.algorithm, settings.jwks_url, settings.leeway_seconds) == ("HS256", "", 5)
    assert (settings.access_tokens_only, settings.lifetime_seconds, settings.client_ids) == (False, 0, frozenset())
    if given:
        assert settings.secret_arn == given
    else:
        assert settings.secret_arn.startswith("arn:aws:secretsmanager:")
