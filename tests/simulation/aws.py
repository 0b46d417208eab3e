"""boto3 clients that send their requests to the world of a run instead of the network.

Everything before the request is botocore's own: client methods, parameter validation, generated tokens, and error
classes.
"""

import os
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import boto3
from botocore.config import Config
from botocore.validate import ParamValidator

from local.emulator.errors import AwsError

_validator = ParamValidator()


class Endpoint(Protocol):
    """Receives requests. Raises AwsError, an error of botocore, or an exception that ends the actor."""

    def request(self, service: str, operation: str, parameters: dict[str, Any]) -> dict[str, Any]: ...


class Clients:
    """One client per service, created once per process. `endpoint` is the world of the current run."""

    endpoint: Endpoint

    def __init__(self) -> None:
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        config = Config(parameter_validation=False, user_agent_extra="simulation")
        self.dynamodb = session.client("dynamodb", config=config)
        self.ecs = session.client("ecs", config=config)
        self.ssm = session.client("ssm", config=config)
        self.scaling: Any = session.client("application-autoscaling", config=config)
        clients: list[Any] = [self.dynamodb, self.ecs, self.ssm, self.scaling]
        for client in clients:
            client._make_api_call = self._caller(client)

    def _caller(self, client: Any) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
        service = client.meta.service_model.service_name
        models: dict[str, Any] = {}

        def call(operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
            model = models.get(operation)
            if model is None:
                model = models[operation] = client.meta.service_model.operation_model(operation)
            report = _validator.validate(parameters, model.input_shape)
            if report.has_errors():
                raise AssertionError(f"{operation}: {report.generate_report()}")
            tokens = {name: _uuid() for name in model.idempotent_members if name not in parameters}
            try:
                answer = self.endpoint.request(service, operation, {**parameters, **tokens})
            except AwsError as error:
                parsed = {
                    "Error": {"Code": error.code, "Message": error.message},
                    "ResponseMetadata": {"HTTPStatusCode": error.status},
                    **error.extra,
                }
                raise client.exceptions.from_code(error.code)(parsed, operation) from error
            return {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}

        return call


def _uuid() -> str:
    return os.urandom(16).hex()


@cache
def clients() -> Clients:
    """Return the clients of this process."""
    return Clients()
