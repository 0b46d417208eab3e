"""Sample data: a container and its history as the library writes them, and matching events and replies."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from longshore.aws.items import container_item, log_item
from longshore.domain.facts import Observed, Requested
from longshore.domain.history import append
from longshore.domain.ledger import ledger_of
from longshore.domain.lifecycle import LaunchType, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger

from benchmarks.targets import ROOT, Targets
from local.seed import PROJECT, long_history

CONTAINER = "5f1f77bcf86cd79943900001"
USER = "operator"
ROWS_OF_A_PAGE = 10

_BEGAN = datetime(2020, 1, 1, tzinfo=UTC)

Item = dict[str, Any]


def new_container(status: str = "stopped") -> Container:
    """Return a container on EC2 without history."""
    return Container(
        id=CONTAINER,
        project_id=PROJECT,
        name="orders",
        status=Status(status),
        status_since=_BEGAN,
        runtime=Runtime(cluster="default", task_definition="web:7", launch_type=LaunchType.EC2),
        created_at=_BEGAN,
        updated_at=_BEGAN,
    )


def history(statuses: Iterable[str]) -> Iterator[tuple[Container, Item]]:
    """Yield the container and the row's item after each status change. The library computes counters and ranks."""
    container, moment, chance = new_container(), _BEGAN, random.Random(5)
    for status in statuses:
        change = Change(
            to_status=Status(status),
            observed_at=moment,
            triggered_by=Trigger.USER,
            duration_ms=chance.randrange(300, 9000),
            requested=Requested(
                command="start",
                actor=str(UUID(int=chance.getrandbits(128))),
                request_id=str(UUID(int=chance.getrandbits(128))),
                operation_id=f"{chance.getrandbits(96):024x}",
            ),
            observed=Observed(task_id=f"{chance.getrandbits(128):032x}"),
        )
        created = moment + timedelta(milliseconds=12)
        container, entry = append(container, change, f"{chance.getrandbits(96):024x}", created)
        yield container, log_item(entry)
        moment += timedelta(seconds=100)


def membership() -> Item:
    """Return the item that makes the user an owner of the project."""
    return {"user_id": {"S": USER}, "scope": {"S": f"project#{PROJECT}"}, "role": {"S": "owner"}}


def event(function: str, container: str = CONTAINER) -> Any:
    """Return the function's sample event for a container, with a token that does not expire."""
    sample: Any = json.loads((ROOT / "events" / f"{function}.json").read_text(encoding="utf-8"))
    if "id" in (sample.get("pathParameters") or {}) and function != "authorizer":
        old = sample["pathParameters"]["id"]
        sample = json.loads(json.dumps(sample).replace(old, container))
    return sample


def page_event(
    page: int = 1,
    limit: int = ROWS_OF_A_PAGE,
    sort_by: str = "transition_time",
    order: str = "desc",
    filters: Mapping[str, str] | None = None,
) -> Any:
    """Return a request for a page of the history."""
    asked = event("status_logs")
    query = {"page": str(page), "limit": str(limit), "sort_by": sort_by, "sort_order": order, **(filters or {})}
    asked["queryStringParameters"] = query
    asked["multiValueQueryStringParameters"] = {name: [value] for name, value in query.items()}
    return asked


_TASK = "arn:aws:ecs:us-east-1:123456789012:task/default/0123456789abcdef0123456789abcdef"


def _task(status: str) -> Item:
    return {
        "taskArn": _TASK,
        "lastStatus": status,
        "version": 3,
        "launchType": "EC2",
        "startedBy": CONTAINER,
        "stopCode": "UserInitiated",
        "containerInstanceArn": "arn:aws:ecs:us-east-1:123456789012:container-instance/default/0123456789abcdef",
        "containers": [{"name": "app", "runtimeId": "0123456789abcdef" * 4}],
    }


# Replies of ECS and Systems Manager when each effect is immediate.
_SERVICES: dict[str, Any] = {
    "RunTask": {"tasks": [_task("RUNNING")], "failures": []},
    "DescribeTasks": {"tasks": [_task("RUNNING")], "failures": []},
    "StopTask": {"task": _task("STOPPED")},
    "ListTasks": {"taskArns": [_TASK]},
    "DescribeContainerInstances": {"containerInstances": [{"ec2InstanceId": "i-0a1b2c3d4e5f60718"}]},
    "SendCommand": {"Command": {"CommandId": "5f0c8c7e-2a44-4a1c-9d3b-000000000000"}},
    "GetCommandInvocation": {"Status": "Success", "StatusDetails": "Success", "ResponseCode": 0},
}
# Statuses that allow the operation. For other functions, the container is running.
_STATUSES = {"start": "stopped", "restart": "stopped", "resume": "paused"}


def write_replies(targets: Targets, function: str, folder: Path) -> tuple[Path, Path]:
    """Write the replies for the stubs of AWS.

    Returns:
        The files for our functions, which use a client, and for the peers, which use boto3's Table.
    """
    rows = list(history(long_history(100)))
    container, items = rows[-1][0], [item for _, item in rows][: -ROWS_OF_A_PAGE - 1 : -1]
    status = Status(_STATUSES.get(function, "running"))
    tasks = {} if status == "stopped" else ledger_of(_TASK)
    container = container.model_copy(update={"status": status, "tasks": tasks})
    query = {
        "Items": items,
        "Count": len(items),
        "ScannedCount": len(items),
        "LastEvaluatedKey": {name: items[-1][name] for name in ("container_id", "transition_time", "seq")},
    }
    empty: dict[str, Any] = {"Items": [], "Count": 0, "ScannedCount": 0}
    containers, logs, access = (targets.table(name) for name in ("ContainersTable", "StatusLogsTable", "AccessTable"))
    replies = {
        **_SERVICES,
        "Query": empty,
        "Scan": empty,
        f"GetItem {containers}": {"Item": container_item(container)},
        f"GetItem {access}": {"Item": membership()},
        "BatchGetItem": {"Responses": {containers: [container_item(container)]}, "UnprocessedKeys": {}},
        "UpdateItem": {"Attributes": container_item(container)},
        f"Query {access}": {"Items": [membership()], "Count": 1, "ScannedCount": 1},
        f"Query {logs}": {name: value for name, value in query.items() if name != "LastEvaluatedKey"},
    }
    of_peers = copy.deepcopy(replies) | {f"Query {logs}": query}
    ours, theirs = folder / f"replies-{function}.json", folder / f"replies-{function}-resource.json"
    ours.write_text(json.dumps({"resource": False, "replies": replies}), encoding="utf-8")
    theirs.write_text(json.dumps({"resource": True, "replies": of_peers}), encoding="utf-8")
    return ours, theirs
