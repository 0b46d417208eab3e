"""ECS with the delays, inconsistencies and quotas that its documentation allows.

Sources: "Ensuring idempotency" and the pages of RunTask, StopTask and DescribeTasks in the ECS API reference. The page
of RunTask advises retrying DescribeTasks for up to five minutes.

The engine relies on these limits, so the model keeps them:
- A task is visible at the latest five minutes after its RunTask, and 25 seconds after ECS first showed it (by
DescribeTasks, StopTask, ListTasks or an event).
- An older task disappears from DescribeTasks, StopTask or both for less than 25 seconds at a time. It disappears again
only if it has been seen since, at least 60 seconds later, and if its container's item no longer records the earlier
absence.

`absences` breaks the last limit: a known task is in no answer for minutes, and then ECS shows it again. The engine may
conclude that it is gone, but has to end it when it is shown again.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local.emulator.ecs import Cluster, SimulatedTask, TaskSimulation
from local.emulator.ecs.quotas import Limit, Quotas
from local.emulator.errors import AwsError
from simulation.alive import Alive
from simulation.hostility import Hostility, Reached
from simulation.scheduler import Actor

_LONGEST_UNSEEN = 300.0  # seconds after RunTask
_LONGEST_FLICKER = 25.0  # seconds
_BETWEEN_FLICKERS = 60.0  # seconds
_VIEWS = ("StopTask", "DescribeTasks", "ListTasks")


@dataclass
class _Sight:
    """The visibility of a task. `hidden_until` has an entry per kind of request that does not find the new task yet."""

    hidden_until: dict[str, datetime] = field(default_factory=dict)
    flicker_of: tuple[str, ...] = ()
    flicker_until: datetime | None = None
    may_flicker_from: datetime | None = None  # None: not shown yet
    shown: bool = True  # whether the last request found the task
    missed_by: set[Actor] = field(default_factory=set)  # actors whose last request did not find the task


class HostileEcs:
    """Answers requests from the simulated tasks, but hides tasks and throttles according to the run's settings.

    Args:
        tasks: The simulated tasks.
        hostility: The run's settings.
        now: Returns the virtual time.
        rng: The random stream.
        reached: Counts a behaviour that affects the code under test.
        notes_absence: Returns whether the container's item still records that the task was not found.
    """

    def __init__(
        self,
        tasks: TaskSimulation,
        hostility: Hostility,
        now: Callable[[], datetime],
        rng: random.Random,
        reached: Callable[[Reached], None],
        notes_absence: Callable[[SimulatedTask], bool] = lambda _: False,
    ) -> None:
        self._tasks = tasks
        self._hostility = hostility
        self._now = now
        self._rng = rng
        self._reached = reached
        self._notes_absence = notes_absence
        self._sights: dict[str, _Sight] = {}
        limit = Limit(hostility.quota, hostility.quota_burst)
        self.quotas = Quotas({"actions": limit, "reads": limit} if hostility.quota else {}, now)
        self._used: set[str] = set()  # client tokens
        self._last_token: dict[str, str] = {}  # startedBy: client token
        self._failed: set[str] = set()  # client tokens for which RunTask returned failures
        self.on = True
        self.unlisted: set[str] = set()  # ARNs of tasks that a ListTasks did not return
        self.absent: dict[str, datetime] = {}  # ARN: until when no answer contains the task
        self.alive: Alive | None = None

    def handle(self, actor: Actor, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Answer a request of the ECS API. Raises AwsError."""
        if operation == "DescribeContainerInstances":
            return self._describe_instances(parameters)
        if self.on and not self.quotas.allow(operation, parameters):
            self._reached(Reached.THROTTLED)
            raise AwsError("ThrottlingException", "Rate exceeded")
        match operation:
            case "RunTask":
                return self._run(parameters)
            case "StopTask":
                return self._stop(actor, parameters)
            case "DescribeTasks":
                return self._describe(actor, parameters)
            case "ListTasks":
                return self._list(actor, parameters)
        return self._tasks.handle(operation, parameters)

    def hide(self, arn: str, seconds: float) -> None:
        """Let no answer contain a task for some time."""
        self.absent[arn] = self._now() + timedelta(seconds=seconds)

    def shown(self, arn: str, actor: Actor | None = None) -> bool:
        """Record that an event shows the task to an actor. Returns whether ECS's API does not return it yet."""
        task, sight = self._tasks._tasks.get(arn), self._sights.get(arn)
        if self.alive is not None and actor is not None:
            self.alive.shows_again(actor, arn)
        if task is None or sight is None:
            return False
        early = self.on and any(until > self._now() for until in sight.hidden_until.values())
        self._seen(sight)
        return early

    def expired(self, token: str, cluster: Cluster) -> bool:
        """Return whether ECS has forgotten a used client token."""
        known = self._tasks._tokens.get((cluster.arn, token))
        if token not in self._used:
            return False
        if known is None:
            return True
        old = self._now() - known.used_at >= timedelta(hours=24)
        return old or bool(known.task_arns and not any(arn in self._tasks._tasks for arn in known.task_arns))

    # --- requests --------------------------------------------------------------------------------------------------

    def _run(self, parameters: dict[str, Any]) -> dict[str, Any]:
        token = str(parameters.get("clientToken") or "")
        cluster = self._tasks._cluster(parameters, "us-east-1")
        if self.expired(token, cluster):
            self._reached(Reached.TOKEN_EXPIRED)
        try:
            answer = self._tasks.handle("RunTask", parameters)
        except AwsError as error:
            if error.code == "ConflictException":
                self._reached(Reached.TOKEN_CONFLICT)
            raise
        self._used.add(token)
        self._last_token[str(parameters.get("startedBy"))] = token
        if answer["failures"] and not answer["tasks"]:
            if token in self._failed:
                remembered = self._hostility.failures_remembered
                self._reached(Reached.FAILURE_REPEATED if remembered else Reached.FAILURE_FORGOTTEN)
            self._failed.add(token)
            if not self._hostility.failures_remembered:
                self._tasks._tokens.pop((cluster.arn, token), None)
        elif token in self._failed and not self._hostility.failures_remembered:
            self._reached(Reached.FAILURE_FORGOTTEN)
        for task in answer["tasks"]:
            if task["taskArn"] not in self._sights:
                self._sights[task["taskArn"]] = self._new_sight()
        return answer

    def _new_sight(self) -> _Sight:
        most = (self._hostility.stop_unknown, self._hostility.missing, self._hostility.unlisted)
        hidden = {}
        for view, longest in zip(_VIEWS, most, strict=True):
            if longest:
                # Usually a few seconds. ListTasks, which is called rarely, lags longer.
                short = view != "ListTasks" and self._rng.random() < 0.6
                drawn = self._rng.uniform(0, min(longest, 5.0) if short else longest)
                hidden[view] = self._now() + timedelta(seconds=min(drawn, _LONGEST_UNSEEN))
        return _Sight(hidden)

    def _stop(self, actor: Actor, parameters: dict[str, Any]) -> dict[str, Any]:
        arn = str(parameters["task"])
        if self._is_hidden(actor, arn, "StopTask"):
            raise AwsError("InvalidParameterException", "The referenced task was not found.")
        return self._tasks.handle("StopTask", parameters)

    def _describe(self, actor: Actor, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = self._tasks.handle("DescribeTasks", parameters)
        hidden = [t["taskArn"] for t in answer["tasks"] if self._is_hidden(actor, t["taskArn"], "DescribeTasks")]
        answer["tasks"] = [task for task in answer["tasks"] if task["taskArn"] not in hidden]
        answer["failures"] += [{"arn": arn, "reason": "MISSING"} for arn in hidden]
        return answer

    def _list(self, actor: Actor, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = self._tasks.handle("ListTasks", parameters)
        token = self._last_token.get(str(parameters.get("startedBy")), "")
        if self.expired(token, self._tasks._cluster(parameters, "us-east-1")):
            # The engine searches for the task of a token that it can no longer use.
            self._reached(Reached.TOKEN_EXPIRED)
        of_whom = "startedBy" in parameters
        hidden = [arn for arn in answer["taskArns"] if self._is_hidden(actor, arn, "ListTasks", of_whom=of_whom)]
        self.unlisted.update(hidden)
        answer["taskArns"] = [arn for arn in answer["taskArns"] if arn not in hidden]
        return answer

    def _describe_instances(self, parameters: dict[str, Any]) -> dict[str, Any]:
        instances = {instance.arn: instance for instance in self._tasks.instances()}
        found = [instances[arn] for arn in parameters["containerInstances"] if arn in instances]
        return {"containerInstances": [{"ec2InstanceId": instance.ec2_instance_id} for instance in found]}

    # --- visibility -------------------------------------------------------------------------------------------------

    def _is_hidden(self, actor: Actor, arn: str, view: str, *, of_whom: bool = True) -> bool:
        """Return whether an answer does not contain the task. `of_whom`: whether it tells whose task it is."""
        hidden = self._hides(actor, arn, view)
        if not hidden and of_whom and self.alive is not None and arn in self.alive.hidden:
            self._reached(Reached.RETURNED)
            self.alive.shows_again(actor, arn)
        return hidden

    def _hides(self, actor: Actor, arn: str, view: str) -> bool:
        task = self._tasks._tasks.get(arn)
        if task is None:
            return False
        if self._is_absent(arn):
            return True
        if not self.on:
            return False
        # A task that existed before the run counts as shown.
        sight = self._sights.setdefault(arn, _Sight(may_flicker_from=task.created_at))
        now = self._now()
        until = sight.hidden_until.get(view)
        if until is not None and now < until:
            if view != "ListTasks":
                self._missed(sight, actor)
            self._reached(
                {
                    "StopTask": Reached.STOP_UNKNOWN_NEW,
                    "DescribeTasks": Reached.MISSING_NEW,
                    "ListTasks": Reached.UNLISTED,
                }[view]
            )
            return True
        if view == "ListTasks":
            self._seen(sight)
            return False
        if self._flickers(task, sight, view, now):
            self._missed(sight, actor)
            stops = view == "StopTask"
            self._reached(Reached.STOP_UNKNOWN_FLICKER if stops else Reached.MISSING_FLICKER)
            return True
        self._seen(sight, actor)
        return False

    def _is_absent(self, arn: str) -> bool:
        """Return whether no answer contains the task for minutes."""
        if arn not in self.absent or self.alive is None:
            return False
        if self.on and self._now() < self.absent[arn]:
            self._reached(Reached.ABSENT)
            self.alive.hides(arn)
            return True
        return False

    @staticmethod
    def _missed(sight: _Sight, actor: Actor | None) -> None:
        if actor is not None:
            sight.shown = False
            sight.missed_by.add(actor)

    def _seen(self, sight: _Sight, actor: Actor | None = None) -> None:
        now = self._now()
        soon = now + timedelta(seconds=self._rng.uniform(0, _LONGEST_FLICKER))
        sight.hidden_until = {view: min(until, soon) for view, until in sight.hidden_until.items() if until > now}
        if sight.may_flicker_from is None:
            sight.may_flicker_from = now + timedelta(seconds=_BETWEEN_FLICKERS)
        if actor is not None:
            sight.shown = True
            sight.missed_by.discard(actor)

    def _flickers(self, task: SimulatedTask, sight: _Sight, view: str, now: datetime) -> bool:
        if sight.flicker_until is not None and now < sight.flicker_until:
            return view in sight.flicker_of
        rates = {"StopTask": self._hostility.stop_flickers, "DescribeTasks": self._hostility.missing_flickers}
        if sight.may_flicker_from is None or now < sight.may_flicker_from or self._rng.random() >= rates[view]:
            return False
        if not self._may_flicker(task, sight):
            return False
        both = self._rng.random() < 0.5
        sight.flicker_of = tuple(name for name, rate in rates.items() if rate and (name == view or both))
        sight.flicker_until = now + timedelta(seconds=self._rng.uniform(0.1, _LONGEST_FLICKER))
        sight.may_flicker_from = sight.flicker_until + timedelta(seconds=_BETWEEN_FLICKERS)
        return True

    def _may_flicker(self, task: SimulatedTask, sight: _Sight) -> bool:
        """Return whether no actor relies on a request that did not find the task.

        The protocol assumes that at least one of two requests 30 seconds apart finds a task that ECS has shown.
        """
        relies = any(not actor.ended and not actor.crashed for actor in sight.missed_by)
        return sight.shown and not relies and not self._notes_absence(task)
