"""The simulated operations of Run Command, and the state changes of commands."""

import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from local.emulator.ecs import REGION, TaskSimulation
from local.emulator.errors import AwsError
from local.emulator.ssm.documents import check_parameters, render, timeout_of
from local.emulator.ssm.invocations import OUTCOMES, CommandPlan, Forced, Host, Invocation, Outcome
from local.emulator.ssm.scripts import ScriptRun, SimulatedScripts

UNKNOWN_FOR = timedelta(milliseconds=20)


class CommandSimulation:
    """SendCommand, GetCommandInvocation and ListCommandInvocations, and controls for tests.

    Args:
        tasks: The tasks that commands act on.
        document: Returns the content of a document by name and region, or None.
        now: The clock.
        command_delay: Seconds from SendCommand to the end of a command: half until the script starts, half until it
            ends.
        rng: The source of ids; seed it for a reproducible simulation.
        host: Runs the scripts of documents; by default they act on the simulated tasks.
        plan: Called once per SendCommand; replaces `command_delay`. With a host, only the delivery applies.
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
        plan: Callable[[], CommandPlan] | None = None,
    ) -> None:
        self._tasks = tasks
        self._host = host
        self._plan = plan
        self._scripts = SimulatedScripts(tasks)
        self._document = document
        self._now = now
        self._delay = timedelta(seconds=command_delay)
        self._rng = rng or random.Random()
        self._lock = threading.RLock()
        self._invocations: dict[tuple[str, str], Invocation] = {}
        self._pending: list[Invocation] = []  # not ended
        self._forced: list[Forced] = []
        self._events: list[dict[str, Any]] = []
        self._disconnected: set[str] = set()

    # ── time ──

    def advance(self, now: datetime) -> None:
        """Carry out the changes that are due by `now`, in order of time."""
        with self._lock:
            while True:
                script_due, status_due = self._scripts.next_due(), self._status_due()
                due = min((each for each in (script_due, status_due) if each is not None), default=None)
                if due is None or due > now:
                    return
                # A script that ends exactly at its timeout has not timed out.
                if due == script_due:
                    self._scripts.step()
                else:
                    self._change_status(next(each for each in self._pending if each.due == due), due)

    def next_due(self) -> datetime | None:
        """Return the time of the next change, or None."""
        with self._lock:
            dues = (self._scripts.next_due(), self._status_due())
            return min((due for due in dues if due is not None), default=None)

    def _status_due(self) -> datetime | None:
        return min((each.due for each in self._pending if each.due is not None), default=None)

    def drain_events(self) -> list[dict[str, Any]]:
        """Return the EventBridge events of the invocations since the last call, in order."""
        with self._lock:
            events, self._events = self._events, []
            return events

    def _change_status(self, invocation: Invocation, at: datetime) -> None:
        if invocation.status != "Pending":
            # A test has forced the outcome, or the script has timed out.
            self._end(invocation, Outcome(None), at)
        elif invocation.plan.runs or invocation.forced is not None:
            self._begin(invocation, at)
        else:
            self._pending.remove(invocation)
            invocation.not_delivered(at)
            self._report(invocation, at)

    def _begin(self, invocation: Invocation, at: datetime) -> None:
        invocation.begin(at)
        self._report(invocation, at)
        plan = invocation.plan
        take = timedelta(seconds=plan.take)
        if not invocation.acts:
            invocation.due = at + take
        elif self._host is not None and invocation.script is not None:
            self._host.run(invocation.script, partial(self._ran_on_host, invocation))
        else:
            invocation.due = at + invocation.timeout
            for repeat in range(max(plan.runs, 1)):
                ended = partial(self._end, invocation) if repeat == 0 else _ignore
                start = at + repeat * timedelta(seconds=plan.second_after)
                self._scripts.add(ScriptRun.of(invocation.instance_id, invocation.parameters, take, start, ended))

    def _ran_on_host(self, invocation: Invocation, outcome: Outcome) -> None:
        with self._lock:
            self._end(invocation, outcome, self._now())

    def _end(self, invocation: Invocation, outcome: Outcome, at: datetime) -> None:
        """Report the end of a script, unless it has already timed out."""
        if not invocation.ended:
            self._pending.remove(invocation)
            invocation.end(outcome, at)
            self._report(invocation, at)

    def _report(self, invocation: Invocation, at: datetime) -> None:
        self._events.append(invocation.to_event(self._uuid(), at))

    # ── requests ──

    def handle(self, operation: str, parameters: dict[str, Any], region: str = REGION) -> dict[str, Any]:
        """Perform one of OPERATIONS. Parameters and result are those of the SSM API. Raises AwsError."""
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
        plan = self._drawn()
        timeout = int(parameters.get("TimeoutSeconds", 3600))
        undelivered = not plan.runs and forced is None
        for instance_id in instance_ids:
            invocation = Invocation(
                command_id,
                instance_id,
                name,
                values,
                str(parameters.get("Comment", "")),
                region,
                requested_at=now,
                plan=plan,
                timeout=timedelta(seconds=timeout_of(content)),
                due=now + timedelta(seconds=timeout if undelivered else plan.deliver_after),
                forced=forced,
                script=script,
            )
            self._invocations[(command_id, instance_id)] = invocation
            self._pending.append(invocation)
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
                "ExpiresAfter": now + timedelta(seconds=timeout),
                "Status": "Pending",
                "StatusDetails": "Pending",
                "TargetCount": len(instance_ids),
                "CompletedCount": 0,
                "ErrorCount": 0,
                "DeliveryTimedOutCount": 0,
            }
        }

    def _drawn(self) -> CommandPlan:
        """Return the plan of the next command."""
        if self._plan is not None:
            return self._plan()
        half = self._delay.total_seconds() / 2
        return CommandPlan(deliver_after=half, take=half)

    def _get(self, parameters: dict[str, Any], now: datetime) -> dict[str, Any]:
        key = (str(parameters.get("CommandId")), str(parameters.get("InstanceId")))
        invocation = self._invocations.get(key)
        if invocation is None or now - invocation.requested_at < UNKNOWN_FOR:
            raise AwsError("InvocationDoesNotExist", "An error occurred: the invocation does not exist.")
        return invocation.to_api()

    def _list(self, parameters: dict[str, Any]) -> dict[str, Any]:
        command_id, instance_id = parameters.get("CommandId"), parameters.get("InstanceId")
        return {
            "CommandInvocations": [
                invocation.to_list_api()
                for invocation in self._invocations.values()
                if command_id in (None, invocation.command_id) and instance_id in (None, invocation.instance_id)
            ]
        }

    def _uuid(self) -> str:
        digits = f"{self._rng.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    # ── controls ──

    def fail_next(
        self, times: int = 1, status: str = "Failed", response_code: int = 1, after_effect: bool = False
    ) -> None:
        """End the next commands with a status. Unless `after_effect`, they change nothing.

        Args:
            status: Failed, TimedOut, DeliveryTimedOut or Undeliverable.
            response_code: The exit code of the script, for Failed.
        """
        if status not in OUTCOMES:
            raise ValueError(f"status must be one of {', '.join(OUTCOMES)}")
        with self._lock:
            self._forced.extend(Forced(status, response_code, after_effect) for _ in range(times))

    def disconnect(self, instance_id: str) -> None:
        """Disconnect the agent of an instance: SendCommand returns InvalidInstanceId."""
        with self._lock:
            self._disconnected.add(instance_id)

    def connect(self, instance_id: str) -> None:
        """Undo `disconnect`."""
        with self._lock:
            self._disconnected.discard(instance_id)

    def invocations(self) -> list[Invocation]:
        """Return all invocations, in the order of the commands."""
        with self._lock:
            self.advance(self._now())
            return list(self._invocations.values())


def _ignore(outcome: Outcome, at: datetime) -> None:
    """Ignore the end of a repeated run, which SSM does not report."""
