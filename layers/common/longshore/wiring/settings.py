"""What the functions are told by their environment. `template.yaml` sets each of these."""

from collections.abc import Mapping
from typing import NamedTuple


class Settings(NamedTuple):
    """The settings of the functions behind the API."""

    containers_table: str
    status_logs_table: str
    access_table: str
    idempotency_table: str
    host_command_document: str
    wait_seconds: float  # how long an operation waits for its effect before it answers 202

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        return cls(
            containers_table=environment["CONTAINERS_TABLE"],
            status_logs_table=environment["STATUS_LOGS_TABLE"],
            access_table=environment["ACCESS_TABLE"],
            idempotency_table=environment["IDEMPOTENCY_TABLE"],
            host_command_document=environment["HOST_COMMAND_DOCUMENT"],
            wait_seconds=float(environment["WAIT_SECONDS"]),
        )
