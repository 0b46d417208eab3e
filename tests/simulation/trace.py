"""The lines of a run's trace."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from longshore.domain.errors import LongshoreError
from longshore.domain.models import Outcome

START = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
"""The start time of every run."""


@dataclass(frozen=True)
class Line:
    """A line of the trace. `subject` is formatted only when the trace is printed."""

    at: datetime
    actor: str
    action: str
    subject: Any = None

    def __str__(self) -> str:
        moment = (self.at - START).total_seconds()
        return f"{moment:10.3f}  {self.actor:<14} {self.action} {_short(self.subject)}".rstrip()


def _short(subject: Any) -> str:
    """Summarize a request or an answer."""
    if subject is None:
        return ""
    if isinstance(subject, LongshoreError):
        return f"{subject.code} {subject.data} {subject}"
    if isinstance(subject, Outcome):
        return f"{subject.kind}: {subject.message!r}, {subject.status}"
    if not isinstance(subject, dict):
        return str(subject)
    if "TransactItems" in subject:
        return " + ".join(_short(parameters) for item in subject["TransactItems"] for parameters in item.values())
    values = subject.get("ExpressionAttributeValues", {})
    if "UpdateExpression" in subject:
        operation = values.get(":operation", {}).get("M", {})
        pending = " ".join(operation[name]["S"][-24:] for name in ("operation", "step", "id") if name in operation)
        shown = [
            next(iter(values[name].values())) for name in (":status", ":log_count", ":generation") if name in values
        ]
        return f"{subject['Key']['id']['S'][-2:]} {'/'.join(map(str, shown))} pending: {pending or '-'}"
    if "KeyConditionExpression" in subject:
        bounds = [next(iter(value.values())) for value in values.values()]
        return f"{subject['TableName']} {subject.get('IndexName', '')} {bounds}"
    if "Item" in subject:
        names = ("from_status", "to_status", "seq", "operation_id")
        return f"put {subject['TableName']} " + " ".join(
            next(iter(subject["Item"][name].values())) for name in names if name in subject["Item"]
        )
    hidden = ("cluster", "ConsistentRead", "ExpressionAttributeNames", "Comment", "DocumentName", "TimeoutSeconds")
    return str({name: value for name, value in subject.items() if name not in hidden})
