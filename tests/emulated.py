"""An emulator with a cluster, an instance and task definitions, for tests of the emulated AWS."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import boto3
from botocore.config import Config

from local.emulator import Emulator

REGION = "us-east-1"
DOCUMENT = {
    "schemaVersion": "2.2",
    "parameters": {
        "action": {"type": "String", "allowedValues": ["pause", "unpause", "kill"]},
        "runtimeIds": {
            "type": "StringList",
            "allowedPattern": "^[0-9a-f]{64}$",
            "minItems": 1,
            "maxItems": 10,
        },
    },
    "mainSteps": [{"action": "aws:runShellScript", "name": "run", "inputs": {"runCommand": ["true"]}}],
}


class World:
    """An emulator with clients, a cluster, an instance and task definitions."""

    def __init__(self, emulator: Emulator, events: list[dict[str, Any]]) -> None:
        self.emulator = emulator
        self.events = events
        self._clients: dict[str, Any] = {}
        ecs = self.client("ecs")
        ecs.create_cluster(clusterName="main")
        for family, labels in {
            "web": {},
            "never": {"simulate.start": "never"},
            "unpullable": {"simulate.start": "fail"},
            "stubborn": {"simulate.ignore-sigterm": "true"},
            "batch": {"simulate.exit-after": "0.05", "simulate.exit-code": "3"},
        }.items():
            app = {"name": "app", "image": "app:1", "memory": 256, "stopTimeout": 2, "dockerLabels": labels}
            side = {"name": "side", "image": "side:1", "memory": 64, "essential": False}
            ecs.register_task_definition(family=family, containerDefinitions=[app, side])
        self.instance = emulator.ecs.add_instance("main", memory=2000)
        self.client("ssm").create_document(Name="freezer", Content=json.dumps(DOCUMENT), DocumentType="Command")

    def client(self, service: str) -> Any:
        if service not in self._clients:
            config = Config(retries={"total_max_attempts": 1}, max_pool_connections=32)
            self._clients[service] = client(self.emulator, service, config=config)
        return self._clients[service]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def run(self, family: str = "web", **parameters: Any) -> str:
        answer = self.client("ecs").run_task(cluster="main", taskDefinition=family, **parameters)
        return str(answer["tasks"][0]["taskArn"])

    def describe(self, arn: str, **parameters: Any) -> dict[str, Any]:
        answer = self.client("ecs").describe_tasks(cluster="main", tasks=[arn], **parameters)
        return dict(answer["tasks"][0])

    def wait(self, arn: str, status: str) -> dict[str, Any]:
        eventually(lambda: self.describe(arn)["lastStatus"] == status)
        return self.describe(arn)

    def running(self, family: str = "web") -> dict[str, Any]:
        return self.wait(self.run(family), "RUNNING")

    def send(self, action: str, ids: list[str]) -> str:
        answer = self.client("ssm").send_command(
            InstanceIds=[self.instance],
            DocumentName="freezer",
            Parameters={"action": [action], "runtimeIds": ids},
        )
        return str(answer["Command"]["CommandId"])

    def result(self, command_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = {}

        def ended() -> bool:
            with suppress(self.client("ssm").exceptions.InvocationDoesNotExist):
                answer.update(self.client("ssm").get_command_invocation(CommandId=command_id, InstanceId=self.instance))
            return answer.get("Status") not in (None, "Pending", "InProgress")

        eventually(ended)
        return answer


def client(emulator: Emulator, service: str, **options: Any) -> Any:
    """Return a boto3 client of an emulator, by default with its credentials."""
    keys = {
        "aws_access_key_id": emulator.credentials.access_key_id,
        "aws_secret_access_key": emulator.credentials.secret_access_key,
    }
    make: Any = boto3.client
    return make(service, **{"endpoint_url": emulator.url, "region_name": REGION, **keys, **options})


def eventually(condition: Callable[[], bool], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def code(error: Any) -> str:
    return str(error.value.response["Error"]["Code"])
