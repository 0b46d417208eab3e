"""Tests of the form in which version 0.2 stores what is known about tasks."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from longshore.aws.older_form import OLDER_ATTRIBUTES, with_older_form, without_older_form
from longshore.aws.operation_form import stored_operation
from longshore.domain.clock import to_text
from longshore.domain.ledger import KnownTask, LastTask
from longshore.domain.lifecycle import Kind, LaunchType, Operation, Status, Step
from longshore.domain.models import Container, Runtime
from longshore.domain.pending import HostCommand, Launch, PendingOperation, ServiceChange, Trigger

NOW = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
BEFORE = NOW - timedelta(minutes=7)
LATER = NOW + timedelta(minutes=2)
ARN = "arn:aws:ecs:us-east-1:123456789012:task/default/one"
OTHER = "arn:aws:ecs:us-east-1:123456789012:task/default/two"
OPERATION = "a" * 24
TOKEN = "b" * 24

OPERATIONS = {
    Step.START: Operation.START,
    Step.STOP: Operation.STOP,
    Step.KILL: Operation.FORCE_STOP,
    Step.PAUSE: Operation.PAUSE,
    Step.UNPAUSE: Operation.RESUME,
}
STEPS = [None, *OPERATIONS]

OWN = [
    None,
    KnownTask(arn=ARN, shown=True, version=3),
    KnownTask(arn=ARN, shown=True, version=0, absent_since=BEFORE),
    KnownTask(arn=ARN, called_until=BEFORE),
]
"""What may be known about the task that has its id as its key."""

OF_TOKEN = [
    None,
    KnownTask(called_from=NOW),
    KnownTask(called_from=BEFORE, absent_since=LATER),
    KnownTask(called_from=BEFORE, called_until=LATER),
    KnownTask(arn=OTHER, called_from=NOW, called_until=LATER),
    KnownTask(arn=OTHER, called_until=LATER, absent_since=LATER),
    KnownTask(arn=OTHER, shown=True, version=2),
    KnownTask(arn=OTHER, shown=True, absent_since=LATER),
]
"""What may be known about the task of a client token."""

STRAYS = [{}, {"three": KnownTask(arn=ARN.replace("one", "three"), shown=True, version=1, stray=True)}]


def pending(step: Step, **more: Any) -> PendingOperation:
    values: dict[str, Any] = {
        "id": OPERATION,
        "operation": OPERATIONS[step],
        "step": step,
        "started_at": NOW,
        "since": NOW,
        "deadline": LATER,
        "command": HostCommand(expires_at=LATER),
        "launch": Launch() if step is Step.START else None,
        "triggered_by": Trigger.USER,
    }
    return PendingOperation(**values | more)


def container(status: Status, step: Step | None = None, **more: Any) -> Container:
    values: dict[str, Any] = {
        "id": "507f1f77bcf86cd799439011",
        "project_id": "507f1f77bcf86cd799439033",
        "name": "demo",
        "status": status,
        "status_since": BEFORE,
        "runtime": Runtime(cluster="default", task_definition="web", launch_type=LaunchType.EC2),
        "operation": pending(step) if step is not None else None,
        "created_at": BEFORE,
        "updated_at": BEFORE,
    }
    return Container(**values | more)


def plain(stored: Container) -> dict[str, Any]:
    return stored.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


def written(stored: Container) -> dict[str, Any]:
    """Return the item that the current version writes."""
    return with_older_form(plain(stored), stored) | {"schema": 3}


def read(item: dict[str, Any]) -> Container:
    """Return the container as the current version reads it."""
    return Container.model_validate(without_older_form(item))


def of_first_version(status: Status, step: Step | None = None, pending: Any = (), **attributes: Any) -> dict[str, Any]:
    """Return an item that version 0.2 has written, with attributes of the operation and of the container."""
    item = plain(container(status, step)) | {"schema": 2} | attributes
    return item | ({"operation": item["operation"] | dict(pending)} if step is not None else {})


def ledgers(token: str) -> Iterator[dict[str, KnownTask]]:
    for own, of_token, strays in product(OWN, OF_TOKEN, STRAYS):
        tasks = {"one": own, token: of_token}
        known = {key: entry for key, entry in tasks.items() if entry is not None}
        yield known | strays
        yield dict(reversed(known.items())) | strays


# --- the current version reads what it has written --------------------------------------------------------------------


@pytest.mark.parametrize("token", [OPERATION, TOKEN], ids=["token of the operation", "another token"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("status", Status)
def test_a_written_ledger_is_read(status: Status, step: Step | None, token: str) -> None:
    for tasks in ledgers(token):
        given = container(status, step, tasks=tasks, tasks_due_at=NOW)
        item = written(given)
        after = read(item)
        assert after == given, tasks
        # A reader that rewrites the item writes the same.
        assert written(after) == item, tasks


@pytest.mark.parametrize("last", [LastTask(id="one", version=4), LastTask(id="one", gone=True, paused=True)])
@pytest.mark.parametrize("status", Status)
def test_the_last_task_is_read(status: Status, last: LastTask) -> None:
    given = container(status, last_task=last)
    assert read(written(given)) == given


@pytest.mark.parametrize(
    ("stored", "expected"), [(LATER, LATER), (LATER + timedelta(seconds=1), LATER + timedelta(seconds=1))]
)
def test_the_expiry_time_of_commands(stored: datetime, expected: datetime) -> None:
    given = container(Status.RUNNING, operation=pending(Step.PAUSE, command=HostCommand(expires_at=stored)))
    item = written(given)
    assert ("command_expires_at" in item["operation"]) == (stored != LATER)
    assert read(item) == given
    assert given.operation is not None
    assert given.operation.command_expiry == expected


def test_a_new_client_token_is_read() -> None:
    tasks = {TOKEN: KnownTask(called_from=LATER)}
    given = container(Status.STOPPED, operation=pending(Step.START, launch=Launch(client_token=TOKEN)), tasks=tasks)
    assert read(written(given)) == given


def test_attributes_of_a_later_version_are_kept() -> None:
    known = KnownTask.model_validate({"arn": ARN, "shown": True, "version": 3, "later": "x"})
    given = container(Status.RUNNING, tasks={"one": known})
    assert read(written(given)) == given
    assert written(given)["tasks"]["one"]["later"] == "x"


def test_entries_that_the_older_form_contains_are_not_stored_twice() -> None:
    """So that an item has less than 1 KB."""
    own = KnownTask(arn=ARN, shown=True, version=3)
    stray = STRAYS[1]
    item = written(container(Status.RUNNING, tasks={"one": own} | stray))
    assert item["tasks"].keys() == {"one", "three"}
    assert item["tasks"]["one"] == {}
    assert item["tasks"]["three"]["stray"]
    # Also under a client token.
    assert written(container(Status.RUNNING, tasks={TOKEN: own}))["tasks"] == {TOKEN: {}}
    of_start = {OPERATION: KnownTask(arn=ARN, called_from=NOW, called_until=LATER)}
    assert written(container(Status.STOPPED, Step.START, tasks=of_start))["tasks"] == {OPERATION: {}}


def test_a_container_of_a_service_has_no_older_form() -> None:
    runtime = Runtime(cluster="default", service="web", task_definition="web", launch_type=LaunchType.EC2)
    operation = pending(Step.START, launch=None, service=ServiceChange(absent={"web": NOW}))
    given = container(Status.RUNNING, runtime=runtime, operation=operation, absent_since=NOW)
    assert given.kind is Kind.SERVICE
    item = written(given)
    assert item == plain(given) | {"schema": 3, "operation": stored_operation(plain(given)["operation"])}
    assert item["operation"]["absent"] == {"web": to_text(NOW)}
    assert read(item) == given
    assert read(item | {"schema": 2}) == given


# --- what version 0.2 reads ------------------------------------------------------------------------------------------


def test_what_version_0_2_reads_of_an_idle_container() -> None:
    own = KnownTask(arn=ARN, shown=True, version=3, absent_since=NOW)
    for status in (Status.RUNNING, Status.FAILED):
        item = written(container(status, tasks={TOKEN: own}))
        assert (item["task_arn"], item["task_version"]) == (ARN, 3)
        assert item.get("absent_since") == (to_text(NOW) if status is Status.RUNNING else None)
    assert not set(OLDER_ATTRIBUTES) & written(container(Status.STOPPED)).keys()


def test_what_version_0_2_reads_of_a_start() -> None:
    leftover = KnownTask(arn=ARN, shown=True, version=3, absent_since=LATER)
    started = KnownTask(arn=OTHER, shown=True, called_from=BEFORE, called_until=NOW, absent_since=NOW)
    item = written(container(Status.FAILED, Step.START, tasks={"one": leftover, OPERATION: started}))
    assert (item["task_arn"], item["task_version"]) == (ARN, 3)
    expected = {
        "task_arn": OTHER,
        "task_run_at": to_text(NOW),
        "task_shown": True,
        "client_token_since": to_text(BEFORE),
        "absent": {ARN: to_text(LATER), OTHER: to_text(NOW)},
    }
    assert {name: item["operation"].get(name) for name in expected} == expected


@pytest.mark.parametrize("status", [Status.STOPPED, Status.RUNNING])
def test_what_version_0_2_reads_of_a_force_stop(status: Status) -> None:
    """The token of the superseded start, beside the container's own task."""
    own = {"one": KnownTask(arn=ARN, shown=True, version=3)} if status is Status.RUNNING else {}
    token = {TOKEN: KnownTask(called_from=BEFORE, called_until=LATER, absent_since=NOW)}
    item = written(container(status, Step.KILL, tasks=own | token))
    assert item.get("task_arn") == (ARN if own else None)
    expected = {
        "superseded_start": TOKEN,
        "superseded_start_since": to_text(BEFORE),
        "absent": {TOKEN: to_text(NOW)},
    }
    assert {name: item["operation"].get(name) for name in expected} == expected
    assert "task_arn" not in item["operation"]


