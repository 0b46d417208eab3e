"""Command invocations: a command on an instance, its delivery and its outcome."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from local.emulator.ecs import ACCOUNT
from local.emulator.ssm.documents import Script

OUTCOMES = {
    # The Status and the StatusDetails of SSM, by the status that a test requests.
    "Failed": ("Failed", "Failed"),
    "TimedOut": ("TimedOut", "ExecutionTimedOut"),
    "DeliveryTimedOut": ("TimedOut", "DeliveryTimedOut"),
    "Undeliverable": ("Failed", "Undeliverable"),
}

# The limits of GetCommandInvocation for the output of a script, in characters.
MAX_OUTPUT = 24_000
MAX_ERROR_OUTPUT = 8_000


@dataclass(frozen=True)
class Outcome:
    """The outcome of a script. `exit_code` is None if it was killed after its timeout."""

    exit_code: int | None
    output: str = ""
    error_output: str = ""


class Host(Protocol):
    """A machine that runs the scripts of the commands to all instances."""

    def run(self, script: Script, done: Callable[[Outcome], None]) -> None:
        """Run the script in the background; `done` is called from any thread."""


@dataclass(frozen=True)
class CommandPlan:
    """The delivery of a command to simulated tasks, and the time that Docker takes.

    Attributes:
        deliver_after: Seconds from SendCommand until the script starts. It may exceed TimeoutSeconds: the command is
            `Pending` until then.
        take: Seconds until Docker has performed the action. If they exceed the document's timeoutSeconds, SSM
            reports ExecutionTimedOut, and the action takes effect nevertheless.
        runs: The number of times that the script runs. 0: the command is never delivered, and SSM reports
            DeliveryTimedOut after TimeoutSeconds. 2: it is delivered twice; SSM reports the first run.
        second_after: Seconds from the first start to the second.
    """

    deliver_after: float
    take: float
    runs: int = 1
    second_after: float = 0.0


@dataclass(frozen=True)
class Forced:
    """The outcome that a test has requested. `after_effect`: whether the script runs nevertheless."""

    status: str
    response_code: int
    after_effect: bool


@dataclass
class Invocation:
    """A command on an instance. `due` is the time of its next status change, unless the script ends before."""

    command_id: str
    instance_id: str
    document: str
    parameters: dict[str, list[str]]
    comment: str
    region: str
    requested_at: datetime
    plan: CommandPlan
    timeout: timedelta  # of the script
    due: datetime | None
    forced: Forced | None = None
    script: Script | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    status: str = "Pending"
    details: str = "Pending"
    response_code: int = -1
    output: str = ""
    error_output: str = ""

    @property
    def ended(self) -> bool:
        return self.ended_at is not None

    @property
    def acts(self) -> bool:
        """Whether the script of this invocation runs."""
        return self.forced is None or self.forced.after_effect

    def begin(self, at: datetime) -> None:
        self.status = self.details = "InProgress"
        self.started_at = at
        self.due = None

    def end(self, outcome: Outcome, at: datetime) -> None:
        """Set the final status: the status that a test has requested, or the outcome of the script."""
        self.ended_at = at
        self.due = None
        if self.forced is not None:
            self.status, self.details = OUTCOMES[self.forced.status]
            if self.forced.status == "Failed":
                self.response_code = self.forced.response_code
                self.error_output = "failed to run commands: an injected fault"
            return
        self.output = outcome.output[:MAX_OUTPUT]
        self.error_output = outcome.error_output[:MAX_ERROR_OUTPUT]
        if outcome.exit_code is None:
            self.status, self.details = OUTCOMES["TimedOut"]
        else:
            self.status = self.details = "Failed" if outcome.exit_code else "Success"
            self.response_code = outcome.exit_code

    def not_delivered(self, at: datetime) -> None:
        self.ended_at = at
        self.due = None
        self.status, self.details = OUTCOMES["DeliveryTimedOut"]

    def to_api(self) -> dict[str, Any]:
        """Return the response of GetCommandInvocation."""
        return {
            "CommandId": self.command_id,
            "InstanceId": self.instance_id,
            "Comment": self.comment,
            "DocumentName": self.document,
            "DocumentVersion": "$DEFAULT",
            "PluginName": "aws:runShellScript",
            "ResponseCode": self.response_code,
            "ExecutionStartDateTime": _stamp(self.started_at) if self.started_at else "",
            "ExecutionEndDateTime": _stamp(self.ended_at) if self.ended_at else "",
            "Status": self.status,
            "StatusDetails": self.details,
            "StandardOutputContent": self.output,
            "StandardOutputUrl": "",
            "StandardErrorContent": self.error_output,
            "StandardErrorUrl": "",
        }

    def to_list_api(self) -> dict[str, Any]:
        """Return the entry in the response of ListCommandInvocations."""
        return {
            "CommandId": self.command_id,
            "InstanceId": self.instance_id,
            "Comment": self.comment,
            "DocumentName": self.document,
            "DocumentVersion": "$DEFAULT",
            "RequestedDateTime": self.requested_at,
            "Status": self.status,
            "StatusDetails": self.details,
            "CommandPlugins": [],
        }

    def to_event(self, event_id: str, at: datetime) -> dict[str, Any]:
        """Return the EventBridge event of the current status.

        Source: https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html
        """
        return {
            "version": "0",
            "id": event_id,
            "detail-type": "EC2 Command Invocation Status-change Notification",
            "source": "aws.ssm",
            "account": ACCOUNT,
            "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": self.region,
            "resources": [f"arn:aws:ec2:{self.region}:{ACCOUNT}:instance/{self.instance_id}"],
            "detail": {
                "command-id": self.command_id,
                "document-name": self.document,
                "instance-id": self.instance_id,
                "requested-date-time": _stamp(self.requested_at),
                "status": self.status,
            },
        }


def _stamp(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
