"""The facts of a change of status, which become the metadata of its history row.

Those of the request and those that were observed have types of their own, without a common name. So neither can replace
the other in a row.
"""

from typing import Any, NamedTuple


class Requested(NamedTuple):
    """What is known about the request that has led to the change.

    Attributes:
        command: The operation.
        actor: The user or the rule that has requested it.
        request_id: The id of the request.
        operation_id: The id of the operation.
        rule: The name of the schedule's rule.
        superseded: The operation that was pending before, and was ended by this one.
    """

    command: str | None = None
    actor: str | None = None
    request_id: str | None = None
    operation_id: str | None = None
    rule: str | None = None
    superseded: str | None = None


class Observed(NamedTuple):
    """What ECS, a host or a sweep has shown.

    Attributes:
        task_id: The last part of the task's ARN.
        reason: Why the status has changed.
        stop_code: ECS's code for the end of the task.
        exit_code: The exit code of the task.
        kill_refused: Why the host has not killed the task. ECS has stopped it then.
        rolling: Whether a service has replaced its tasks.
        count_before: The desired count of a service before a change that was made outside of Longshore.
        count_after: The desired count after it.
        server_instance_id: The server that was terminated.
    """

    task_id: str | None = None
    reason: str | None = None
    stop_code: str | None = None
    exit_code: int | None = None
    kill_refused: str | None = None
    rolling: bool | None = None
    count_before: int | None = None
    count_after: int | None = None
    server_instance_id: str | None = None


def metadata_of(requested: Requested, observed: Observed) -> dict[str, Any]:
    """Return the facts as the metadata of a row, without those that are not known."""
    facts = requested._asdict() | observed._asdict()
    return {name: value for name, value in facts.items() if value is not None}


def facts_of(metadata: dict[str, Any]) -> tuple[Requested, Observed]:
    """Return the facts for the metadata of a row."""
    requested = {name: value for name, value in metadata.items() if name in Requested._fields}
    observed = {name: value for name, value in metadata.items() if name not in Requested._fields}
    return Requested(**requested), Observed(**observed)
