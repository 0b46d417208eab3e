"""Commands to the hosts of tasks: pause, unpause and kill a task's processes through the stack's SSM document.

Systems Manager may deliver a command late, twice or never, and Docker may hang. Every command therefore carries a
sequence number, which is unique and increasing per container, and an expiry time. The document's script ignores numbers
lower than the highest that it has seen, does not start after the expiry time, and reverts its own change if it finishes
after the expiry time. Both values are stored with the operation before the command is sent.

The script acts on all containers of a task or on none. Its exit codes are: 0, done (or nothing was to be done); 1,
nothing was changed; 2, something was or may have been changed.
"""

import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from longshore.aws.ecs import Ecs, EcsError
from longshore.domain.clock import Clock
from longshore.domain.errors import ExternalServiceError
from longshore.domain.models import Container
from longshore.domain.task import Task

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient

_POLL = 0.3  # seconds
_HOST_TRIES = 3
_HOST_PAUSE = 0.2  # seconds; doubled after each try
_NOTHING_CHANGED = 1  # exit code of the script
_DELIVERY_SECONDS = 30  # how long Systems Manager tries to reach the host; the minimum that it allows

_COMMENT = re.compile(
    r"Longshore operation (?P<operation>[0-9a-f]{24}), container (?P<container>[0-9a-f]{24}), command (?P<number>\d+)"
)

_UNDELIVERED = frozenset({"Undeliverable", "DeliveryTimedOut", "InvalidPlatform", "AccessDenied", "Terminated"})


class Action(StrEnum):
    """An action of the document on the processes of a task."""

    PAUSE = "pause"
    UNPAUSE = "unpause"
    KILL = "kill"


class CommandStatus(StrEnum):
    """The known effect of a command."""

    DONE = "done"  # all containers are in the requested state
    NO_EFFECT = "no-effect"  # no container was changed
    UNCERTAIN = "uncertain"  # some containers may have been changed
    IN_PROGRESS = "in-progress"  # there was no result before the time ran out


class CommandResult(NamedTuple):
    """The result of a command."""

    status: CommandStatus
    reason: str = ""  # for callers; empty if the status is DONE
    sent: str | None = None  # the host and the id of a command that is in progress


class SentFor(NamedTuple):
    """The operation that a command was sent for."""

    container_id: str
    operation_id: str
    number: int


