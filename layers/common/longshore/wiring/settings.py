"""Settings of the functions, from environment variables that `template.yaml` sets."""

from collections.abc import Mapping
from typing import NamedTuple


class Settings(NamedTuple):
    """Settings of the functions other than the authorizer."""

    containers_table: str
    status_logs_table: str
    access_table: str
    idempotency_table: str
    host_command_document: str
    wait_seconds: float  # how long a request waits for its effect before it is answered 202
    wait_concurrency: int  # how many requests wait for a state of a container at the same time
    history_retention: int  # days that history rows are shown; 0: always

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        return cls(
            containers_table=environment["CONTAINERS_TABLE"],
            status_logs_table=environment["STATUS_LOGS_TABLE"],
            access_table=environment["ACCESS_TABLE"],
            idempotency_table=environment["IDEMPOTENCY_TABLE"],
            host_command_document=environment["HOST_COMMAND_DOCUMENT"],
            wait_seconds=float(environment["WAIT_SECONDS"]),
            wait_concurrency=int(environment["WAIT_CONCURRENCY"]),
            history_retention=int(environment["HISTORY_RETENTION_DAYS"]),
        )


class PaceSettings(NamedTuple):
    """Rates at which sweeps and schedules call ECS, in calls per second."""

    task_actions: float  # RunTask and StopTask together
    fargate_starts: float  # RunTask on Fargate
    task_reads: float  # DescribeTasks and ListTasks together

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "PaceSettings":
        return cls(
            task_actions=float(environment["TASK_ACTIONS_PER_SECOND"]),
            fargate_starts=float(environment["FARGATE_STARTS_PER_SECOND"]),
            task_reads=float(environment["TASK_READS_PER_SECOND"]),
        )


class PublishingSettings(NamedTuple):
    """Settings of the function that publishes status changes."""

    event_bus: str
    undelivered_events: str  # URL of the queue
    stack_arn: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "PublishingSettings":
        return cls(
            event_bus=environment["EVENT_BUS"],
            undelivered_events=environment["UNDELIVERED_EVENTS"],
            stack_arn=environment["STACK_ARN"],
        )
