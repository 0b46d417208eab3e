"""The results of attempts at steps: what was observed, and what else the attempt has found."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from longshore.domain.facts import Observed
from longshore.domain.ledger import Ledger
from longshore.domain.service import Scaling, Service
from longshore.domain.task import Task


class Reached(NamedTuple):
    """The step's goal was observed."""

    at: datetime
    facts: Observed = Observed()
    task: Task | None = None  # as it was observed; the task of a start may have ended already
    attributes: Mapping[str, Any] = MappingProxyType({})  # further attributes of the container from now on


class Ended(NamedTuple):
    """The task had ended on its own before the step could act on it."""

    at: datetime
    task: Task | None  # None: it is gone, or there was none


class NeverRan(NamedTuple):
    """The task of a start stopped before it was running."""

    at: datetime
    reason: str
    task: Task | None  # None: it is gone, and ECS never showed it running


class Unobserved(NamedTuple):
    """The step's goal was not observed within the wait. It may still be reached."""

    reason: str
    task: Task | None = None  # the task of a start, as it was last seen


class Launched(NamedTuple):
    """A start has run its task, whose ARN must be stored before the wait, so that events of the task are recognized."""

    task: Task


class Changed(NamedTuple):
    """Another worker has changed the operation during the wait: in most cases, an event has completed it."""

    task: Task | None  # the task of a start, as it was last seen


class Plan(NamedTuple):
    """The calls that change a service: what a step still has to do, and what it depends on."""

    until: datetime  # every call must be over by then
    desired: int | None = None  # the new count; None: unchanged
    roll: bool = False  # start a new deployment
    suspend: bool = False  # suspend the scaling, before the count is changed
    restore: Scaling | None = None  # restore this scaling, after the count was changed
    undo: Scaling | None = None  # restore this scaling if ECS refuses the count


class Noting(NamedTuple):
    """Attributes have to be stored before the attempt continues.

    A step stores what the next driver must know before it changes a service, and that all its calls were answered.
    """

    attributes: Mapping[str, Any]  # of the container
    service_change: Mapping[str, Any]  # of the pending operation's `service`
    plan: Plan | None = None  # the calls to make next
    service: Service | None = None  # as the calls have left it


class TokenExpired(NamedTuple):
    """ECS may have forgotten the client token, and no task of it exists. A new token is needed."""


class Reverted(NamedTuple):
    """A pause that was given up cannot take effect any more: Systems Manager has accepted the unpause."""


class NoEffect(NamedTuple):
    """The request was refused. An earlier call of the attempt may have had an effect if `Findings.acted` is set."""

    reason: str
    final: bool = False  # a repeat with the same client token would be refused again


class Uncertain(NamedTuple):
    """A service failed, and it is not known whether the step took effect."""

    reason: str
    throttled: bool = False  # the service will accept the same request later


Observation = (
    Reached
    | Ended
    | NeverRan
    | Unobserved
    | Launched
    | Changed
    | Noting
    | TokenExpired
    | Reverted
    | NoEffect
    | Uncertain
)


class Findings(NamedTuple):
    """The findings of an attempt besides its observation. See the attributes of `Attempt`."""

    acted: bool = False
    on_its_way: bool = False
    tasks: Ledger | None = None  # None: as it was
    sent_command: str | None = None
    absent: Mapping[str, datetime] = MappingProxyType({})  # services that were not found, by their name
    attributes: Mapping[str, Any] = MappingProxyType({})  # of the container; written with the row of a failure


class Result(NamedTuple):
    """The result of one attempt at a step."""

    observation: Observation
    findings: Findings