class HostCommands:
    """Sends commands to tasks' hosts. Errors of Systems Manager are returned as results unless stated otherwise."""

    def __init__(self, client: "Callable[[], SSMClient]", ecs: Ecs, document: str, clock: Clock) -> None:
        # A callable, because most operations send no command and need no client.
        self._client = client
        self._ecs = ecs
        self._document = document
        self._clock = clock

    def act(self, action: Action, container: Container, task: Task, number: int, until: datetime) -> CommandResult:
        """Send a command to the task's host and wait for its result.

        Args:
            action: What the host does to all containers of the task.
            container: The container, with the pending operation that holds the command's expiry time.
            task: The task, as ECS describes it.
            number: The command's sequence number, one of those that are stored with the operation.
            until: Stop waiting for the result at this time (UTC).

        Raises:
            EcsError: ECS did not return the id of the task's host.
        """
        sent = self.send(action, container, task, number)
        if isinstance(sent, CommandResult):
            return sent
        host, command_id = sent
        return self._result(command_id, host, until)

    def send(self, action: Action, container: Container, task: Task, number: int) -> CommandResult | tuple[str, str]:
        """Send a command without waiting for its result. The arguments are those of `act`.

        Returns:
            The ids of the host and of the command, or why the command was not accepted.

        Raises:
            EcsError: ECS did not return the id of the task's host.
        """
        pending = container.operation
        assert pending is not None
        if task.container_instance_arn is None:
            return CommandResult(CommandStatus.NO_EFFECT, "The task runs on no host that can be reached")
        if not task.runtime_ids or len(task.runtime_ids) < task.containers:
            return CommandResult(CommandStatus.NO_EFFECT, "Not all containers of the task have started")
        host = self._host(container, task.container_instance_arn)
        if host is None:
            return CommandResult(CommandStatus.NO_EFFECT, "The task's instance has left the cluster")
        try:
            answer = self._client().send_command(
                DocumentName=self._document,
                InstanceIds=[host],
                Parameters={
                    "action": [action.value],
                    "runtimeIds": list(task.runtime_ids),
                    "container": [container.id],
                    "number": [str(number)],
                    "expires": [str(int(pending.command_expiry.timestamp()))],
                },
                TimeoutSeconds=_DELIVERY_SECONDS,
                Comment=f"Longshore operation {pending.id}, container {container.id}, command {number}",
            )
        except ClientError as error:
            metadata = error.response["ResponseMetadata"]
            # If botocore has retried, a refusal of the last try proves nothing about the tries before it.
            if metadata["HTTPStatusCode"] >= 500 or metadata.get("RetryAttempts"):
                return CommandResult(CommandStatus.UNCERTAIN, "Systems Manager returned an error")
            if error.response["Error"]["Code"] == "InvalidInstanceId":
                return CommandResult(CommandStatus.NO_EFFECT, "The instance is not reachable through Systems Manager")
            return CommandResult(CommandStatus.NO_EFFECT, "Systems Manager refused the command")
        except BotoCoreError:
            return CommandResult(CommandStatus.UNCERTAIN, "Systems Manager did not answer")
        return host, answer["Command"]["CommandId"]

    def _host(self, container: Container, container_instance_arn: str) -> str | None:
        """Return the id of the task's instance. Repeats the call unless ECS refuses or throttles it.

        The engine does not repeat an attempt to send a command, because the attempt has an effect.
        """
        for number in range(_HOST_TRIES - 1):
            try:
                return self._ecs.host(container.runtime, container_instance_arn)
            except EcsError as error:
                if error.no_effect or error.throttled:
                    raise
                self._clock.sleep(_HOST_PAUSE * 2**number)
        return self._ecs.host(container.runtime, container_instance_arn)

    def done_for(self, command_id: str, host: str) -> SentFor | None:
        """Find the operation that a successful command was sent for.

        Args:
            command_id: The id of the command.
            host: The id of the instance that the command was sent to.

        Returns:
            The operation. None if the command has not succeeded or was not sent by Longshore.

        Raises:
            ExternalServiceError: Systems Manager did not return the command's result.
        """
        try:
            invocation = self._client().get_command_invocation(CommandId=command_id, InstanceId=host)
        except (ClientError, BotoCoreError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "InvocationDoesNotExist":
                return None
            raise ExternalServiceError("Systems Manager does not say what became of the command") from error
        ours = _COMMENT.fullmatch(invocation.get("Comment", ""))
        if ours is None or invocation["StatusDetails"] != "Success":
            return None
        return SentFor(ours["container"], ours["operation"], int(ours["number"]))

    def has_succeeded(self, command_id: str, host: str) -> bool:
        """Check whether a command is known to have succeeded."""
        try:
            invocation = self._client().get_command_invocation(CommandId=command_id, InstanceId=host)
        except (ClientError, BotoCoreError):
            return False
        return invocation["StatusDetails"] == "Success"

    def _result(self, command_id: str, host: str, until: datetime) -> CommandResult:
        reason = "The instance has not run the command yet"
        while self._clock.now() < until:
            self._clock.sleep(_POLL)
            try:
                invocation = self._client().get_command_invocation(CommandId=command_id, InstanceId=host)
            except (ClientError, BotoCoreError):
                # Includes InvocationDoesNotExist, which Systems Manager may return just after SendCommand.
                reason = "Systems Manager does not say what became of the command"
                continue
            match invocation["StatusDetails"]:
                case "Success":
                    return CommandResult(CommandStatus.DONE)
                case "Pending" | "InProgress" | "Delayed" | "Cancelling":
                    continue
                case details if details in _UNDELIVERED:
                    return CommandResult(CommandStatus.NO_EFFECT, "The command could not be delivered to the instance")
                case "Failed" if invocation["ResponseCode"] == _NOTHING_CHANGED:
                    return CommandResult(CommandStatus.NO_EFFECT, "The command failed on the instance")
                case _:
                    return CommandResult(CommandStatus.UNCERTAIN, "The command did not complete on the instance")
        return CommandResult(CommandStatus.IN_PROGRESS, reason, f"{host} {command_id}")
