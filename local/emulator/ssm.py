"""Systems Manager Run Command: a state machine on an injected clock, acting on simulated tasks.

    SendCommand ──► Pending ──► InProgress ──► Success | Failed | TimedOut | …
                    │ (GetCommandInvocation does not know the command for the first 20 ms, as in AWS)
                    └─ the document, the parameters and the instance are checked before

The document's parameters are `action` (pause, unpause or kill) and `runtimeIds` (container ids). What its
script does on a host is done to the tasks of that host when the command ends. With a `Host` the script itself is run.
"""

import json
import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from local.emulator.ecs import ACCOUNT, REGION, TaskSimulation
from local.emulator.errors import AwsError

UNKNOWN_FOR = timedelta(milliseconds=20)
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
class Script:
    """What a document runs on a host: POSIX shell, and the seconds that it may take."""

    text: str
    timeout: float


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


@dataclass
class Invocation:
    """One command on one instance. `forced`: the outcome that a test ordered, its code, whether to act."""

    command_id: str
    instance_id: str
    document: str
    parameters: dict[str, list[str]]
    comment: str
    region: str
    requested_at: datetime
    starts_at: datetime
    ends_at: datetime
    forced: tuple[str, int, bool] | None = None
    script: Script | None = None
    on_host: bool = False  # a host runs the script, and says when it is done
    status: str = "Pending"
    details: str = "Pending"
    response_code: int = -1
    output: str = ""
    error_output: str = ""

    @property
    def ended(self) -> bool:
        return self.status not in ("Pending", "InProgress")

    def next_due(self) -> datetime | None:
        return None if self.on_host else {"Pending": self.starts_at, "InProgress": self.ends_at}.get(self.status)


@dataclass
class _Forced:
    status: str
    response_code: int
    after_effect: bool


def check_parameters(content: dict[str, Any], given: dict[str, list[str]]) -> dict[str, list[str]]:
    """The parameters of a document with its defaults filled in. Raises AwsError (InvalidParameters).

    content: a document of schemaVersion 2.2. Values are lists of strings, as in SendCommand.
    """
    known: dict[str, Any] = content.get("parameters") or {}
    for name in given:
        if name not in known:
            raise AwsError("InvalidParameters", f"Parameter {name} is not defined in the document.")
    result = {}
    for name, rule in known.items():
        values = given.get(name)
        if values is None:
            if "default" not in rule:
                raise AwsError("InvalidParameters", f"Parameter {name} is required.")
            default = rule["default"]
            values = [str(value) for value in default] if isinstance(default, list) else [str(default)]
        _check_parameter(name, rule, values)
        result[name] = values
    return result


def _check_parameter(name: str, rule: dict[str, Any], values: list[str]) -> None:
    def refuse(why: str) -> AwsError:
        return AwsError("InvalidParameters", f"Parameter {name} {why}.")

    if rule.get("type") != "StringList" and len(values) != 1:
        raise refuse("takes exactly one value")
    if len(values) < int(rule.get("minItems", 0)):
        raise refuse(f"takes at least {rule['minItems']} values")
    if len(values) > int(rule.get("maxItems", len(values))):
        raise refuse(f"takes at most {rule['maxItems']} values")
    allowed, pattern = rule.get("allowedValues"), rule.get("allowedPattern")
    for value in values:
        if allowed is not None and value not in [str(item) for item in allowed]:
            raise refuse("has a value that is not allowed")
        # Searched, not matched whole: a pattern that lacks its anchors must not look safe here.
        if pattern is not None and not re.search(pattern, value):
            raise refuse("does not match the allowed pattern")
        if not int(rule.get("minChars", 0)) <= len(value) <= int(rule.get("maxChars", len(value))):
            raise refuse("has a value of a length that is not allowed")


def render(content: dict[str, Any], values: dict[str, list[str]]) -> Script:
    """The script of a document's first step, with the parameters put in as SSM Agent does.

    A String is put in as it is, and a StringList as JSON. Source: amazon-ssm-agent, docparser/parameters.
    """
    inputs = content["mainSteps"][0]["inputs"]
    text = "\n".join(inputs["runCommand"])
    for name, rule in content["parameters"].items():
        value = _as_json(values[name]) if rule["type"] == "StringList" else values[name][0]
        # As it is, whatever it holds: a replacement that is text would be searched for groups.
        text = value.join(re.split(r"{{\s*" + re.escape(name) + r"\s*}}", text))
    return Script(text, float(inputs.get("timeoutSeconds", 3600)))


