"""Upgrades from version 0.2 and rollbacks to it, with an operation of each kind pending at the deployment.

The code of the version before the deployment crashes after each of its calls with an effect. The code of the other
version then completes the operation: in a sweep, by an event, by a retry with the same Idempotency-Key, or by a
force-stop that supersedes it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any, NamedTuple
from unittest import mock

import pytest
from longshore.aws.attributes import deserialize_item, serialize_item
from longshore.aws.items import SCHEMA
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import Container, OperationRequest, Outcome, Protection
from simulation.history_checks import check_history
from simulation.hostility import Hostility
from simulation.versions import FIRST_PACKAGE, Versions, first_version_is_there
from simulation.wiring import Library

from engine.aws import CLUSTER
from engine.stage import PROJECT, USER, Stage

pytestmark = pytest.mark.skipif(not first_version_is_there(), reason="requires the history of the repository")

HISTORIES = {
    "stopped": ("stopped",),
    "running": ("stopped", "running"),
    "paused": ("stopped", "running", "paused"),
    "failed": ("stopped", "running", "failed"),
}
DIRECTIONS = ["upgrade", "rollback"]


NOTED = "UpdateItem again"
"""The write that stores the task that RunTask has answered."""


class Kind(NamedTuple):
    """A kind of pending operation. `calls` are those with an effect; the first is the claim."""

    status: str  # before the operation
    operation: str
    calls: list[str]
    goal: str
    leftover: bool = False  # the failed container still has a task
    start_crashed_at: str | None = None  # the call of the start that the operation supersedes


_KILLED = ["UpdateItem", "RunTask", "StopTask"]  # RunTask with the token of the superseded start finds its task
KINDS = {
    "start": Kind("stopped", "start", ["UpdateItem", "RunTask", NOTED], "running"),
    "stop": Kind("running", "stop", ["UpdateItem", "StopTask"], "stopped"),
    "force-stop": Kind("running", "force-stop", ["UpdateItem", "SendCommand", "StopTask"], "stopped"),
    "restart": Kind(
        "running", "restart", ["UpdateItem", "StopTask", "TransactWriteItems", "RunTask", NOTED], "running"
    ),
    "pause": Kind("running", "pause", ["UpdateItem", "SendCommand"], "paused"),
    "resume": Kind("paused", "resume", ["UpdateItem", "SendCommand"], "running"),
    "restart-of-failed": Kind("failed", "restart", ["UpdateItem", "RunTask", NOTED], "running"),
    "restart-of-leftover": Kind("failed", "restart", ["UpdateItem", "StopTask", "RunTask"], "running", leftover=True),
    "force-stop-of-leftover": Kind(
        "failed", "force-stop", ["UpdateItem", "SendCommand", "StopTask"], "stopped", leftover=True
    ),
    "force-stop-of-claimed-start": Kind("stopped", "force-stop", _KILLED, "stopped", start_crashed_at="UpdateItem"),
    "force-stop-of-start": Kind("stopped", "force-stop", _KILLED, "stopped", start_crashed_at="RunTask"),
}
CASES = [(kind, call) for kind, described in KINDS.items() for call in described.calls]


class TwoVersions(Stage):
    """A stage with both versions. `library` is the one that is deployed."""

    def __init__(self, direction: str) -> None:
        super().__init__()
        self.upgrades = direction == "upgrade"
        when = "before" if self.upgrades else "after"
        self.versions = Versions(Hostility(first_version=when), self.clock, lambda: True)
        self.use(self.versions.first)

    def use(self, library: Library) -> None:
        self.library = library
        self.document = self.versions.document(library)

    def deploy(self) -> None:
        """Deploy the other version, with its document of host commands."""
        assert self.versions.second is not None
        self.use(self.versions.second)

    @contextmanager
    def open(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(super().open())
            for name in ("operations", "reader", "changes"):
                module = import_module(f"{FIRST_PACKAGE}.engine.{name}")
                stack.enter_context(mock.patch.object(module, "together", lambda *calls: tuple(c() for c in calls)))
            yield

    def add(self, *statuses: str, **options: Any) -> str:
        """Add a container as the version before the deployment writes it."""
        container_id = super().add(*statuses, **options)
        self.edit(container_id, labels={"team": "web"})
        self.as_first_version_writes()
        return container_id

    def as_first_version_writes(self) -> None:
        """Replace all items and rows by those that the version before the deployment writes."""
        for table in ("containers", "status-logs"):
            items = self.dynamodb.tables[table].items
            items |= {key: self.versions.as_first_writes(item) for key, item in items.items()}

    def ask(
        self, container_id: str, operation: str, key: str | None = None, request_id: str = "r-1", **_: Any
    ) -> Outcome:
        request = OperationRequest(container_id, Operation(operation), USER, request_id, idempotency_key=key)
        with self.open():
            try:
                return self.versions.perform(self.library)(request)
            except self.versions.errors as error:
                raise self.versions.as_current(error) from error

    def sweep(self) -> dict[str, int]:
        with self.open():
            counts: dict[str, int] = self.library.recovery.sweep()
            return counts

    def drift_sweep(self) -> dict[str, int]:
        with self.open():
            counts: dict[str, int] = self.library.drift.sweep(CLUSTER)
            return counts

    def deliver(self, event: dict[str, Any]) -> str:
        with self.open():
            events = self.library.events if event["source"] == "aws.ecs" else self.library.commands
            return str(events.apply(event["detail"]).value)

    def settle(self) -> None:
        """Run the sweeps of the deployed version for ten minutes."""
        for _ in range(10):
            self.pass_deadline()
        self.drift_sweep()

    def check(self, container_id: str, status: str) -> None:
        """Check that nothing is pending, and that status, history, task and processes agree."""
        container = self.container(container_id)
        assert (container.status, container.operation) == (Status(status), None)
        plain = self.item(container_id)
        check_history(plain, self.rows(container_id))
        live = self.live(container_id)
        assert [task.arn for task in live] == ([container.task_arn] if container.is_live else [])
        assert {process.paused for task in live for process in task.containers} <= {status == "paused"}
        assert plain["name"] == "demo-1"
        assert plain["labels"] == {"team": "web"}

    def item(self, container_id: str) -> dict[str, Any]:
        """Return the container's item with plain values."""
        return deserialize_item(self.dynamodb.tables["containers"].items[container_id,])


