"""Checks of a container's item and rows against the invariants. Pure: takes items as plain values, returns faults.

docs/administer.md, "Check", describes the invariants. Rows are checked one by one, because a history may have millions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from longshore.aws.items import container_item
from longshore.aws.older_form import without_older_form
from longshore.domain.clock import to_text
from longshore.domain.ledger import arns
from longshore.domain.lifecycle import LIVE, Status
from longshore.domain.models import Container, StatusLog
from longshore.domain.pages import rank_key
from longshore.domain.ranges import NO_ROWS, NO_STATUS, Counts, shortened
from longshore.domain.service import Scaling, Service
from longshore.domain.task import Task
from longshore.domain.times import EARLIEST
from longshore.engine.settle import LAST_ATTEMPT, ON_ITS_WAY
from pydantic import ValidationError

from admin.values import is_id

Item = Mapping[str, Any]

GRACE = timedelta(minutes=2)
"""Time that events and sweeps may take. Until it has passed, unfinished work is not a fault."""

INDEX_KEYS = ("live_project_id", "pending_shard", "pending_deadline")

_SHOWN = 5  # faults shown per code and container; further faults are only counted


class Code(StrEnum):
    """Codes of faults, each with the number of the invariant that it violates."""

    TASK_MISSING = "TASK_MISSING"  # 1: the container is running or paused, but its task is not running
    TASK_UNEXPECTED = "TASK_UNEXPECTED"  # 1: a task is running that the container should not have
    SERVICE_MISSING = "SERVICE_MISSING"  # 1: ECS has no service for the container
    SERVICE_DIFFERS = "SERVICE_DIFFERS"  # 1: the service runs other tasks than the container should have
    SCALING_HELD = "SCALING_HELD"  # 1: the service runs, and its scaling is still suspended
    CHAIN_BROKEN = "CHAIN_BROKEN"  # 2: a row does not follow from the previous row
    STATUS_DIFFERS = "STATUS_DIFFERS"  # 2: the item's status is not that of the last row
    COUNTER_WRONG = "COUNTER_WRONG"  # 3: a counter of the item does not equal the count of the rows
    RANK_WRONG = "RANK_WRONG"  # 3: a rank or counter of a row does not equal the count of the rows up to it
    ROW_MALFORMED = "ROW_MALFORMED"  # 4: the API cannot return the row
    ITEM_MALFORMED = "ITEM_MALFORMED"  # 4: the functions cannot read the item
    INDEX_WRONG = "INDEX_WRONG"  # 4: the keys of a sparse index do not match the status and the operation
    CLUSTER_UNKNOWN = "CLUSTER_UNKNOWN"  # 5: the stack has no access to the container's cluster
    OVERDUE = "OVERDUE"  # 5: no sweep continues the operation
    HISTORY_FULL = "HISTORY_FULL"  # the history accepts no more rows, or only few


ABSENT = frozenset({Code.TASK_MISSING, Code.SERVICE_MISSING})
"""Faults of what is gone. If ECS does not show it, they are certain only if a second lookup half a minute later does
not find it either; the caller makes that lookup."""

STATE = ABSENT | {Code.TASK_UNEXPECTED, Code.SERVICE_DIFFERS, Code.SCALING_HELD, Code.OVERDUE}
"""Faults that compare the item with ECS or the clock. They are certain only while the item does not change."""


@dataclass(frozen=True)
class Fault:
    """A violated invariant, with a message for the operator."""

    code: Code
    message: str


@dataclass(frozen=True)
class Place:
    """The key of a row, and its correct ranks and counters."""

    transition_time: str
    attributes: Mapping[str, Any]


@dataclass
class History:
    """The result of checking all rows that are shown: the faults, and the correct counters and ranks."""

    faults: list[Fault] = field(default_factory=list)
    count: int = 0
    to_counts: Counter[str] = field(default_factory=Counter)
    from_counts: Counter[str] = field(default_factory=Counter)
    last: Item | None = None
    misplaced: list[Place] = field(default_factory=list)

    @property
    def is_chain(self) -> bool:
        """Whether the rows form a valid chain, so that counters can be computed from them."""
        return not any(fault.code in (Code.CHAIN_BROKEN, Code.ROW_MALFORMED) for fault in self.faults)

    def summary(self, item: Item) -> dict[str, Any]:
        """Return the attributes of the item that are computed from the rows."""
        assert self.last is not None
        attributes = {
            "log_count": self.count,
            "to_counts": dict(self.to_counts),
            "from_counts": dict(self.from_counts),
            "last_transition_time": self.last["transition_time"],
            "last_created_at": self.last["created_at"],
        }
        # When the history has reached DynamoDB's limit, the last status change has no row.
        return attributes if item.get("history_full") else attributes | {"status_since": self.last["transition_time"]}


def history(item: Item, rows: Iterable[Item], floor: str = EARLIEST, before: Counts = NO_ROWS) -> History:
    """Check each row against the previous row, and all rows against the item.

    Args:
        item: The container's item.
        rows: The container's rows from the floor on, in order of `transition_time`.
        floor: The time from which on all rows must exist.
        before: The counters before the first row.
    """
    found = History(
        count=before.log_count, to_counts=Counter(before.to_counts), from_counts=Counter(before.from_counts)
    )
    for row in rows:
        _check_row(found, row)
    if found.last is None:
        if not before.log_count or str(item.get("last_transition_time")) >= floor:
            found.faults.append(Fault(Code.CHAIN_BROKEN, "the history has no rows"))
    else:
        found.faults += _compare(item, found)
    return found


def moment(item: Item, name: str) -> datetime | None:
    """Return a time of an item or row, or None if it is missing, malformed or without a time zone."""
    try:
        found = datetime.fromisoformat(str(item.get(name)))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _check_row(found: History, row: Item) -> None:
    before, number = found.last, found.count + 1
    at = row.get("transition_time")
    for message in _breaks(before, row, number):
        found.faults.append(Fault(Code.CHAIN_BROKEN, f"the row at {at} {message}"))
    malformed = _malformed(row)
    if malformed:
        found.faults.append(Fault(Code.ROW_MALFORMED, f"the row at {at} {malformed}"))
    to_status, from_status = str(row.get("to_status", "")), row.get("from_status")
    found.count = number
    found.to_counts[to_status] += 1
    found.from_counts[from_status or NO_STATUS] += 1
    ranks = {
        "to_rank": rank_key(to_status, found.to_counts[to_status]),
        "from_rank": rank_key(from_status, found.from_counts[from_status or NO_STATUS]),
    }
    wanted = ranks | {"to_n": shortened(found.to_counts), "from_n": shortened(found.from_counts)}
    wrong = [name for name, value in wanted.items() if row.get(name) != value]
    if wrong:
        found.misplaced.append(Place(str(at), wanted))
        differs = ", ".join(f"{name} {row.get(name)}, not {wanted[name]}" for name in wrong)
        found.faults.append(Fault(Code.RANK_WRONG, f"the row at {at} has the {differs}"))
    found.last = row


def _breaks(before: Item | None, row: Item, number: int) -> Iterable[str]:
    if row.get("seq") != number:
        yield f"has seq {row.get('seq')}, not {number}"
    expected = None if before is None else before.get("to_status")
    # The row before the first row that is shown may be deleted. Its status is not known.
    if row.get("from_status") != expected and (before is not None or number == 1):
        yield f"has from_status {row.get('from_status')}, not {expected}"
    created, previous = moment(row, "created_at"), moment(before or {}, "created_at")
    if created is not None and previous is not None and created < previous:
        yield "has a created_at before that of the previous row"


def _malformed(row: Item) -> str | None:
    try:
        log = StatusLog.model_validate({"from_status": None, **row})
    except ValidationError as error:
        return f"is malformed: {_first_fault(error)}"
    for name in ("transition_time", "created_at"):
        if to_text(getattr(log, name)) != row[name]:
            return f"has the {name} {row[name]}, which is not in the API's time format"
    if not is_id(str(row.get("project_id"))):
        return f"has the project_id {row.get('project_id')}, which is not an id"
    return None


def _compare(item: Item, found: History) -> Iterable[Fault]:
    assert found.last is not None
    if item.get("status") != found.last.get("to_status") and not item.get("history_full"):
        yield Fault(
            Code.STATUS_DIFFERS,
            f"status is {item.get('status')}, but to_status of the last row is {found.last.get('to_status')}",
        )
    if not found.is_chain:
        return
    for name, value in found.summary(item).items():
        if item.get(name) != value:
            yield Fault(Code.COUNTER_WRONG, f"{name} is {item.get(name)}, not {value}")


def container_of(item: Item) -> Container | Fault:
    """Parse the item as the functions do. Return a fault if it is malformed."""
    try:
        return Container.model_validate(without_older_form(item))
    except ValidationError as error:
        return Fault(Code.ITEM_MALFORMED, f"the item is malformed: {_first_fault(error)}")
    except (KeyError, TypeError, ValueError, AttributeError):
        return Fault(Code.ITEM_MALFORMED, "the item is malformed: what it states about its tasks cannot be read")


def index_keys(container: Container) -> dict[str, str]:
    """Return the keys of the sparse indexes that the container should have."""
    whole = container_item(container)
    return {name: whole[name]["S"] for name in INDEX_KEYS if name in whole}


def index_faults(item: Item, container: Container) -> list[Fault]:
    """Return a fault for each key of a sparse index that does not match the status and the operation."""
    wanted = index_keys(container)
    return [
        Fault(Code.INDEX_WRONG, f"{name} is {item.get(name)}, not {wanted.get(name)}")
        for name in INDEX_KEYS
        if item.get(name) != wanted.get(name) and not (name == "pending_deadline" and _is_deferred(container))
    ]


def _is_deferred(container: Container) -> bool:
    """Check whether the recovery sweep can have moved the key of a protected container that is due."""
    return container.protection is not None and container.operation is None and container.is_listed


def pending_faults(container: Container, now: datetime, grace: timedelta = GRACE) -> list[Fault]:
    """Return the faults of the pending operation.

    Exceeding the maximum number of attempts is a fault only if the step has also exceeded its maximum duration. Before
    that, further attempts are expected, for example while its task is starting.
    """
    pending = container.operation
    if pending is None:
        return []
    if pending.deadline + grace < now:
        return [Fault(Code.OVERDUE, f"{pending.operation.value} is past its deadline of {to_text(pending.deadline)}")]
    if pending.attempts > LAST_ATTEMPT and pending.begun_at + ON_ITS_WAY + grace < now:
        step = f"{pending.operation.value} has had {pending.attempts} attempts of its step {pending.step.value}"
        return [Fault(Code.OVERDUE, f"{step} since {to_text(pending.begun_at)}")]
    return []


def cluster_faults(container: Container, clusters: Collection[str]) -> list[Fault]:
    """Check that the stack has access to the container's cluster. An expired container needs no cluster."""
    cluster = container.runtime.cluster
    if cluster.rpartition("/")[2] in clusters or container.status is Status.EXPIRED:
        return []
    return [Fault(Code.CLUSTER_UNKNOWN, f"its cluster {cluster} is not a cluster of the stack")]