# --- what version 0.2 has written -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.RUNNING, Status.PAUSED, Status.FAILED, Status.EXPIRED])
def test_the_task_of_an_idle_container(status: Status) -> None:
    """A failed or expired container may still have a task: version 0.2 states which task has ended."""
    item = of_first_version(status, task_arn=ARN, task_version=7, absent_since=to_text(NOW))
    missed = NOW if status in (Status.RUNNING, Status.PAUSED) else None
    expected = KnownTask(arn=ARN, shown=True, version=7, absent_since=missed)
    assert read(item) == container(status, tasks={"one": expected})


@pytest.mark.parametrize("status", [Status.STOPPED, Status.FAILED, Status.EXPIRED])
@pytest.mark.parametrize("ended", [ARN, OTHER, None])
def test_the_task_that_has_ended(status: Status, ended: str | None) -> None:
    more: dict[str, Any] = {"ended_task_arn": ended} if ended else {}
    after = read(of_first_version(status, task_arn=ARN, task_version=7, **more))
    if ended == ARN:
        assert (after.tasks, after.last_task) == ({}, LastTask(id="one", version=7))
    elif status is Status.STOPPED:
        assert (after.tasks, after.last_task) == ({}, LastTask(id="one", version=7, gone=True))
    else:
        assert (list(after.tasks), after.last_task) == (["one"], None)


