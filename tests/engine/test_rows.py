"""Tests of operations that succeed immediately: the rows, the container's item, the answer and the calls to AWS."""

import itertools
from datetime import timedelta
from typing import Any

import pytest
from longshore.domain.clock import to_text
from longshore.domain.ledger import LastTask

from engine.aws import CLUSTER, HOST
from engine.stage import NUMBER, PROJECT, USER, Stage

GOOD = [
    # status, operation, statuses of the rows, actions of the commands, number of StopTask, number of RunTask
    ("stopped", "start", ["running"], [], 0, 1),
    ("running", "stop", ["stopped"], [], 1, 0),
    ("paused", "stop", ["stopped"], ["unpause"], 1, 0),
    ("running", "force-stop", ["stopped"], ["kill"], 1, 0),
    ("paused", "force-stop", ["stopped"], ["kill"], 1, 0),
    ("running", "restart", ["stopped", "running"], [], 1, 1),
    ("paused", "restart", ["stopped", "running"], ["unpause"], 1, 1),
    ("stopped", "restart", ["running"], [], 0, 1),
    ("failed", "restart", ["running"], [], 0, 1),
    ("failed", "force-stop", ["stopped"], [], 0, 0),
    ("running", "pause", ["paused"], ["pause"], 0, 0),
    ("paused", "resume", ["running"], ["unpause"], 0, 0),
]
MESSAGES = {
    "start": "Container started successfully",
    "stop": "Container stopped successfully",
    "force-stop": "Container force-stopped successfully",
    "restart": "Container restarted successfully",
    "pause": "Container paused successfully",
    "resume": "Container resumed successfully",
}
ENDS = {"stop": 0, "force-stop": 137, "restart": 0}


@pytest.mark.parametrize(("status", "operation", "goals", "actions", "stops", "runs"), GOOD)
def test_an_operation_that_succeeds(
    stage: Stage, status: str, operation: str, goals: list[str], actions: list[str], stops: int, runs: int
) -> None:
    container = stage.add("stopped", status)
    if operation == "restart":
        stage.with_events()
    before = stage.container(container)
    claimed_at = stage.clock.now() + timedelta(milliseconds=2)  # two reads precede the claim

    outcome = stage.ask(container, operation, request_id="r-7")

    assert outcome.model_dump(exclude_none=True) == {
        "kind": "completed",
        "operation": operation,
        "container_id": container,
        "project_id": PROJECT,
        "message": MESSAGES[operation],
        "status": goals[-1],
    }
    rows = stage.rows(container)[2:]
    assert [(row["from_status"], row["to_status"]) for row in rows] == list(zip([status, *goals], goals, strict=False))
    for number, row in enumerate(rows):
        at = stage.clock.now() if row is rows[-1] and operation != "restart" else None
        committed = row["transition_time"]
        assert row["created_at"] == committed
        assert at is None or committed == to_text(at - timedelta(milliseconds=1))
        assert row["triggered_by"] == "user"
        assert row["duration_ms"] == milliseconds(claimed_at, committed)
        assert row["seq"] == 3 + number
        stop = row["to_status"] == "stopped" and before.task_arn is not None
        facts: dict[str, Any] = {}
        if stop:
            facts = {
                "task_id": (before.task_arn or "").rsplit("/", 1)[-1],
                "reason": f"Longshore operation {row['metadata']['operation_id']}",
                "stop_code": "UserInitiated",
                "exit_code": ENDS[operation],
            }
        elif row["to_status"] != "stopped":
            (own,) = stage.live(container)
            facts = {"task_id": own.id}
        assert row["metadata"] == facts | {
            "command": operation,
            "actor": USER,
            "request_id": "r-7",
            "operation_id": row["metadata"]["operation_id"],
        }
    after = stage.container(container)
    assert (after.status, after.operation, after.generation) == (goals[-1], None, before.generation + runs)
    assert to_text(after.status_since) == rows[-1]["transition_time"]
    assert (after.last_transition_time, after.last_created_at) == (after.status_since, after.status_since)
    assert after.updated_at == after.status_since
    assert after.requested_at == claimed_at
    assert (after.command_number, after.tasks_due_at, after.history_full) == (NUMBER + 1, None, False)
    assert after.log_count == 2 + len(goals)
    assert after.to_counts == counted(["stopped", status, *goals])
    assert after.from_counts == counted(["none", "stopped", status, *goals[:-1]])
    live = stage.live(container)
    if live:
        (known,) = after.tasks.values()
        assert (known.arn, known.version, known.shown) == (live[0].arn, live[0].version, True)
        assert live[0].containers[0].paused is (goals[-1] == "paused")
    elif before.task_arn:
        task = stage.ecs.task(before.task_arn)
        assert (after.tasks, after.last_task) == ({}, LastTask(id=task.id, version=task.version))
    assert [command["action"] for command in stage.commands()] == [[action] for action in actions]
    # The event of the unpause and the driver both continue a restart with StopTask.
    twice = (status, operation) == ("paused", "restart")
    assert (stage.count("StopTask"), stage.count("RunTask")) == (stops + twice, runs)
    item = stage.dynamodb.tables["containers"].items[(container,)]
    assert item["schema"] == {"N": "3"}
    assert item.get("live_project_id") == ({"S": PROJECT} if live else None)
    assert not {"pending_shard", "pending_deadline"} & item.keys()