def limit_faults(container: Container) -> list[Fault]:
    """Return a fault if the history has reached DynamoDB's limit, or nearly so."""
    if not container.history_full and not container.history_large:
        return []
    reached = "has reached" if container.history_full else "is near"
    full = f"the history {reached} DynamoDB's limit of 10 GB: only stop and force-stop are possible"
    return [Fault(Code.HISTORY_FULL, full)]


def task_faults(
    container: Container, own: Task | None, started: Iterable[Task], now: datetime, grace: timedelta = GRACE
) -> list[Fault]:
    """Compare a container with its tasks in ECS. A pending operation or a recent change explains any difference.

    Args:
        container: The container of a task.
        own: The container's task as ECS shows it, or None if ECS does not show it.
        started: The tasks that were started by the container.
        now: The current time (UTC).
        grace: Time that events and sweeps may take.
    """
    recent = now - grace
    if not _is_at_rest(container, recent):
        return []
    alive = own is not None and not own.is_stopped
    live = {task.arn for task in started if not task.is_stopped} | ({own.arn} if own is not None and alive else set())
    faults = []
    if container.status in LIVE and not alive and (own is None or own.stopped_at is None or own.stopped_at < recent):
        seen = "ECS does not show its task" if own is None else f"its task {own.id} has stopped"
        faults.append(Fault(Code.TASK_MISSING, f"the container is {container.status.value}, but {seen}"))
    # Tasks in the ledger that have to end are stopped by a sweep.
    live -= set(arns(container.tasks))
    state = f"the container is {container.status.value}"
    faults += [
        Fault(Code.TASK_UNEXPECTED, f"{state}, and the unexpected task {_last(arn)} is running for it")
        for arn in sorted(live)
    ]
    return faults


