"""What must hold of a container's item and its rows. Pure: items as plain values go in, faults come out.

What must hold is described in docs/administer.md, "Check". Rows are taken one by one, since there may be a million.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from longshore.aws.items import container_item
from longshore.domain.clock import to_text
from longshore.domain.lifecycle import LIVE, Status
from longshore.domain.models import Container, StatusLog
from longshore.domain.pages import NO_STATUS, rank_key
from longshore.domain.task import Task
from longshore.engine.commits import ON_ITS_WAY
from longshore.engine.giving_up import LAST_ATTEMPT
from pydantic import ValidationError

Item = Mapping[str, Any]

GRACE = timedelta(minutes=2)
"""How long events and sweeps may take: until then nothing that is under way is a fault."""

INDEX_KEYS = ("live_project_id", "pending_shard", "pending_deadline")

_TOLD = 5  # faults of one code in one container; of the others only how many there are


class Code(StrEnum):
    """Kinds of faults, by the invariant that is broken."""

    TASK_MISSING = "TASK_MISSING"  # 1: it is running or paused, and its task is not
    TASK_UNEXPECTED = "TASK_UNEXPECTED"  # 1: a task lives that the container does not have
    CHAIN_BROKEN = "CHAIN_BROKEN"  # 2: a row does not follow from the one before
    STATUS_DIFFERS = "STATUS_DIFFERS"  # 2: the item's status is not the last row's
    COUNTER_WRONG = "COUNTER_WRONG"  # 3: the item's counters are not what counting gives
    RANK_WRONG = "RANK_WRONG"  # 3: a row's place in an order is not what counting gives
    ROW_MALFORMED = "ROW_MALFORMED"  # 4: a row that the API could not answer with
    ITEM_MALFORMED = "ITEM_MALFORMED"  # 4: an item that no function can read
    INDEX_WRONG = "INDEX_WRONG"  # 4: the keys of a sparse index are not what status and operation imply
    OVERDUE = "OVERDUE"  # 5: an operation that no sweep continues
    HISTORY_FULL = "HISTORY_FULL"  # the history takes no more rows


STATE = frozenset({Code.TASK_MISSING, Code.TASK_UNEXPECTED, Code.OVERDUE})
"""What is compared with something outside the item, and so counts only while the item stays as it is."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, in words for the operator."""

    code: Code
    message: str


@dataclass(frozen=True)
class Place:
    """A row's key, and the ranks that it should have."""

    transition_time: str
    to_rank: str
    from_rank: str


@dataclass
class History:
    """What reading all the rows gave: the faults, and what the item and the rows should say."""

    faults: list[Fault] = field(default_factory=list)
    count: int = 0
    to_counts: Counter[str] = field(default_factory=Counter)
    from_counts: Counter[str] = field(default_factory=Counter)
    last: Item | None = None
    misplaced: list[Place] = field(default_factory=list)

    @property
    def is_chain(self) -> bool:
        """Whether the rows themselves are in order, so that counting them means something."""
        return not any(fault.code in (Code.CHAIN_BROKEN, Code.ROW_MALFORMED) for fault in self.faults)

    def summary(self, item: Item) -> dict[str, Any]:
        """The attributes of the item that follow from the rows."""
        assert self.last is not None
        attributes = {
            "log_count": self.count,
            "to_counts": dict(self.to_counts),
            "from_counts": dict(self.from_counts),
            "last_transition_time": self.last["transition_time"],
            "last_created_at": self.last["created_at"],
        }
        # At DynamoDB's limit a change of status has no row.
        return attributes if item.get("history_full") else attributes | {"status_since": self.last["transition_time"]}


def history(item: Item, rows: Iterable[Item]) -> History:
    """Check the rows, in order of `transition_time`, each with the one before and all with the item."""
    found = History()
    for row in rows:
        _take(found, row)
    if found.last is None:
        found.faults.append(Fault(Code.CHAIN_BROKEN, "there is no row"))
    else:
        found.faults += _compare(item, found)
    return found


def _take(found: History, row: Item) -> None:
    before, number = found.last, found.count + 1
    at = row.get("transition_time")
    for message in _breaks(before, row, number):
        found.faults.append(Fault(Code.CHAIN_BROKEN, f"the row of {at} {message}"))
    malformed = _malformed(row)
    if malformed:
        found.faults.append(Fault(Code.ROW_MALFORMED, f"the row of {at} {malformed}"))
    to_status, from_status = str(row.get("to_status", "")), row.get("from_status")
    found.count = number
    found.to_counts[to_status] += 1
    found.from_counts[from_status or NO_STATUS] += 1
    place = Place(
        str(at),
        rank_key(to_status, found.to_counts[to_status]),
        rank_key(from_status, found.from_counts[from_status or NO_STATUS]),
    )
    if (row.get("to_rank"), row.get("from_rank")) != (place.to_rank, place.from_rank):
        found.misplaced.append(place)
        said = f"{row.get('to_rank')} and {row.get('from_rank')}, not {place.to_rank} and {place.from_rank}"
        found.faults.append(Fault(Code.RANK_WRONG, f"the row of {at} has the ranks {said}"))
    found.last = row