@pytest.fixture(params=DIRECTIONS)
def both(request: pytest.FixtureRequest) -> TwoVersions:
    return TwoVersions(request.param)


def prepare(both: TwoVersions, kind: Kind) -> str:
    """Add a container for an operation of this kind. Returns its id."""
    container = both.add(*HISTORIES[kind.status])
    if kind.leftover:
        both.give_task(container, stop_timeout=0.1)
        both.as_first_version_writes()
    if kind.start_crashed_at:
        both.crash(container, "start", kind.start_crashed_at)
    return container


def crash(both: TwoVersions, name: str, call: str, key: str | None = None) -> str:
    """Crash an operation just after the effect of a call, and deploy the other version. Returns the container's id."""
    kind = KINDS[name]
    container = prepare(both, kind)
    # With a key, the claim is a transaction with the record of the key.
    claim = "UpdateItem" if key is None else "TransactWriteItems"
    at = claim if call == kind.calls[0] else call.removesuffix(" again")
    both.crash(container, kind.operation, at, key=key, skip=1 if at == claim and call != kind.calls[0] else 0)
    both.deploy()
    assert both.container(container).pending == kind.operation
    return container


@pytest.mark.parametrize(("kind", "call"), CASES)
def test_a_sweep_completes_the_operation(both: TwoVersions, kind: str, call: str) -> None:
    container = crash(both, kind, call)
    both.events.clear()
    both.settle()
    both.check(container, KINDS[kind].goal)
    assert both.rows(container)[-1]["metadata"]["request_id"] == "r-1"


@pytest.mark.parametrize(("kind", "call"), CASES)
def test_events_and_a_sweep_complete_the_operation(both: TwoVersions, kind: str, call: str) -> None:
    container = crash(both, kind, call)
    both.advance(5)
    both.deliver_all()
    both.settle()
    both.deliver_all()
    both.check(container, KINDS[kind].goal)


@pytest.mark.parametrize(("kind", "call"), CASES)
def test_a_retry_with_the_same_key_completes_the_operation(both: TwoVersions, kind: str, call: str) -> None:
    container = crash(both, kind, call, key="k")
    operation, goal = KINDS[kind].operation, KINDS[kind].goal
    rows = len(both.rows(container))
    both.advance(61)
    outcome = both.ask(container, operation, key="k", request_id="r-2")
    both.settle()
    assert outcome.kind in ("completed", "accepted")
    both.check(container, goal)
    # The operation had its effect once.
    assert sum(row["to_status"] == goal for row in both.rows(container)[rows:]) == 1
    assert both.ask(container, operation, key="k", request_id="r-3").kind == outcome.kind


@pytest.mark.parametrize(("kind", "call"), [case for case in CASES if KINDS[case[0]].operation != "force-stop"])
def test_a_force_stop_supersedes_the_operation(both: TwoVersions, kind: str, call: str) -> None:
    container = crash(both, kind, call)
    assert both.ask(container, "force-stop").kind in ("completed", "accepted")
    both.settle()
    both.deliver_all()
    both.check(container, "stopped")


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_works_after_the_deployment(both: TwoVersions, kind: str) -> None:
    """The item and the rows have the form of the version before the deployment."""
    container = prepare(both, KINDS[kind])
    both.deploy()
    if both.upgrades:
        both.with_events()
    assert both.ask(container, KINDS[kind].operation).kind in ("completed", "accepted")
    both.settle()
    both.check(container, KINDS[kind].goal)
    # Otherwise the tests would not compare two versions.
    assert both.item(container)["schema"] == (SCHEMA if both.upgrades else SCHEMA - 1)