def test_a_task_in_an_unknown_state() -> None:
    """Version 0.2 stores a version that no event reaches."""
    assert read(of_first_version(Status.FAILED, task_arn=ARN, task_version=2**53)).tasks["one"].version == 0
    known = read(of_first_version(Status.RUNNING, task_arn=ARN, task_version=2**53 - 1)).tasks["one"]
    assert known.version == 2**53 - 1


def test_a_container_without_a_task() -> None:
    assert read(of_first_version(Status.STOPPED)) == container(Status.STOPPED)
    item = {name: value for name, value in of_first_version(Status.STOPPED).items() if name != "schema"}
    assert read(item) == container(Status.STOPPED)


@pytest.mark.parametrize("client_token", [None, TOKEN])
@pytest.mark.parametrize("since", [None, BEFORE])
def test_a_start_that_has_not_run_its_task(client_token: str | None, since: datetime | None) -> None:
    token = client_token or OPERATION
    more: dict[str, Any] = {"absent": {token: to_text(NOW)}}
    more |= {"client_token": client_token} if client_token else {}
    more |= {"client_token_since": to_text(since)} if since else {}
    after = read(of_first_version(Status.STOPPED, Step.START, more))
    assert after.tasks == {token: KnownTask(called_from=since or NOW, absent_since=NOW)}
    assert after.operation == pending(Step.START, launch=Launch(client_token=client_token))


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("run_at", [None, BEFORE])
def test_a_start_that_has_run_its_task_beside_a_leftover(shown: bool, run_at: datetime | None) -> None:
    more: dict[str, Any] = {"task_arn": OTHER, "absent": {OTHER: to_text(NOW), ARN: to_text(LATER)}}
    more |= ({"task_shown": True} if shown else {}) | ({"task_run_at": to_text(run_at)} if run_at else {})
    after = read(of_first_version(Status.FAILED, Step.START, more, task_arn=ARN, task_version=7))
    assert after.tasks == {
        "one": KnownTask(arn=ARN, shown=True, version=7, absent_since=LATER),
        OPERATION: KnownTask(arn=OTHER, called_from=NOW, called_until=run_at, shown=shown, absent_since=NOW),
    }
    assert after.operation == pending(Step.START)