def _breaks(before: Item | None, row: Item, number: int) -> Iterable[str]:
    if row.get("seq") != number:
        yield f"has seq {row.get('seq')}, not {number}"
    expected = None if before is None else before.get("to_status")
    if row.get("from_status") != expected:
        yield f"comes from {row.get('from_status')}, not {expected}"
    if before is not None and str(row.get("created_at")) < str(before.get("created_at")):
        yield "was created before the row before it"


def _malformed(row: Item) -> str | None:
    try:
        log = StatusLog.model_validate({"from_status": None, **row})
    except ValidationError as error:
        return f"is malformed: {_first_fault(error)}"
    for name in ("transition_time", "created_at"):
        if to_text(getattr(log, name)) != row[name]:
            return f"has the {name} {row[name]}, which is not written as times are"
    return None


def _compare(item: Item, found: History) -> Iterable[Fault]:
    assert found.last is not None
    if item.get("status") != found.last.get("to_status") and not item.get("history_full"):
        yield Fault(
            Code.STATUS_DIFFERS, f"the status is {item.get('status')}, the last row's {found.last.get('to_status')}"
        )
    if not found.is_chain:
        return
    for name, value in found.summary(item).items():
        if item.get(name) != value:
            yield Fault(Code.COUNTER_WRONG, f"{name} is {item.get(name)}, not {value}")


def container_of(item: Item) -> Container | Fault:
    """The item as the functions read it."""
    try:
        return Container.model_validate(item)
    except ValidationError as error:
        return Fault(Code.ITEM_MALFORMED, f"the item is malformed: {_first_fault(error)}")


def index_keys(container: Container) -> dict[str, str]:
    """The keys of the sparse indexes that the container should have."""
    whole = container_item(container)
    return {name: whole[name]["S"] for name in INDEX_KEYS if name in whole}


def index_faults(item: Item, container: Container) -> list[Fault]:
    wanted = index_keys(container)
    return [
        Fault(Code.INDEX_WRONG, f"{name} is {item.get(name)}, not {wanted.get(name)}")
        for name in INDEX_KEYS
        if item.get(name) != wanted.get(name)
    ]


def pending_faults(container: Container, now: datetime, grace: timedelta = GRACE) -> list[Fault]:
    """The faults of the pending operation.

    More attempts than the last one are a fault only when the step has lasted long: until then, attempts that were made
    too early to give the step up, or that found its task on its way, are in order.
    """
    pending = container.operation
    if pending is None:
        return []
    if pending.deadline + grace < now:
        return [Fault(Code.OVERDUE, f"{pending.operation.value} is past its deadline of {to_text(pending.deadline)}")]
    if pending.attempts > LAST_ATTEMPT and pending.begun_at + ON_ITS_WAY + grace < now:
        step = f"{pending.operation.value} has had {pending.attempts} attempts at its step {pending.step.value}"
        return [Fault(Code.OVERDUE, f"{step} since {to_text(pending.begun_at)}")]
    return []


def limit_faults(container: Container) -> list[Fault]:
    """What a container can no longer do because its history has reached DynamoDB's limit."""
    if not container.history_full:
        return []
    full = "its history has reached DynamoDB's limit of 10 GB: only stop and force-stop work"
    return [Fault(Code.HISTORY_FULL, full)]


def task_faults(
    container: Container, own: Task | None, started: Iterable[Task], now: datetime, grace: timedelta = GRACE
) -> list[Fault]:
    """Compare with ECS: `own` is the container's task as ECS knows it, `started` those that live in its name.

    While an operation is pending, or something has changed just now, nothing is said. That ECS does not show a task is
    a fault only if a second look, half a minute later, does not find it either.
    """
    recent = now - grace
    if container.operation is not None or max(container.status_since, container.updated_at) > recent:
        return []
    alive = own is not None and not own.is_stopped
    live = {task.arn for task in started if not task.is_stopped} | ({own.arn} if own is not None and alive else set())
    faults = []
    if container.status in LIVE:
        if not alive and (own is None or own.stopped_at is None or own.stopped_at < recent):
            known = "ECS does not show its task" if own is None else f"its task {own.id} has stopped"
            faults.append(Fault(Code.TASK_MISSING, f"it is {container.status.value}, and {known}"))
        live -= {container.task_arn or ""}
    elif container.status is Status.FAILED:
        # Given up: whether its own task lives was not known.
        live -= {container.task_arn or ""}
    faults += [
        Fault(Code.TASK_UNEXPECTED, f"it is {container.status.value}, and the task {_last(arn)} runs in its name")
        for arn in sorted(live)
    ]
    return faults


def shortened(faults: Iterable[Fault]) -> list[Fault]:
    """The first few of each code, and how many more there are."""
    by_code: dict[Code, list[Fault]] = {}
    for fault in faults:
        by_code.setdefault(fault.code, []).append(fault)
    shown = []
    for code, found in by_code.items():
        shown += found[:_TOLD]
        if len(found) > _TOLD:
            shown.append(Fault(code, f"and {len(found) - _TOLD} more of these"))
    return shown


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def _last(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]
