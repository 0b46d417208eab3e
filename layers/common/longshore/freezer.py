"""Pause, unpause and kill a task's processes on the host that they run on, by the stack's one SSM document.

The document takes an action of a fixed list and the containers' ids, acts on all of them or on none, and is safe to
repeat. Its exit code says what became of it: 0 done (or it was so already), 1 nothing was changed, 2 some were.
"""

import re
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from longshore.clock import Clock
from longshore.ecs import Ecs, Task
from longshore.errors import ExternalServiceError
from longshore.models import Container

if TYPE_CHECKING:
    from types_boto3_ssm import SSMClient

_POLL = 0.3  # seconds
_NOTHING_CHANGED = 1  # the document's exit code
_COMMAND_SECONDS = 30  # how long SSM tries to reach the host: its least

_COMMENT = re.compile(r"Longshore operation (?P<operation>[0-9a-f]{24}) of container (?P<container>[0-9a-f]{24})")

_UNDELIVERED = frozenset({"Undeliverable", "DeliveryTimedOut", "InvalidPlatform", "AccessDenied", "Terminated"})


class Action(StrEnum):
    """What the document does."""

    PAUSE = "pause"
    UNPAUSE = "unpause"
    KILL = "kill"


class Result(StrEnum):
    """What became of an action."""

    DONE = "done"  # all containers are as asked
    NO_EFFECT = "no-effect"  # none was changed
    UNCERTAIN = "uncertain"  # some may have been changed
    IN_PROGRESS = "in-progress"  # not known within the wait


class Answer(NamedTuple):
    """A result, and the reason in plain words when it is not `DONE`."""

    result: Result
    reason: str = ""


class SentFor(NamedTuple):
    """What a command was sent for."""

    container_id: str
    operation_id: str


class Freezer:
    """Acts on tasks' hosts. Never raises for a failure of AWS: the answer says what is known."""

    def __init__(self, client: "Callable[[], SSMClient]", ecs: Ecs, document: str, clock: Clock) -> None:
        # A callable: most operations send no command, and need no client for it.
        self._client = client
        self._ecs = ecs
        self._document = document
        self._clock = clock

    def act(self, action: Action, container: Container, task: Task, until: datetime) -> Answer:
        """Do it to all the task's containers, and wait for the result. Raises `EcsError`."""
        sent = self.send(action, container, task)
        if isinstance(sent, Answer):
            return sent
        host, command_id = sent
        return self._result(command_id, host, until)

    def send(self, action: Action, container: Container, task: Task) -> Answer | tuple[str, str]:
        """Send the command without waiting for it. Returns the host and the command's id. Raises `EcsError`."""
        if task.container_instance_arn is None:
            return Answer(Result.NO_EFFECT, "The task runs on no host that can be reached")
        if not task.runtime_ids or len(task.runtime_ids) < task.containers:
            return Answer(Result.NO_EFFECT, "Not all containers of the task have started")
        host = self._ecs.host(container.runtime, task.container_instance_arn)
        if host is None:
            return Answer(Result.NO_EFFECT, "The task's instance has left the cluster")
        try:
            answer = self._client().send_command(
                DocumentName=self._document,
                InstanceIds=[host],
                Parameters={"action": [action.value], "runtimeIds": list(task.runtime_ids)},
                TimeoutSeconds=_COMMAND_SECONDS,
                Comment=_comment(container),
            )
        except ClientError as error:
            metadata = error.response["ResponseMetadata"]
            # A refusal of a repeat says nothing of the attempt before it.
            if metadata["HTTPStatusCode"] >= 500 or metadata.get("RetryAttempts"):
                return Answer(Result.UNCERTAIN, "Systems Manager returned an error")
            if error.response["Error"]["Code"] == "InvalidInstanceId":
                return Answer(Result.NO_EFFECT, "The instance is not reachable through Systems Manager")
            return Answer(Result.NO_EFFECT, "Systems Manager refused the command")
        except BotoCoreError:
            return Answer(Result.UNCERTAIN, "Systems Manager did not answer")
        return host, answer["Command"]["CommandId"]

    def done_for(self, command_id: str, host: str) -> SentFor | None:
        """What a command was sent for that has done what it was to do; None when it has not, or is not ours.

        Raises ExternalServiceError when Systems Manager does not say.
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
        return SentFor(container_id=ours["container"], operation_id=ours["operation"])

    def _result(self, command_id: str, host: str, until: datetime) -> Answer:
        reason = "The instance has not run the command yet"
        while self._clock.now() < until:
            self._clock.sleep(_POLL)
            try:
                invocation = self._client().get_command_invocation(CommandId=command_id, InstanceId=host)
            except (ClientError, BotoCoreError):
                # Also InvocationDoesNotExist, just after the command was sent.
                reason = "Systems Manager does not say what became of the command"
                continue
            match invocation["StatusDetails"]:
                case "Success":
                    return Answer(Result.DONE)
                case "Pending" | "InProgress" | "Delayed" | "Cancelling":
                    continue
                case details if details in _UNDELIVERED:
                    return Answer(Result.NO_EFFECT, "The command could not be delivered to the instance")
                case "Failed" if invocation["ResponseCode"] == _NOTHING_CHANGED:
                    return Answer(Result.NO_EFFECT, "The command failed on the instance")
                case _:
                    return Answer(Result.UNCERTAIN, "The command did not complete on the instance")
        return Answer(Result.IN_PROGRESS, reason)


def _comment(container: Container) -> str:
    """Tells a command's event which operation it is for. 100 characters at most."""
    assert container.operation is not None
    return f"Longshore operation {container.operation.id} of container {container.id}"