def _as_json(values: list[str]) -> str:
    """JSON as Go writes it."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


class CommandSimulation:
    """SendCommand, GetCommandInvocation and ListCommandInvocations, and the controls of a test.

    document: gives the content of a document by name and region, None when there is none.
    command_delay: seconds from SendCommand to the end of the command.
    host: runs the documents' scripts, instead of what they do being done to the simulated tasks.
    """

    OPERATIONS = frozenset({"SendCommand", "GetCommandInvocation", "ListCommandInvocations"})

    def __init__(
        self,
        tasks: TaskSimulation,
        document: Callable[[str, str], dict[str, Any] | None],
        now: Callable[[], datetime],
        command_delay: float = 0.1,
        rng: random.Random | None = None,
        host: Host | None = None,
    ) -> None:
        self._tasks = tasks
        self._host = host
        self._document = document
        self._now = now
        self._delay = timedelta(seconds=command_delay)
        self._rng = rng or random.Random()
        self._lock = threading.RLock()
        self._invocations: dict[tuple[str, str], Invocation] = {}
        self._forced: list[_Forced] = []
        self._events: list[dict[str, Any]] = []
        self._disconnected: set[str] = set()

    # ── time ──

    def advance(self, now: datetime) -> None:
        """Carry out what has become due by `now`, each at its own time, the earliest first."""
        with self._lock:
            while True:
                waiting = [
                    (due, invocation)
                    for invocation in self._invocations.values()
                    if (due := invocation.next_due()) is not None and due <= now
                ]
                if not waiting:
                    return
                due, invocation = min(waiting, key=lambda pair: pair[0])
                if invocation.status == "Pending":
                    self._begin(invocation)
                else:
                    self._finish(invocation, due)

    def next_due(self) -> datetime | None:
        """When the next change is due, or None."""
        with self._lock:
            dues = [invocation.next_due() for invocation in self._invocations.values()]
            return min((due for due in dues if due is not None), default=None)

    def drain_events(self) -> list[dict[str, Any]]:
        """The EventBridge events of the invocations since the last call, in order."""
        with self._lock:
            events, self._events = self._events, []
            return events

    def _begin(self, invocation: Invocation) -> None:
        invocation.status = invocation.details = "InProgress"
        self._tell(invocation, invocation.starts_at)
        script = invocation.script
        if self._host is not None and script is not None and (invocation.forced is None or invocation.forced[2]):
            invocation.on_host = True
            self._host.run(script, partial(self._ran, invocation))

    def _ran(self, invocation: Invocation, outcome: Outcome) -> None:
        """A host has run the script."""
        with self._lock:
            invocation.on_host = False
            invocation.ends_at = self._now()
            self._end(invocation, outcome)

    def _finish(self, invocation: Invocation, at: datetime) -> None:
        error = None
        if invocation.forced is None or invocation.forced[2]:
            parameters = invocation.parameters
            action = next(iter(parameters.get("action", [])), "")
            ids = parameters.get("runtimeIds", [])
            error = self._tasks.host_command(invocation.instance_id, action, ids, at)
        self._end(invocation, Outcome(0) if error is None else Outcome(1, error_output=error))

    def _end(self, invocation: Invocation, outcome: Outcome) -> None:
        """Give the invocation its last status: what a test ordered, or what became of the script."""
        _decide(invocation, outcome)
        self._tell(invocation, invocation.ends_at)

    def _tell(self, invocation: Invocation, at: datetime) -> None:
        """https://docs.aws.amazon.com/systems-manager/latest/userguide/monitoring-systems-manager-event-examples.html"""
        instance = f"instance/{invocation.instance_id}"
        self._events.append(
            {
                "version": "0",
                "id": self._uuid(),
                "detail-type": "EC2 Command Invocation Status-change Notification",
                "source": "aws.ssm",
                "account": ACCOUNT,
                "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "region": invocation.region,
                "resources": [f"arn:aws:ec2:{invocation.region}:{ACCOUNT}:{instance}"],
                "detail": {
                    "command-id": invocation.command_id,
                    "document-name": invocation.document,
                    "instance-id": invocation.instance_id,
                    "requested-date-time": _stamp(invocation.requested_at),
                    "status": invocation.status,
                },
            }
        )

    # ── requests ──

    def handle(self, operation: str, parameters: dict[str, Any], region: str = REGION) -> dict[str, Any]:
        """Answer one of OPERATIONS: parameters and result as in the SSM API. Raises AwsError."""
        with self._lock:
            now = self._now()
            self.advance(now)
            match operation:
                case "SendCommand":
                    return self._send(parameters, region, now)
                case "GetCommandInvocation":
                    return self._get(parameters, now)
                case "ListCommandInvocations":
                    return self._list(parameters)
        raise ValueError(f"not simulated: {operation}")

    def _send(self, parameters: dict[str, Any], region: str, now: datetime) -> dict[str, Any]:
        name = str(parameters.get("DocumentName", ""))
        content = self._document(name, region)
        if content is None:
            raise AwsError("InvalidDocument", f"Document with name {name} does not exist.")
        values = check_parameters(content, parameters.get("Parameters") or {})
        instance_ids = [str(instance_id) for instance_id in parameters.get("InstanceIds") or []]
        for target in parameters.get("Targets") or []:
            if target.get("Key") == "InstanceIds":
                instance_ids.extend(target.get("Values") or [])
        known = {instance.ec2_instance_id for instance in self._tasks.instances(region)} - self._disconnected
        unknown = [instance_id for instance_id in instance_ids if instance_id not in known]
        if unknown or not instance_ids:
            raise AwsError("InvalidInstanceId", f"Instances [{', '.join(unknown)}] not in a valid state.")
        command_id = self._uuid()
        script = None if self._host is None else render(content, values)
        forced = self._forced.pop(0) if self._forced else None
        for instance_id in instance_ids:
            self._invocations[(command_id, instance_id)] = Invocation(
                command_id,
                instance_id,
                name,
                values,
                str(parameters.get("Comment", "")),
                region,
                requested_at=now,
                starts_at=now + self._delay / 2,
                ends_at=now + self._delay,
                forced=None if forced is None else (forced.status, forced.response_code, forced.after_effect),
                script=script,
            )
        return {
            "Command": {
                "CommandId": command_id,
                "DocumentName": name,
                "DocumentVersion": str(parameters.get("DocumentVersion", "$DEFAULT")),
                "Comment": str(parameters.get("Comment", "")),
                "Parameters": values,
                "InstanceIds": instance_ids,
                "Targets": parameters.get("Targets") or [],
                "RequestedDateTime": now,
                "ExpiresAfter": now + timedelta(seconds=int(parameters.get("TimeoutSeconds", 3600))),
                "Status": "Pending",
                "StatusDetails": "Pending",
                "TargetCount": len(instance_ids),
                "CompletedCount": 0,
                "ErrorCount": 0,
                "DeliveryTimedOutCount": 0,
            }
        }

    def _get(self, parameters: dict[str, Any], now: datetime) -> dict[str, Any]:
        key = (str(parameters.get("CommandId")), str(parameters.get("InstanceId")))
        invocation = self._invocations.get(key)
        if invocation is None or now - invocation.requested_at < UNKNOWN_FOR:
            raise AwsError("InvocationDoesNotExist", "An error occurred: the invocation does not exist.")
        started = invocation.status != "Pending"
        return {
            "CommandId": invocation.command_id,
            "InstanceId": invocation.instance_id,
            "Comment": invocation.comment,
            "DocumentName": invocation.document,
            "DocumentVersion": "$DEFAULT",
            "PluginName": "aws:runShellScript",
            "ResponseCode": invocation.response_code,
            "ExecutionStartDateTime": _stamp(invocation.starts_at) if started else "",
            "ExecutionEndDateTime": _stamp(invocation.ends_at) if invocation.ended else "",
            "Status": invocation.status,
            "StatusDetails": invocation.details,
            "StandardOutputContent": invocation.output,
            "StandardOutputUrl": "",
            "StandardErrorContent": invocation.error_output,
            "StandardErrorUrl": "",
        }

    def _list(self, parameters: dict[str, Any]) -> dict[str, Any]:
        command_id, instance_id = parameters.get("CommandId"), parameters.get("InstanceId")
        return {
            "CommandInvocations": [
                {
                    "CommandId": invocation.command_id,
                    "InstanceId": invocation.instance_id,
                    "Comment": invocation.comment,
                    "DocumentName": invocation.document,
                    "DocumentVersion": "$DEFAULT",
                    "RequestedDateTime": invocation.requested_at,
                    "Status": invocation.status,
                    "StatusDetails": invocation.details,
                    "CommandPlugins": [],
                }
                for invocation in self._invocations.values()
                if command_id in (None, invocation.command_id) and instance_id in (None, invocation.instance_id)
            ]
        }

    def _uuid(self) -> str:
        digits = f"{self._rng.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    # ── controls of a test ──

    def fail_next(
        self, times: int = 1, status: str = "Failed", response_code: int = 1, after_effect: bool = False
    ) -> None:
        """The next commands end with this status and, unless after_effect, change nothing.

        status: Failed, TimedOut, DeliveryTimedOut or Undeliverable. response_code: the script's, for Failed.
        """
        if status not in OUTCOMES:
            raise ValueError(f"status must be one of {', '.join(OUTCOMES)}")
        with self._lock:
            self._forced.extend(_Forced(status, response_code, after_effect) for _ in range(times))

    def disconnect(self, instance_id: str) -> None:
        """The instance's agent is out of reach: SendCommand answers InvalidInstanceId."""
        with self._lock:
            self._disconnected.add(instance_id)

    def connect(self, instance_id: str) -> None:
        """Undo `disconnect`."""
        with self._lock:
            self._disconnected.discard(instance_id)

    def invocations(self) -> list[Invocation]:
        """Every invocation, in the order of the commands."""
        with self._lock:
            self.advance(self._now())
            return list(self._invocations.values())


def _decide(invocation: Invocation, outcome: Outcome) -> None:
    if invocation.forced is not None:
        ordered, code, _ = invocation.forced
        invocation.status, invocation.details = OUTCOMES[ordered]
        invocation.response_code = code if ordered == "Failed" else -1
        if ordered == "Failed":
            invocation.error_output = "failed to run commands: an injected fault"
        return
    invocation.output = outcome.output[:MAX_OUTPUT]
    invocation.error_output = outcome.error_output[:MAX_ERROR_OUTPUT]
    if outcome.exit_code is None:
        invocation.status, invocation.details = OUTCOMES["TimedOut"]
    else:
        invocation.status = invocation.details = "Failed" if outcome.exit_code else "Success"
        invocation.response_code = outcome.exit_code


def _stamp(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