@pytest.mark.parametrize("arn", [None, OTHER])
@pytest.mark.parametrize("since", [None, BEFORE])
def test_a_force_stop_of_a_start(since: datetime | None, arn: str | None) -> None:
    """The start's driver may call RunTask until its deadline, and ECS may process the call a minute later."""
    more: dict[str, Any] = {"superseded_start": TOKEN, "absent": {arn or TOKEN: to_text(NOW)}}
    more |= ({"superseded_start_since": to_text(since)} if since else {}) | ({"task_arn": arn} if arn else {})
    after = read(of_first_version(Status.STOPPED, Step.KILL, more))
    until = None if arn else NOW + timedelta(seconds=120)
    expected = KnownTask(arn=arn, called_from=since or NOW, called_until=until, absent_since=NOW)
    assert after.tasks == {TOKEN: expected}
    assert after.operation == pending(Step.KILL)


@pytest.mark.parametrize("step", [Step.STOP, Step.KILL, Step.PAUSE])
def test_an_operation_on_the_containers_task(step: Step) -> None:
    item = of_first_version(Status.RUNNING, step, {"absent": {ARN: to_text(NOW)}}, task_arn=ARN, task_version=7)
    after = read(item)
    assert after.tasks == {"one": KnownTask(arn=ARN, shown=True, version=7, absent_since=NOW)}
    assert after.operation == pending(step)


@pytest.mark.parametrize("status", Status)
def test_a_ledger_that_version_0_2_has_not_updated_is_ignored(status: Status) -> None:
    """During a deployment, version 0.2 writes an item that the current version has written, and keeps its ledger."""
    stale = {"stale": KnownTask(arn=OTHER, called_from=BEFORE, called_until=LATER), **STRAYS[1]}
    ours = written(container(status, tasks=stale, tasks_due_at=NOW, last_task=LastTask(id="four", version=9)))
    assert {"tasks", "tasks_due_at", "last_task"} <= ours.keys()
    theirs = ours | {"schema": 2, "task_arn": ARN, "task_version": 5, "ended_task_arn": OTHER}
    after = read(theirs)
    if status is Status.STOPPED:
        assert after == container(status, last_task=LastTask(id="one", version=5, gone=True))
    else:
        assert after == container(status, tasks={"one": KnownTask(arn=ARN, shown=True, version=5)})


def test_a_ledger_that_version_0_2_has_left_without_a_task_is_ignored() -> None:
    ours = written(container(Status.RUNNING, tasks={"one": KnownTask(arn=ARN, shown=True, version=3)}))
    theirs = {name: value for name, value in ours.items() if name not in OLDER_ATTRIBUTES}
    assert read(theirs | {"schema": 2, "status": "stopped"}) == container(Status.STOPPED)


@pytest.mark.parametrize("own", OWN[1:])
def test_an_entry_of_which_nothing_is_known_is_not_derived(own: KnownTask) -> None:
    """Beside the container's own task, it would be read as that task."""
    tasks = {"one": own, TOKEN: KnownTask()}
    assert read(written(container(Status.RUNNING, tasks=tasks))).tasks == tasks


@pytest.mark.parametrize("status", [Status.RUNNING, Status.PAUSED])
def test_a_live_container_whose_task_has_ended_has_it(status: Status) -> None:
    """The end has no row yet, and is recorded by the event or the drift sweep that shows the task."""
    after = read(of_first_version(status, task_arn=ARN, task_version=7, ended_task_arn=ARN))
    assert (after.own_token, after.last_task) == ("one", None)