@pytest.mark.parametrize(("kind", "call"), CASES)
def test_the_deployment_is_reverted(both: TwoVersions, kind: str, call: str) -> None:
    """The version before the deployment completes what the other version has begun or continued."""
    container = crash(both, kind, call)
    both.advance(61)
    both.sweep()
    both.use(both.versions.first)
    both.settle()
    both.deliver_all()
    both.settle()
    both.check(container, KINDS[kind].goal)


def test_an_accepted_operation_is_completed_after_the_deployment(both: TwoVersions) -> None:
    """The caller was answered 202, which the Idempotency-Key returns until the operation has ended."""
    container = both.add("stopped", labels={"simulate.start": "never"})
    assert both.ask(container, "start", key="k").kind == "accepted"
    both.deploy()
    assert both.ask(container, "start", key="k", request_id="r-2").kind == "accepted"
    assert both.ask(container, "force-stop", request_id="r-3").kind in ("completed", "accepted")
    both.settle()
    both.check(container, "stopped")


# --- Attributes that version 0.2 does not know ------------------------------------------------------------------------


def test_version_0_2_reads_rows_of_the_current_version() -> None:
    both = TwoVersions("rollback")
    container = both.add("stopped")
    both.ask(container, "start")
    both.ask(container, "pause")
    both.deploy()
    query = import_module(f"{FIRST_PACKAGE}.domain.pages").StatusLogsQuery()
    with both.open():
        page = both.library.reader.page(USER, container, query)
    assert [row["to_status"] for row in page["logs"]] == ["paused", "running", "stopped"]


@pytest.mark.parametrize("back", [False, True], ids=["upgrade", "rollback"])
def test_a_noted_absence_is_proven_after_the_deployment(back: bool) -> None:
    """The lookup before the deployment counts as the first of the two that prove that a task is gone."""
    both = TwoVersions("rollback" if back else "upgrade")
    container = both.add("stopped", "running")
    (task,) = both.live(container)
    both.hide_tasks()
    both.drift_sweep()
    both.deploy()
    both.advance(31)
    both.drift_sweep()
    assert both.container(container).status == "failed"
    assert task.live


def with_a_noted_absence(both: TwoVersions) -> str:
    """Add a running container whose task the version before the deployment has looked up once without finding it."""
    container = both.add("stopped", "running")
    both.hide_tasks()
    both.drift_sweep()
    both.deploy()
    return container


def with_a_ledger_of_before(both: TwoVersions) -> str:
    """Add a running container with the ledger of the current version, which version 0.2 has left there."""
    container = both.add("stopped", "running")
    both.dynamodb.tables["containers"].items[container,] |= serialize_item(
        {"tasks": {"0" * 32: {"arn": "arn:aws:ecs:eu-central-1:123456789012:task/default/0", "stray": True}}}
        | {"tasks_due_at": "2025-01-15T09:00:00.000Z", "last_task": {"id": "0", "gone": True}}
    )
    both.deploy()
    return container


@pytest.mark.parametrize("prepared", [with_a_noted_absence, with_a_ledger_of_before])
def test_users_change_containers_that_version_0_2_has_written(prepared: Callable[[TwoVersions], str]) -> None:
    both = TwoVersions("upgrade")
    both._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "owner"})
    container = prepared(both)
    stop_at = both.clock.now() + timedelta(hours=1)
    assert both.patch(container, stop_at=stop_at).stop_at == stop_at
    assert both.item(container)["schema"] == SCHEMA - 1
    protected = both.patch(container, protection=Protection(reason="a test"))
    with both.open():
        assert isinstance(both.versions.current.store.defer(protected, stop_at), Container)
    both.patch(container, stop_at=None, protection=None)
    both.heal()
    both.settle()
    both.check(container, "running")
    assert both.container(container).unwanted == []


def test_an_end_that_version_0_2_knows_gets_its_row() -> None:
    """Version 0.2 writes `running` and then the end, if a task has ended when its start is observed. It may crash."""
    both = TwoVersions("upgrade")
    container = both.add("stopped", "running")
    (task,) = both.live(container)
    both.ecs.exit(task.arn, 3)
    both.advance(1)
    known = {"ended_task_arn": task.arn, "task_version": task.version}
    both.dynamodb.tables["containers"].items[container,] |= serialize_item(known)
    both.deploy()
    both.deliver_all()
    both.check(container, "failed")
    assert both.rows(container)[-1]["metadata"]["exit_code"] == 3
