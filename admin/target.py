"""The stack that the commands administer: a deployed stack or the running local stack."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from admin.errors import AdminError
from admin.floors import Floors
from local import stack_file

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_ecs import ECSClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_secretsmanager import SecretsManagerClient

LOCAL = "longshore"
"""The name of the local stack."""

_RETRIES: Any = {"mode": "standard", "total_max_attempts": 5}
# Longer than the timeout of the recovery function.
_INVOCATION_SECONDS = 310


@dataclass(frozen=True)
class Target:
    """A stack with its outputs and AWS clients.

    Attributes:
        name: The name of the stack.
        outputs: The values of the stack's outputs by name.
        make: Creates a boto3 client from the name of a service and a botocore configuration.
        roles: ARNs of the roles that the stack may pass to tasks, which may contain wildcards. None if the stack does
            not restrict roles.
        parameters: The values of the stack's parameters by name.
    """

    name: str
    outputs: Mapping[str, str]
    make: Callable[[str, Config], Any]
    roles: Sequence[str] | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)

    def output(self, name: str) -> str:
        """Return the value of an output.

        Raises:
            AdminError: The stack does not have this output.
        """
        if name not in self.outputs:
            raise AdminError(f"The stack {self.name} has no output {name}: deploy this version of Longshore first.")
        return self.outputs[name]

    @property
    def containers(self) -> str:
        """The name of the containers table."""
        return self.output("ContainersTableName")

    @property
    def status_logs(self) -> str:
        """The name of the table of history rows."""
        return self.output("StatusLogsTableName")

    @property
    def access(self) -> str:
        """The name of the table of bans and roles."""
        return self.output("AccessTableName")

    @property
    def history_retention(self) -> int:
        """The retention of history rows in days; 0 keeps all rows."""
        return int(self.parameters.get("HistoryRetentionDays", 0))

    @property
    def floors(self) -> Floors:
        """Reads the histories of the stack from their floor on."""
        return Floors(self.dynamodb(), status_logs=self.status_logs, retention=self.history_retention)

    @property
    def clusters(self) -> list[str]:
        """The names of the stack's clusters."""
        return list(dict.fromkeys(self.output("ClusterName").split(",")))

    def checked_clusters(self, given: str | None) -> list[str]:
        """Return the name of the cluster that the operator specified, or of all clusters of the stack.

        Args:
            given: The name or ARN that the operator specified, if any.

        Raises:
            AdminError: The operator specified another cluster, to which the stack has no access.
        """
        if given is None:
            return self.clusters
        name = given.rpartition("/")[2]
        if name not in self.clusters:
            noun = "cluster" if len(self.clusters) == 1 else "clusters"
            raise AdminError(
                f"The stack {self.name} controls the {noun} {', '.join(self.clusters)} and has no access to others:"
                f" add {name} to the stack's parameter ClusterName and deploy."
            )
        return [name]

    def checked_cluster(self, given: str | None) -> str:
        """Return the name of the cluster that the operator specified, or of the only cluster of the stack.

        Args:
            given: The name or ARN that the operator specified, if any.

        Raises:
            AdminError: The operator specified another cluster, or none although the stack has several.
        """
        found = self.checked_clusters(given)
        if len(found) > 1:
            raise AdminError(
                f"The stack {self.name} controls several clusters: specify --cluster {' or '.join(found)}."
            )
        return found[0]

    def may_pass(self, role: str) -> bool:
        """Return whether the stack may pass a role (ARN or name) to ECS."""
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

    def scaling(self) -> Any:
        """Return the client of Application Auto Scaling."""
        return self._client("application-autoscaling")

    def ec2(self) -> EC2Client:
        client: EC2Client = self._client("ec2")
        return client

    def events(self) -> EventBridgeClient:
        client: EventBridgeClient = self._client("events")
        return client

    def scheduler(self) -> Any:
        """Return the client of EventBridge Scheduler."""
        return self._client("scheduler")

    def secrets(self) -> SecretsManagerClient:
        client: SecretsManagerClient = self._client("secretsmanager")
        return client

    def functions(self) -> LambdaClient:
        # No retries: the function may still be running after a lost response.
        config = Config(connect_timeout=5, read_timeout=_INVOCATION_SECONDS, retries={"total_max_attempts": 1})
        client: LambdaClient = self.make("lambda", config)
        return client

    def _client(self, service: str) -> Any:
        return self.make(service, Config(connect_timeout=5, read_timeout=15, retries=_RETRIES, max_pool_connections=32))


def deployed(name: str, profile: str | None, region: str | None) -> Target:
    """Find a deployed stack in the operator's account.

    Args:
        name: The name of the stack.
        profile: The AWS profile, or None for the default credentials.
        region: The AWS region, or None for the region of the environment or profile.

    Raises:
        AdminError: The stack does not exist or is not a stack of Longshore.
        botocore.exceptions.ClientError: CloudFormation failed or denied access.
        botocore.exceptions.BotoCoreError: There are no credentials, or CloudFormation did not respond.
    """
    # AWS_REGION as in the AWS CLI. boto3 itself reads AWS_DEFAULT_REGION only.
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
                f"The stack {name} does not exist in {session.region_name}: specify --stack, --region or --profile."
            ) from None
        raise
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}
    if "ContainersTableName" not in outputs:
        raise AdminError(f"The stack {name} is not a Longshore stack, or its deployment is not complete.")
    parameters = {each["ParameterKey"]: each.get("ParameterValue", "") for each in stack.get("Parameters", [])}
    roles = parameters.get("TaskRoleArns")
    allowed = None if roles is None else [arn.strip() for arn in roles.split(",")]
    return Target(name, outputs, client, allowed, parameters)


def local() -> Target:
    """Find the local stack that `make up` serves.

    Its clients connect only to the emulated AWS, with credentials that are valid only there, regardless of the
    operator's environment. The variable PORT selects a stack if several are running.

    Raises:
        AdminError: No local stack is running, or several are and PORT is not set.
    """
    try:
        found = stack_file.find(os.environ.get("PORT"))
    except stack_file.StackNotFoundError as error:
        raise AdminError(str(error)) from None
    session = boto3.Session(
        aws_access_key_id=found["access_key_id"],
        aws_secret_access_key=found["secret_access_key"],
        region_name=found["region"],
    )
    make: Any = session.client

    def client(service: str, config: Config) -> Any:
        url = found["dynamodb_url"] if service == "dynamodb" else found["endpoint_url"]
        # Requests to localhost must not use the proxy of the environment.
        return make(service, endpoint_url=url, config=config.merge(Config(proxies={})))

    return Target(LOCAL, found["outputs"], client, parameters=found["parameters"])
