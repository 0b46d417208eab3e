"""The stack that is administered: a deployed one, or the local one that is running."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from admin.errors import AdminError
from local import stack_file

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ecs import ECSClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_lambda import LambdaClient

LOCAL = "longshore"
"""The name of the local stack."""

_RETRIES: Any = {"mode": "standard", "total_max_attempts": 5}
# Longer than the sweep that is waited for may run.
_INVOCATION_SECONDS = 310


@dataclass(frozen=True)
class Target:
    """A stack by its name and outputs. `make` makes a client of a service, with further settings of botocore's.

    `roles` are the ARNs, which may have wildcards, of the roles that it may pass to tasks; None where nobody asks.
    """

    name: str
    outputs: Mapping[str, str]
    make: Callable[[str, Config], Any]
    roles: Sequence[str] | None = None

    def output(self, name: str) -> str:
        """AdminError when the stack does not have it."""
        if name not in self.outputs:
            raise AdminError(f"The stack {self.name} has no output {name}: deploy this version of Longshore first.")
        return self.outputs[name]

    @property
    def containers(self) -> str:
        return self.output("ContainersTableName")

    @property
    def status_logs(self) -> str:
        return self.output("StatusLogsTableName")

    @property
    def access(self) -> str:
        return self.output("AccessTableName")

    @property
    def cluster(self) -> str:
        return self.output("ClusterName")

    def checked_cluster(self, given: str | None) -> str:
        """The stack's cluster. AdminError for another one: the stack may not touch its tasks."""
        if given is not None and given.rpartition("/")[2] != self.cluster:
            raise AdminError(
                f"The stack {self.name} controls the cluster {self.cluster}, and may touch no other:"
                " deploy another stack for that."
            )
        return self.cluster

    def may_pass(self, role: str) -> bool:
        """Whether ECS gets this role, an ARN or a name, when the stack runs a task."""
        if self.roles is None:
            return True
        allowed = self.roles if role.startswith("arn:") else [arn.rpartition("/")[2] for arn in self.roles]
        return any(fnmatchcase(role, pattern) for pattern in allowed)

    def dynamodb(self) -> DynamoDBClient:
        client: DynamoDBClient = self._client("dynamodb")
        return client

    def ecs(self) -> ECSClient:
        client: ECSClient = self._client("ecs")
        return client

    def ec2(self) -> EC2Client:
        client: EC2Client = self._client("ec2")
        return client

    def events(self) -> EventBridgeClient:
        client: EventBridgeClient = self._client("events")
        return client

    def functions(self) -> LambdaClient:
        # A sweep that was begun twice does no harm, but waiting for it twice is of no use.
        config = Config(connect_timeout=5, read_timeout=_INVOCATION_SECONDS, retries={"total_max_attempts": 1})
        client: LambdaClient = self.make("lambda", config)
        return client

    def _client(self, service: str) -> Any:
        return self.make(service, Config(connect_timeout=5, read_timeout=15, retries=_RETRIES, max_pool_connections=32))


def deployed(name: str, profile: str | None, region: str | None) -> Target:
    """A stack in the operator's account. AdminError when there is none of this name."""
    # As the AWS CLI has it; boto3 knows of the older AWS_DEFAULT_REGION only.
    session = boto3.Session(profile_name=profile, region_name=region or os.environ.get("AWS_REGION"))
    make: Any = session.client

    def client(service: str, config: Config) -> Any:
        return make(service, config=config)

    try:
        (stack,) = client("cloudformation", Config(retries=_RETRIES)).describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        details = error.response["Error"]
        if details.get("Code") == "ValidationError" and "does not exist" in details.get("Message", ""):
            raise AdminError(
                f"There is no stack {name} in {session.region_name}: give --stack, --region or --profile."
            ) from None
        raise
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    if "ContainersTableName" not in outputs:
        raise AdminError(f"The stack {name} is not one of Longshore, or its deployment is not complete.")
    parameters = {each["ParameterKey"]: each.get("ParameterValue", "") for each in stack.get("Parameters", [])}
    roles = parameters.get("TaskRoleArns")
    return Target(name, outputs, client, None if roles is None else [arn.strip() for arn in roles.split(",")])


def local() -> Target:
    """The local stack that `make up` serves. AdminError when none runs.

    Whatever the operator's environment says, its clients reach the emulated AWS only, with credentials that open
    nothing.
    """
    found = stack_file.read()
    if found is None or not all(_listens(str(found.get(key, ""))) for key in ("endpoint_url", "dynamodb_url")):
        raise AdminError("No local stack runs: start one with `make up`.")
    session = boto3.Session(
        aws_access_key_id=found["access_key_id"],
        aws_secret_access_key=found["secret_access_key"],
        region_name=found["region"],
    )
    make: Any = session.client

    def client(service: str, config: Config) -> Any:
        url = found["dynamodb_url"] if service == "dynamodb" else found["endpoint_url"]
        # A proxy must not stand between this machine and itself.
        return make(service, endpoint_url=url, config=config.merge(Config(proxies={})))

    return Target(LOCAL, found["outputs"], client)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    if parts.hostname is None:
        return False
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname, port), timeout=2):
            return True
    except OSError:
        return False
