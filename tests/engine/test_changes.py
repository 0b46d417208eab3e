"""Tests of changes of a container's name and labels."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from longshore.aws.access import Access
from longshore.aws.details import ContainerDetails
from longshore.aws.items import CHANGEABLE
from longshore.domain.changes import ContainerChange
from longshore.domain.clock import to_text
from longshore.domain.errors import (
    AccountBannedError,
    ContainerNotFoundError,
    ExternalServiceError,
    InsufficientPermissionsError,
    LongshoreError,
)
from longshore.domain.models import Container
from longshore.engine import changes
from longshore.engine.changes import ContainerChanges
from simulation.aws import clients

from engine.aws import FAILED, NO_ANSWER, THROTTLED
from engine.stage import PROJECT, USER, Stage
from local.emulator.errors import AwsError

OTHER_PROJECT = "507f1f77bcf86cd799439034"
CONFLICT = AwsError("TransactionConflictException", "Transaction is ongoing for the item")
LABELS = ContainerChange(labels={"env": "dev"})
BOTH = ContainerChange("renamed", {"env": "dev"})


@pytest.fixture(autouse=True)
def _one_read_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "together", lambda first, second: (first(), second()))


def change(stage: Stage, container: str, wanted: ContainerChange = LABELS) -> Container:
    dynamodb = clients().dynamodb
    details = ContainerDetails(dynamodb, "containers", stage.clock)
    with stage.open():
        access, counts = Access(dynamodb, "access"), stage.wired.counts
        return ContainerChanges(stage.wired.store, details, access, counts, stage.clock).apply(USER, container, wanted)


def grant(stage: Stage, project: str, role: str) -> None:
    stage._put("access", {"user_id": USER, "scope": f"project#{project}", "role": role})


def item(stage: Stage, container: str) -> dict[str, Any]:
    return dict(stage.dynamodb.tables["containers"].items[(container,)])


@pytest.mark.parametrize("status", ["stopped", "running", "paused", "failed", "expired"])
@pytest.mark.parametrize(
    ("wanted", "name", "labels"),
    [
        (ContainerChange("renamed"), "renamed", {"old": "x"}),
        (LABELS, "demo-1", {"env": "dev"}),
        (ContainerChange(labels={}), "demo-1", {}),
        (BOTH, "renamed", {"env": "dev"}),
    ],
)
def test_a_change(stage: Stage, status: str, wanted: ContainerChange, name: str, labels: dict[str, str]) -> None:
    """Nothing but the name, the labels and the time of the change is written."""
    grant(stage, PROJECT, "owner")
    container = stage.add("stopped", *([] if status == "stopped" else [status]))
    stage.edit(container, labels={"old": "x"})
    before = item(stage, container)
    stage.advance(60)
    began = stage.clock.now()
    found = change(stage, container, wanted)
    assert found == stage.container(container)
    assert (found.name, found.labels) == (name, labels)
    assert began <= found.updated_at <= stage.clock.now()
    changed = {key for key, value in item(stage, container).items() if value != before.get(key)}
    assert changed <= {"name", "labels", "updated_at"}
    # Attributes with their default value are not stored.
    assert item(stage, container).keys() == before.keys() - ({"labels"} if not labels else set())


def test_operations_do_not_write_names_and_labels() -> None:
    only_users = {*ContainerChange._fields, "stop_at_by", "idle_timeout_at", "kept_alive_at"} - {"desired_count"}
    assert not only_users & set(CHANGEABLE)


# --- permissions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "wanted", "permitted"),
    [
        ("viewer", LABELS, False),
        ("viewer", BOTH, False),
        ("operator", LABELS, True),
        ("operator", ContainerChange("renamed"), False),
        ("operator", BOTH, False),
        ("owner", LABELS, True),
        ("owner", BOTH, True),
    ],
)
def test_roles(stage: Stage, role: str, wanted: ContainerChange, permitted: bool) -> None:
    grant(stage, PROJECT, role)
    container = stage.add("running")
    before = item(stage, container)
    if permitted:
        change(stage, container, wanted)
    else:
        with pytest.raises(InsufficientPermissionsError):
            change(stage, container, wanted)
    assert (item(stage, container) != before) is permitted


def test_a_banned_user(stage: Stage) -> None:
    stage._put("access", {"user_id": USER, "scope": "account", "banned": True})
    with pytest.raises(AccountBannedError):
        change(stage, stage.add("running"))


@pytest.mark.parametrize("container", ["unknown", "of another project"])
def test_no_container_of_the_user(stage: Stage, container: str) -> None:
    own = stage.add("running")
    stage.edit(own, project_id=OTHER_PROJECT)
    with pytest.raises(ContainerNotFoundError):
        change(stage, own if container == "of another project" else "0" * 24)
    assert stage.count("UpdateItem") == 0


# --- races ------------------------------------------------------------------------------------------------------------


def move(stage: Stage, container: str, role: str | None) -> None:
    """Move the container to another project, in which the user has the role, just before the change is written."""
    if role:
        grant(stage, OTHER_PROJECT, role)
    stage.before("UpdateItem", lambda _: stage.edit(container, project_id=OTHER_PROJECT))


@pytest.mark.parametrize(
    ("role", "error"), [(None, ContainerNotFoundError), ("viewer", InsufficientPermissionsError), ("operator", None)]
)
def test_a_container_that_moves_meanwhile(stage: Stage, role: str | None, error: type[LongshoreError] | None) -> None:
    """The role in the new project decides."""
    container = stage.add("running")
    move(stage, container, role)
    if error is None:
        assert change(stage, container).project_id == OTHER_PROJECT
    else:
        with pytest.raises(error):
            change(stage, container)
        assert stage.container(container).labels == {}


def test_a_container_that_moves_again_and_again(stage: Stage) -> None:
    grant(stage, OTHER_PROJECT, "operator")
    container = stage.add("running")

    def move_to(project: str) -> Callable[[object], None]:
        return lambda _: stage.edit(container, project_id=project)

    for project in (OTHER_PROJECT, PROJECT) * 5:
        stage.before("UpdateItem", move_to(project))
    with pytest.raises(ExternalServiceError) as raised:
        change(stage, container)
    assert raised.value.reason == "The container is receiving too many requests"
    assert stage.container(container).labels == {}


def test_a_container_that_is_deleted_meanwhile(stage: Stage) -> None:
    container = stage.add("running")
    stage.before("UpdateItem", lambda _: stage.dynamodb.tables["containers"].items.pop((container,)))
    with pytest.raises(ContainerNotFoundError):
        change(stage, container)
    assert (container,) not in stage.dynamodb.tables["containers"].items


@pytest.mark.parametrize("operation", ["start", "stop", "restart"])
def test_a_change_between_any_two_calls_of_an_operation(stage: Stage, operation: str) -> None:
    """The operation completes as without the change, and does not undo it."""
    stage.with_events()
    grant(stage, PROJECT, "owner")
    status = ["stopped"] if operation == "start" else ["stopped", "running"]
    plain = stage.add(*status, number=1)
    assert stage.ask(plain, operation).kind == "completed"
    calls = [call.operation for call in stage.calls]

    def changes_it(container: str) -> Callable[[object], object]:
        return lambda _: change(stage, container, BOTH)

    for number, call in enumerate(calls, 2):
        container = stage.add(*status, number=number)
        stage.before(call, changes_it(container), skip=calls[: number - 2].count(call))
        outcome = stage.ask(container, operation)
        found = stage.container(container)
        assert (outcome.kind, found.name, found.labels) == ("completed", "renamed", {"env": "dev"})
        assert len(stage.rows(container)) == len(stage.rows(plain))


def test_a_pending_operation_is_not_disturbed(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.crash(container, "start", "RunTask")
    pending = stage.pending(container)
    assert change(stage, container).operation == pending
    assert stage.pass_deadline() == {"completed": 1}
    found = stage.container(container)
    assert (found.status, found.labels) == ("running", {"env": "dev"})


# --- failures of DynamoDB ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("error", [FAILED, THROTTLED, NO_ANSWER])
def test_a_write_that_fails_may_be_repeated(stage: Stage, error: Exception, lost: bool) -> None:
    container = stage.add("running")
    stage.fail("UpdateItem", error, lost=lost)
    with pytest.raises(ExternalServiceError):
        change(stage, container)
    assert stage.container(container).labels == ({"env": "dev"} if lost else {})
    assert change(stage, container).labels == {"env": "dev"}


def test_a_lost_reply(stage: Stage) -> None:
    container = stage.add("running")
    stage.repeat("UpdateItem")
    found = change(stage, container)
    assert (found.labels, to_text(found.updated_at)) == ({"env": "dev"}, to_text(stage.container(container).updated_at))


@pytest.mark.parametrize(("conflicts", "succeeds"), [(1, True), (9, True), (10, False)])
def test_conflicts_with_transactions(stage: Stage, conflicts: int, succeeds: bool) -> None:
    container = stage.add("running")
    stage.fail("UpdateItem", CONFLICT, times=conflicts)
    began = stage.clock.now()
    if succeeds:
        assert change(stage, container).labels == {"env": "dev"}
    else:
        with pytest.raises(ExternalServiceError):
            change(stage, container)
        assert stage.container(container).labels == {}
    assert (stage.clock.now() - began).total_seconds() < 4


def test_a_rejected_request_is_a_defect(stage: Stage) -> None:
    container = stage.add("running")
    stage.fail("UpdateItem", AwsError("ValidationException", "Invalid expression"))
    with pytest.raises(ClientError, match="Invalid expression"):
        change(stage, container)