def milliseconds(since: Any, text: str) -> int:
    for count in range(60_000):
        if to_text(since + timedelta(milliseconds=count)) == text:
            return count
    raise AssertionError(f"{text} is not within a minute after {since}")


def counted(statuses: list[str]) -> dict[str, int]:
    return {status: statuses.count(status) for status in statuses}


def test_the_parameters_of_run_task(stage: Stage) -> None:
    container = stage.add("stopped", server=HOST)
    stage.ask(container, "start")
    (row,) = stage.rows(container)[1:]
    assert stage.parameters("RunTask") == [
        {
            "cluster": CLUSTER,
            "taskDefinition": "web-1",
            "launchType": "EC2",
            "startedBy": container,
            "clientToken": row["metadata"]["operation_id"],
            "placementConstraints": [{"type": "memberOf", "expression": f"ec2InstanceId == '{HOST}'"}],
        }
    ]


def test_the_parameters_of_stop_task(stage: Stage) -> None:
    container = stage.add("running")
    arn = stage.container(container).task_arn
    stage.ask(container, "stop")
    (row,) = stage.rows(container)[1:]
    reason = f"Longshore operation {row['metadata']['operation_id']}"
    assert stage.parameters("StopTask") == [{"cluster": CLUSTER, "task": arn, "reason": reason}]
    assert stage.parameters("DescribeTasks") == [{"cluster": CLUSTER, "tasks": [arn]}]


def test_the_parameters_of_a_command(stage: Stage) -> None:
    container = stage.add("running", sidecars=1)
    (task,) = stage.live(container)
    claimed_at = stage.clock.now() + timedelta(milliseconds=2)
    stage.ask(container, "pause")
    (row,) = stage.rows(container)[1:]
    operation_id = row["metadata"]["operation_id"]
    assert stage.parameters("SendCommand") == [
        {
            "DocumentName": "host-command",
            "InstanceIds": [HOST],
            "Parameters": {
                "action": ["pause"],
                "runtimeIds": [process.runtime_id for process in task.containers],
                "container": [container],
                "number": [str(NUMBER)],
                "expires": [str(int((claimed_at + timedelta(seconds=60)).timestamp()))],
            },
            "TimeoutSeconds": 30,
            "Comment": f"Longshore operation {operation_id}, container {container}, command {NUMBER}",
        }
    ]
    assert stage.count("GetCommandInvocation") == 1


def test_each_command_to_a_container_has_the_next_number(stage: Stage) -> None:
    container = stage.add("running")
    for operation in ("pause", "resume", "pause", "force-stop"):
        stage.ask(container, operation)
    numbers = [int(command["number"][0]) for command in stage.commands()]
    assert numbers == [NUMBER + 2 * n for n in range(4)]


def test_fargate_is_killed_without_a_host(stage: Stage) -> None:
    container = stage.add("running", fargate=True)
    assert stage.ask(container, "force-stop").kind == "completed"
    assert (stage.count("SendCommand"), stage.count("StopTask")) == (0, 1)
    assert "kill_refused" not in stage.rows(container)[-1]["metadata"]


def test_the_item_is_read_during_the_wait_and_the_task_is_looked_up_at_its_end(stage: Stage) -> None:
    """The interval between reads of the item starts at 0.2 seconds and grows by half each time, up to half a second."""
    container = stage.add("stopped", labels={"simulate.start": "never"})
    times: list[float] = []
    start = stage.clock.now()

    def note(*_: Any) -> None:
        times.append((stage.clock.now() - start).total_seconds())
        stage.before("GetItem", note)

    stage.before("GetItem", note, skip=1)
    looks: list[float] = []
    stage.before("DescribeTasks", lambda _: looks.append((stage.clock.now() - start).total_seconds()))
    stage.ask(container, "start")
    gaps = [round(after - before, 2) for before, after in itertools.pairwise(times)]
    assert gaps[:5] == [0.3, 0.45, 0.5, 0.5, 0.5]
    (look,) = looks
    assert times[-1] < look
    assert 20 <= look < 20.01
