"""A task of Amazon ECS, as its API and its events describe it."""

import hashlib
import re
from datetime import datetime
from typing import Any, NamedTuple

from longshore.domain.clock import to_milliseconds
from longshore.domain.lifecycle import LaunchType

# What ECS says of a task's end is shown to callers, but for the ARNs in it.
_ARN = re.compile(r"arn:aws[^\s,;'\")\]]*")


class Task(NamedTuple):
    """A task as ECS describes it. `exit_code` is the first that is not 0, 0 when all are, None when none is known."""

    arn: str
    last_status: str
    version: int
    started_by: str | None
    created_at: datetime | None
    started_at: datetime | None
    stopped_at: datetime | None
    stop_code: str | None
    stopped_reason: str | None
    exit_code: int | None
    runtime_ids: tuple[str, ...]  # of the containers that have started, as their host knows them
    containers: int
    container_instance_arn: str | None  # None on Fargate

    @property
    def id(self) -> str:
        return self.arn.rsplit("/", 1)[-1]

    @property
    def is_running(self) -> bool:
        return self.last_status == "RUNNING"

    @property
    def is_stopped(self) -> bool:
        return self.last_status == "STOPPED"

    @property
    def facts(self) -> dict[str, Any]:
        """What a row of history says of the task's end."""
        return {
            "task_id": self.id,
            "reason": self.stopped_reason,
            "stop_code": self.stop_code,
            "exit_code": self.exit_code,
        }

    @classmethod
    def of(cls, described: Any) -> "Task":
        """From the shape that DescribeTasks, RunTask, StopTask and the task's events share (keys in camel case)."""
        containers = described.get("containers", [])
        codes = [container["exitCode"] for container in containers if container.get("exitCode") is not None]
        reasons = [container["reason"] for container in containers if container.get("reason")]
        told = [described.get("stoppedReason"), *reasons[:1]]
        return cls(
            arn=described["taskArn"],
            last_status=described["lastStatus"],
            version=described.get("version", 0),
            started_by=described.get("startedBy"),
            created_at=_time(described.get("createdAt")),
            started_at=_time(described.get("startedAt")),
            stopped_at=_time(described.get("stoppedAt")),
            stop_code=described.get("stopCode"),
            stopped_reason=_ARN.sub("(an ARN)", ": ".join(filter(None, told))) or None,
            exit_code=next((code for code in codes if code), 0 if codes else None),
            runtime_ids=tuple(container["runtimeId"] for container in containers if container.get("runtimeId")),
            containers=len(containers),
            container_instance_arn=described.get("containerInstanceArn"),
        )


def adopted_as(task_arn: str) -> str:
    """The id of the container that a task which ran already is adopted as: always the same, so that it is one only."""
    return hashlib.sha256(task_arn.encode()).hexdigest()[:24]


def has_host(launch_type: LaunchType) -> bool:
    """Whether processes of a task can be reached on a host."""
    return launch_type is not LaunchType.FARGATE


def _time(value: datetime | str | None) -> datetime | None:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return to_milliseconds(value) if value else None
