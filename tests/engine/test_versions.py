"""Upgrades from version 0.1 and rollbacks to it, with an operation of each kind pending at the deployment.

The code of the version before the deployment crashes after each of its calls with an effect. The code of the other
version then completes the operation: in a sweep, by an event, by a retry with the same Idempotency-Key, or by a
force-stop that supersedes it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

import pytest
from longshore.aws.attributes import deserialize_item
from longshore.domain.lifecycle import Operation, Status
from longshore.domain.models import OperationRequest, Outcome
from simulation.history_checks import check_history
from simulation.hostility import Hostility
from simulation.versions import Versions, first_version_is_there
from simulation.wiring import Library

from engine.aws import CLUSTER
from engine.stage import USER, Stage

pytestmark = pytest.mark.skipif(not first_version_is_there(), reason="requires the history of the repository")

HISTORIES = {
    "stopped": ("stopped",),
    "running": ("stopped", "running"),
    "paused": ("stopped", "running", "paused"),
}
# The status before the operation, and its calls that have an effect. The first is the claim.
KINDS = {
    "start": ("stopped", ["UpdateItem", "RunTask"]),
    "stop": ("running", ["UpdateItem", "StopTask"]),
    "force-stop": ("running", ["UpdateItem", "SendCommand", "StopTask"]),
    "restart": ("running", ["UpdateItem", "StopTask", "TransactWriteItems", "RunTask"]),
    "pause": ("running", ["UpdateItem", "SendCommand"]),
    "resume": ("paused", ["UpdateItem", "SendCommand"]),
}
GOALS = {
    "start": "running",
    "stop": "stopped",
    "force-stop": "stopped",
    "restart": "running",
    "pause": "paused",
    "resume": "running",
}
CASES = [(operation, call) for operation, (_, calls) in KINDS.items() for call in calls]
DIRECTIONS = ["upgrade", "rollback"]
LATER_ATTRIBUTES = {"schema", "project_id", "to_n", "from_n"}
"""The attributes of rows that version 0.1 does not write."""


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
            for name in ("operations", "reader"):
                module = import_module(f"longshore_v01.{name}")
                stack.enter_context(mock.patch.object(module, "together", lambda *calls: tuple(c() for c in calls)))
            yield

    def add(self, *statuses: str, **options: Any) -> str:
        """Add a container as the version before the deployment writes it."""
        container_id = super().add(*statuses, **options)
        containers, rows = self.dynamodb.tables["containers"].items, self.dynamodb.tables["status-logs"].items
        for items in (containers, rows):
            items |= {key: self.versions.as_first_writes(item) for key, item in items.items()}
        if not self.upgrades:
            containers[container_id,]["labels"] = {"M": {"team": {"S": "web"}}}
        return container_id

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
            return str(events.apply(event["detail"]))

    def settle(self) -> None:
        """Run the sweeps of the deployed version for ten minutes."""
        for _ in range(10):
            self.pass_deadline()
        self.drift_sweep()

    def check(self, container_id: str, status: str) -> None:
        """Check that nothing is pending, and that status, history, task and processes agree."""
        container = self.container(container_id)
        assert (container.status, container.operation) == (Status(status), None)
        plain = self._plain("containers", container_id)
        check_history(plain, self.rows(container_id))
        live = self.live(container_id)
        assert [task.arn for task in live] == ([container.task_arn] if container.is_live else [])
        assert {process.paused for task in live for process in task.containers} <= {status == "paused"}
        assert plain["name"] == "demo-1"
        assert plain.get("labels", {}) == ({} if self.upgrades else {"team": "web"})

    def _plain(self, table: str, *key: str) -> dict[str, Any]:
        return deserialize_item(self.dynamodb.tables[table].items[key])


@pytest.fixture(params=DIRECTIONS)
def both(request: pytest.FixtureRequest) -> TwoVersions:
    return TwoVersions(request.param)


def crash(both: TwoVersions, operation: str, call: str, key: str | None = None) -> str:
    """Crash an operation just after the effect of a call, and deploy the other version. Returns the container's id."""
    container = both.add(*HISTORIES[KINDS[operation][0]])
    # With a key, the claim is a transaction with the record of the key.
    claimed = key is not None and call in ("UpdateItem", "TransactWriteItems")
    skip = 1 if claimed and call == "TransactWriteItems" else 0
    both.crash(container, operation, "TransactWriteItems" if claimed else call, key=key, skip=skip)
    both.deploy()
    assert both.container(container).pending == operation
    return container


@pytest.mark.parametrize(("operation", "call"), CASES)
def test_a_sweep_completes_the_operation(both: TwoVersions, operation: str, call: str) -> None:
    container = crash(both, operation, call)
    both.events.clear()
    both.settle()
    both.check(container, GOALS[operation])
    assert both.rows(container)[-1]["metadata"]["request_id"] == "r-1"


@pytest.mark.parametrize(("operation", "call"), CASES)
def test_events_and_a_sweep_complete_the_operation(both: TwoVersions, operation: str, call: str) -> None:
    container = crash(both, operation, call)
    both.advance(5)
    both.deliver_all()
    both.settle()
    both.deliver_all()
    both.check(container, GOALS[operation])