def service_faults(
    container: Container,
    service: Service | None,
    scaling: Callable[[], Scaling | None],
    now: datetime,
    grace: timedelta = GRACE,
) -> list[Fault]:
    """Compare a container with its service in ECS. Calls in progress or a recent change explain any difference.

    Args:
        container: The container of a service.
        service: The service as ECS shows it, or None if ECS does not show it.
        scaling: Returns the scaling of the service. None if it is not a scalable target.
        now: The current time (UTC).
        grace: Time that events and sweeps may take.
    """
    calls_end_at = container.calls_end_at or now
    if not _is_at_rest(container, now - grace) or container.apply_count_at is not None or calls_end_at > now:
        return []
    state = f"the container is {container.status.value}"
    if service is None:
        may_be_deleted = container.status in (Status.FAILED, Status.EXPIRED)
        return [] if may_be_deleted else [Fault(Code.SERVICE_MISSING, f"{state}, but ECS does not show its service")]
    tasks = f"{service.running} of {service.desired} tasks of its service run"
    match container.status:
        case Status.RUNNING | Status.FAILED if container.scaling is not None and service.runs:
            return [Fault(Code.SCALING_HELD, f"{state}, but the scaling of its service has not been restored")]
        case Status.RUNNING if service.is_empty and not _sets(scaling(), service):
            return [Fault(Code.SERVICE_DIFFERS, f"{state}, but its service has no tasks")]
        case Status.RUNNING if service.desired not in (0, container.desired_count) and not _sets(scaling(), service):
            counts = f"desired_count is {container.desired_count}, but that of its service is {service.desired}"
            return [Fault(Code.SERVICE_DIFFERS, counts)]
        case Status.STOPPED if service.desired > 0 and service.running > 0:
            return [Fault(Code.SERVICE_DIFFERS, f"{state}, but {tasks}")]
        case Status.FAILED if service.desired > 0 and service.is_steady:
            return [Fault(Code.SERVICE_DIFFERS, f"{state}, but {tasks}")]
    return []


def _sets(scaling: Scaling | None, service: Service) -> bool:
    """Check whether a scaling policy can have set the count of the service."""
    return scaling is not None and not scaling.is_suspended and service.desired >= scaling.minimum


def _is_at_rest(container: Container, since: datetime) -> bool:
    return container.operation is None and max(container.status_since, container.updated_at) <= since


def abridged(faults: Iterable[Fault]) -> list[Fault]:
    """Return the first faults of each code, followed by the number of further faults."""
    by_code: dict[Code, list[Fault]] = {}
    for fault in faults:
        by_code.setdefault(fault.code, []).append(fault)
    shown = []
    for code, found in by_code.items():
        shown += found[:_SHOWN]
        if len(found) > _SHOWN:
            shown.append(Fault(code, f"and {len(found) - _SHOWN} more"))
    return shown


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def _last(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]
