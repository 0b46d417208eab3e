"""A task of Amazon ECS, as the ECS API and its events describe it."""

import hashlib
import re
from datetime import datetime
from typing import Any, NamedTuple

from longshore.domain.clock import to_milliseconds
from longshore.domain.facts import Observed

# ECS's reason for a task's end is shown to callers without the ARNs in it.
_ARN = re.compile(r"arn:aws[^\s,;'\")\]]*")


class Task(NamedTuple):
    """A task as ECS describes it. Times are in UTC.

    Attributes:
        version: Increases with each change of the task. 0 if it is not known.
        started_at: When the task was RUNNING for the first time. None before that.
        exit_code: The first exit code that is not 0, 0 if all known exit codes are 0, None if no exit code is known.
        runtime_ids: The Docker ids of the containers that have started.
        containers: The number of containers.
        container_instance_arn: The ECS container instance that the task runs on. None on Fargate.
    """

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
    runtime_ids: tuple[str, ...]
    containers: int
    container_instance_arn: str | None

    @property
    def id(self) -> str:
        """The last part of the ARN."""
        return self.arn.rsplit("/", 1)[-1]

    @property
    def is_running(self) -> bool:
        return self.last_status == "RUNNING"

    @property
    def is_stopped(self) -> bool:
        return self.last_status == "STOPPED"

    @property
    def facts(self) -> Observed:
        """What a history row contains about the task."""
        return Observed(self.id, self.stopped_reason, self.stop_code, self.exit_code)

    @classmethod
    def of(cls, described: Any) -> "Task":
        """Convert a task in the shape that DescribeTasks, RunTask, StopTask and the events of tasks share."""
        containers = described.get("containers", [])
        codes = [container["exitCode"] for container in containers if container.get("exitCode") is not None]
        reasons = [container["reason"] for container in containers if container.get("reason")]
        texts = [described.get("stoppedReason"), *reasons[:1]]
        return cls(
            arn=described["taskArn"],
            last_status=described["lastStatus"],
            version=described.get("version", 0),
            started_by=described.get("startedBy"),
            created_at=time_of(described.get("createdAt")),
            started_at=time_of(described.get("startedAt")),
            stopped_at=time_of(described.get("stoppedAt")),
            stop_code=described.get("stopCode"),
            stopped_reason=without_arns(": ".join(filter(None, texts))) or None,
            exit_code=next((code for code in codes if code), 0 if codes else None),
            runtime_ids=tuple(container["runtimeId"] for container in containers if container.get("runtimeId")),
            containers=len(containers),
            container_instance_arn=described.get("containerInstanceArn"),
        )


def adopted_as(arn: str) -> str:
    """Return the id of the container that adopts an existing task or stands for a service, derived from the ARN."""
    return hashlib.sha256(arn.encode()).hexdigest()[:24]


def without_arns(text: str) -> str:
    """Return a message of ECS without the ARNs in it, so that callers can see it."""
    return _ARN.sub("(an ARN)", text)


def time_of(value: datetime | str | None) -> datetime | None:
    """Convert a time of the ECS API, or of an event, to milliseconds."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return to_milliseconds(value) if value else None