@pytest.mark.parametrize(("operation", "call"), CASES)
def test_a_retry_with_the_same_key_completes_the_operation(both: TwoVersions, operation: str, call: str) -> None:
    container = crash(both, operation, call, key="k")
    rows = len(both.rows(container))
    both.advance(61)
    outcome = both.ask(container, operation, key="k", request_id="r-2")
    both.settle()
    assert outcome.kind in ("completed", "accepted")
    both.check(container, GOALS[operation])
    # The operation had its effect once.
    assert sum(row["to_status"] == GOALS[operation] for row in both.rows(container)[rows:]) == 1
    assert both.ask(container, operation, key="k", request_id="r-3").kind == outcome.kind


@pytest.mark.parametrize(("operation", "call"), [case for case in CASES if case[0] != "force-stop"])
def test_a_force_stop_supersedes_the_operation(both: TwoVersions, operation: str, call: str) -> None:
    container = crash(both, operation, call)
    assert both.ask(container, "force-stop").kind in ("completed", "accepted")
    both.settle()
    both.deliver_all()
    both.check(container, "stopped")


@pytest.mark.parametrize("operation", KINDS)
def test_every_operation_works_after_the_deployment(both: TwoVersions, operation: str) -> None:
    """The item and the rows have the attributes of the version before the deployment."""
    container = both.add(*HISTORIES[KINDS[operation][0]])
    both.deploy()
    if both.upgrades:
        both.with_events()
    assert both.ask(container, operation).kind == "completed"
    both.check(container, GOALS[operation])
    first, last = both.rows(container)[0], both.rows(container)[-1]
    assert both.upgrades == (last.keys() >= LATER_ATTRIBUTES)
    assert both.upgrades == LATER_ATTRIBUTES.isdisjoint(first)


@pytest.mark.parametrize(
    ("status", "operation", "expected"),
    [
        ("running", "pause", "running"),
        ("paused", "resume", "paused"),
        ("running", "force-stop", "stopped"),
        ("paused", "stop", "paused"),
    ],
)
def test_commands_are_refused_while_only_the_document_is_deployed(
    both: TwoVersions, status: str, operation: str, expected: str
) -> None:
    """CloudFormation updates the document before the functions, whose commands Systems Manager then refuses."""
    container = both.add(*HISTORIES[status])
    assert both.versions.second is not None
    both.document = both.versions.document(both.versions.second)
    if expected == status:
        assert both.refused(container, operation) == "Systems Manager refused the command"
    else:
        # A kill is an attempt to be faster than StopTask.
        assert both.ask(container, operation).kind == "completed"
    both.deploy()
    both.settle()
    both.check(container, expected)


def test_an_accepted_operation_is_completed_after_the_deployment(both: TwoVersions) -> None:
    """The caller was answered 202, which the Idempotency-Key returns until the operation has ended."""
    container = both.add("stopped", labels={"simulate.start": "never"})
    assert both.ask(container, "start", key="k").kind == "accepted"
    both.deploy()
    assert both.ask(container, "start", key="k", request_id="r-2").kind == "accepted"
    assert both.ask(container, "force-stop", request_id="r-3").kind in ("completed", "accepted")
    both.settle()
    both.check(container, "stopped")


# --- Attributes that version 0.1 does not know ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attributes",
    [
        {"ended_task_arn": "arn:aws:ecs:eu-central-1:123456789012:task/default/0"},
        {"paused_task_arn": "arn:aws:ecs:eu-central-1:123456789012:task/default/0"},
        {"command_number": 2_000_000_000},
        {"history_full": True},
        {"reached_without_row": {"0" * 24: Status.STOPPED}},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
@pytest.mark.parametrize(("status", "operation"), [("running", "stop"), ("running", "pause"), ("stopped", "start")])
def test_version_0_1_keeps_the_attributes_of_the_current_version(
    status: str, operation: str, attributes: dict[str, Any]
) -> None:
    both = TwoVersions("rollback")
    container = both.add(*HISTORIES[status])
    both.edit(container, **attributes)
    both.deploy()
    assert both.ask(container, operation).kind == "completed"
    both.settle()
    both.check(container, GOALS[operation])
    after = both.container(container)
    assert {name: getattr(after, name) for name in attributes} == attributes


def test_version_0_1_reads_rows_of_the_current_version() -> None:
    both = TwoVersions("rollback")
    container = both.add("stopped")
    both.ask(container, "start")
    both.ask(container, "pause")
    both.deploy()
    query = import_module("longshore_v01.models").StatusLogsQuery()
    with both.open():
        page = both.library.reader.status_logs(USER, container, query)
    assert [row["to_status"] for row in page["logs"]] == ["paused", "running", "stopped"]
    # The response contains no attribute that the contract of version 0.1 does not contain.
    known = import_module("longshore_v01.models").StatusLog.model_fields.keys()
    assert all(row.keys() <= known for row in page["logs"])


def test_the_drift_sweep_restores_the_key_of_a_noted_absence() -> None:
    """A write of version 0.1 removes the key of `pending-by-deadline` that a noted absence has."""
    both = TwoVersions("rollback")
    container = both.add("stopped", "running")
    both.hide_tasks(times=1)
    both.drift_sweep()
    assert both.container(container).absent_since is not None
    both.deploy()
    assert both.ask(container, "pause").kind == "completed"
    both.use(both.versions.first)
    both.settle()
    both.check(container, "paused")
