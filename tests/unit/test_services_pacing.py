"""The pace of the calls that concern services."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from longshore.aws.ecs import EcsError, Quota
from longshore.aws.services import Services
from longshore.domain.lifecycle import LaunchType
from longshore.domain.models import Runtime

RUNTIME = Runtime(cluster="default", service="web", task_definition="web", launch_type=LaunchType.EC2)
SERVICE = {
    "serviceName": "web",
    "serviceArn": "arn:aws:ecs:us-east-1:123456789012:service/default/web",
    "status": "ACTIVE",
    "desiredCount": 1,
    "runningCount": 1,
    "pendingCount": 0,
    "deployments": [],
    "events": [],
}


class Pace:
    """Records what it is asked for."""

    def __init__(self) -> None:
        self.waited: list[Quota] = []
        self.slowed: list[Quota] = []

    def wait(self, *quotas: Quota) -> None:
        self.waited += quotas

    def slow_down(self, *quotas: Quota) -> None:
        self.slowed += quotas


class Client:
    """A client of ECS and of Application Auto Scaling whose calls fail, if an error is set."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def _answer(self, answer: dict[str, Any]) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return answer

    def describe_services(self, **_: Any) -> dict[str, Any]:
        return self._answer({"services": [SERVICE]})

    def update_service(self, **_: Any) -> dict[str, Any]:
        return self._answer({"service": SERVICE})

    def describe_scalable_targets(self, **_: Any) -> dict[str, Any]:
        return self._answer({"ScalableTargets": []})


def failure(operation: str, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}, operation)  # type: ignore[typeddict-item]


@pytest.fixture
def pace() -> Pace:
    return Pace()


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def services(client: Client, pace: Pace) -> Services:
    made: Any = client
    return Services(lambda: made, lambda: made, pace)


def test_a_look_waits_for_its_turn(services: Services, pace: Pace) -> None:
    assert services.describe(RUNTIME) is not None
    assert pace.waited == [Quota.SERVICE_READS]


def test_a_change_waits_when_it_takes_its_turn(services: Services, pace: Pace) -> None:
    services.take_turn()
    assert pace.waited == [Quota.SERVICE_UPDATES]
    services.update(RUNTIME, 1)
    assert pace.waited == [Quota.SERVICE_UPDATES]
    assert pace.slowed == []


@pytest.mark.parametrize(
    ("code", "throttled"), [("ThrottlingException", True), ("AccessDeniedException", False), ("ServerException", False)]
)
def test_only_throttled_calls_slow_down(
    services: Services, pace: Pace, client: Client, code: str, throttled: bool
) -> None:
    client.error = failure("DescribeServices", code)
    with pytest.raises(EcsError):
        services.describe(RUNTIME)
    assert pace.slowed == ([Quota.SERVICE_READS] if throttled else [])
    client.error = failure("UpdateService", code)
    with pytest.raises(EcsError):
        services.update(RUNTIME, 1)
    assert pace.slowed == ([Quota.SERVICE_READS, Quota.SERVICE_UPDATES] if throttled else [])


def test_calls_of_application_auto_scaling_have_no_pace(services: Services, pace: Pace, client: Client) -> None:
    assert services.scaling(RUNTIME) is None
    client.error = failure("DescribeScalableTargets", "ThrottlingException")
    with pytest.raises(EcsError) as raised:
        services.scaling(RUNTIME)
    assert (raised.value.throttled, raised.value.no_effect) == (True, False)
    assert (pace.waited, pace.slowed) == ([], [])


def test_without_a_pace_calls_are_made_at_once(client: Client) -> None:
    made: Any = client
    services = Services(lambda: made, lambda: made)
    services.take_turn()
    assert services.describe(RUNTIME) is not None
    for error in (
        failure("DescribeServices", "ThrottlingException"),
        ReadTimeoutError(endpoint_url="https://aws.example/"),
    ):
        client.error = error
        with pytest.raises(EcsError):
            services.describe(RUNTIME)
