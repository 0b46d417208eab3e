"""A command on an instance, and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from local.emulator.ecs import ACCOUNT
from local.emulator.ssm.documents import Script

OUTCOMES = {
    # What a test asks for: the Status and the StatusDetails that SSM reports.
    "Failed": ("Failed", "Failed"),
    "TimedOut": ("TimedOut", "ExecutionTimedOut"),
    "DeliveryTimedOut": ("TimedOut", "DeliveryTimedOut"),
    "Undeliverable": ("Failed", "Undeliverable"),
}

# What GetCommandInvocation gives of a script's output, in characters.
MAX_OUTPUT = 24_000
MAX_ERROR_OUTPUT = 8_000


@dataclass(frozen=True)
class Outcome:
    """What became of a script. `exit_code` None: it took too long and was killed."""

    exit_code: int | None
    output: str = ""
    error_output: str = ""


class Host(Protocol):
    """A machine that runs the scripts of commands. Every instance is this one."""

    def run(self, script: Script, done: Callable[[Outcome], None]) -> None:
        """Run the script without waiting for it; `done` is called from any thread."""


@dataclass(frozen=True)
class CommandPlan:
    """How a command is delivered to simulated tasks, and how long Docker takes there.

    Attributes:
        deliver_after: Seconds from SendCommand until the script starts. It may exceed TimeoutSeconds: the command is
            `Pending` until then.
        take: Seconds until Docker has done what the script asks. If they exceed the document's timeoutSeconds, SSM
            reports ExecutionTimedOut, and the effect happens nevertheless.
        runs: How often the script runs. 0: the command is never delivered, and SSM reports DeliveryTimedOut after
            TimeoutSeconds. 2: it is delivered twice; SSM reports the first run.
        second_after: Seconds from the first start to the second.
    """

    deliver_after: float
    take: float
    runs: int = 1
    second_after: float = 0.0


@dataclass(frozen=True)
class Forced:
    """The outcome that a test has ordered. `after_effect`: whether the script runs nevertheless."""

    status: str
    response_code: int
    after_effect: bool


@dataclass
class Invocation:
    """One command on one instance. `due`: when its status next changes, unless a script ends before."""

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
        """Whether the script runs."""
        return self.forced is None or self.forced.after_effect

    def begin(self, at: datetime) -> None:
        self.status = self.details = "InProgress"
        self.started_at = at
        self.due = None

    def end(self, outcome: Outcome, at: datetime) -> None:
        """Set the last status: what a test has ordered, or what became of the script."""
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
        """What GetCommandInvocation answers."""
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
        """What ListCommandInvocations answers for it."""
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
        """The event of its present status.

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
