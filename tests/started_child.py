"""The program that test_coldstart.py runs: it starts one function as Lambda does, and calls it once.

    python started_child.py APP EVENT CONTAINER RESULT

APP and RESULT are files, EVENT and CONTAINER are JSON. RESULT lists what the start has created, and what the handler
had to create later. All AWS calls succeed.
"""

import gc
import json
import runpy
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.client
import botocore.session

GRANT = {"scope": {"S": "project#507f1f77bcf86cd799439033"}, "role": {"S": "owner"}}
TASK = {
    "taskArn": "arn:aws:ecs:us-east-1:123456789012:task/default/1",
    "lastStatus": "RUNNING",
    "containers": [{"runtimeId": "a" * 64}],
    "containerInstanceArn": "arn:aws:ecs:us-east-1:123456789012:container-instance/default/1",
}

SAVED = {
    "project_id": "507f1f77bcf86cd799439033",
    "operation": "start",
    "actor": "ann",
    "saved_at": "2025-01-15T10:30:00.000Z",
}
MODIFIED = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
SCHEDULE = {
    "LastModificationDate": MODIFIED,
    "ScheduleExpression": "cron(0 8 ? * MON-FRI *)",
    "ScheduleExpressionTimezone": "Europe/Berlin",
    "State": "ENABLED",
    "Target": {"Input": json.dumps({"input": SAVED})},
}
CONSTANT: dict[str, Any] = {
    "ListSchedules": {
        "Schedules": [{"Name": f"{SAVED['project_id']}.working-hours", "LastModificationDate": MODIFIED}]
    },
    "GetSchedule": SCHEDULE,
}

collections: list[str] = []
gc.callbacks.append(lambda phase, _: collections.append(phase) if phase == "start" else None)
clients: list[str] = []
create_client = botocore.session.Session.create_client


def recorded(session: Any, service: str, **options: Any) -> Any:
    clients.append(service)
    return create_client(session, service, **options)


def answer(operation: str, parameters: dict[str, Any], container: dict[str, Any]) -> Any:
    match operation:
        case "GetItem":
            return {"Item": container}
        case "UpdateItem" if "ReturnValues" in parameters:
            return {"Attributes": container}
        case "Query" | "Scan":
            table = parameters["TableName"]
            listed = container | {"pending_deadline": container["updated_at"]}  # the key of an index
            return {"Items": [GRANT] if "Access" in table else [listed] if "Containers" in table else []}
        case "BatchGetItem":
            return {"Responses": {table: [container] for table in parameters["RequestItems"]}}
        case "RunTask" | "DescribeTasks":
            return {"tasks": [TASK], "failures": []}
        case "StopTask":
            return {"task": {**TASK, "lastStatus": "STOPPED", "stopCode": "UserInitiated"}}
        case "ListTasks":
            return {"taskArns": []}
        case "DescribeContainerInstances":
            return {"containerInstances": [{"ec2InstanceId": "i-0123456789abcdef0"}]}
        case "GetSecretValue":
            return {"SecretString": "k" * 32}
        case "SendCommand":
            return {"Command": {"CommandId": "command"}}
        case "GetCommandInvocation":
            return {"StatusDetails": "Success", "ResponseCode": 0}
        case _:
            return CONSTANT.get(operation, {"Entries": [{} for _ in parameters.get("Entries", [])]})  # of PutEvents


class Context:
    aws_request_id = "request"
    function_name = "function"
    invoked_function_arn = "arn"

    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def main(app: str, event: str, container: str, result: str) -> None:
    setattr(botocore.session.Session, "create_client", recorded)  # noqa: B010  (mypy rejects the assignment)
    collected = len(collections)
    handler = runpy.run_path(app)["handler"]
    report: dict[str, Any] = {
        "collected": len(collections) - collected,
        "enabled": gc.isenabled(),
        "frozen": gc.get_freeze_count(),
        "clients": sorted(clients),
    }

    from pydantic import BaseModel

    def models(of: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
        for kind in of.__subclasses__():
            yield kind
            yield from models(kind)

    complete = {kind for kind in models() if kind.__pydantic_complete__}
    modules = set(sys.modules)
    item = json.loads(container)

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        return answer(operation, parameters, item)

    setattr(botocore.client.BaseClient, "_make_api_call", call)  # noqa: B010
    report["answer"] = handler(json.loads(event), Context())
    late = {kind for kind in models() if kind.__pydantic_complete__} - complete
    report["late"] = sorted(
        [
            *(kind.__name__ for kind in late),
            *clients[len(report["clients"]) :],
            *(name for name in set(sys.modules) - modules if name.startswith(("longshore", "boto", "pydantic"))),
        ]
    )
    report["modules"] = sorted(sys.modules)
    Path(result).write_text(json.dumps(report), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
