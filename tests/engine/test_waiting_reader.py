"""Tests of reading a container that is to settle or to reach a status."""

from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from longshore.aws.access import Access
from longshore.aws.waiting import WaitingPlaces
from longshore.domain.errors import ContainerNotFoundError, ExternalServiceError
from longshore.domain.lifecycle import Status
from longshore.domain.models import Container
from longshore.domain.waiting import WaitQuery
from longshore.engine import reader
from longshore.engine.reader import ContainerReader
from simulation.aws import clients

from engine.aws import FAILED
from engine.stage import PROJECT, USER, Stage

OTHER_PROJECT = "507f1f77bcf86cd799439034"


@pytest.fixture(autouse=True)
def _one_read_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "together", lambda first, second: (first(), second()))


def read(stage: Stage, container: str, query: WaitQuery) -> Container:
    places = mock.create_autospec(WaitingPlaces, instance=True)
    places.held.return_value = nullcontext()
    wired = ContainerReader(stage.wired.store, Access(clients().dynamodb, "access"), places, stage.clock)
    stage.calls.clear()
    with stage.open():
        return wired.container(USER, container, query)


def reads(stage: Stage) -> list[str]:
    return [call.operation for call in stage.calls]


def later(stage: Stage, seconds: float, change: Any) -> None:
    """Run a change before the first read of the container that is that long after now."""
    at = stage.clock.now() + timedelta(seconds=seconds)

    def look(_: Any) -> None:
        if stage.clock.now() >= at:
            change()
        else:
            stage.before("GetItem", look)

    stage.before("GetItem", look)


def test_no_wait(stage: Stage) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    assert read(stage, container, WaitQuery()).pending == "start"
    assert reads(stage) == ["GetItem", "Query"]


@pytest.mark.parametrize("wait_for", ["settled", "running"])
def test_a_state_that_the_container_already_has(stage: Stage, wait_for: str) -> None:
    assert read(stage, stage.add("running"), WaitQuery(wait_for)).status == "running"
    assert reads(stage) == ["GetItem", "Query"]


@pytest.mark.parametrize("wait_for", ["settled", "running"])
def test_the_end_of_an_operation(stage: Stage, wait_for: str) -> None:
    container = stage.add("stopped")
    stage.claim(container, "start")
    began = stage.clock.now()
    ended = stage.container(container).model_copy(update={"operation": None, "status": Status.RUNNING})
    later(stage, 3, lambda: stage.put(ended))
    found = read(stage, container, WaitQuery(wait_for))
    assert (found.status, found.pending) == ("running", None)
    assert timedelta(seconds=3) <= stage.clock.now() - began <= timedelta(seconds=4.1)
    # The grants are read once. The pauses rise from 0.2 seconds to one second.
    assert reads(stage) == ["GetItem", "Query"] * 7


def test_a_status_does_not_wait_for_the_end_of_the_operation(stage: Stage) -> None:
    """A restart makes the container `stopped` while it is pending."""
    container = stage.add("stopped")
    stage.claim(container, "restart")
    assert read(stage, container, WaitQuery("stopped")).pending == "restart"


@pytest.mark.parametrize("timeout", [1, 20, 25])
@pytest.mark.parametrize("wait_for", ["settled", "running"])
def test_the_timeout(stage: Stage, wait_for: str, timeout: int) -> None:
    """The container is returned as it then is."""
    container = stage.add("stopped")
    stage.claim(container, "start")
    began = stage.clock.now()
    later(stage, timeout - 0.3, lambda: stage.edit(container, name="renamed"))
    found = read(stage, container, WaitQuery(wait_for, timeout))
    assert (found.status, found.pending, found.name) == ("stopped", "start", "renamed")
    assert timedelta(seconds=timeout) <= stage.clock.now() - began <= timedelta(seconds=timeout + 0.1)
    assert reads(stage).count("GetItem") < timeout + 6


def test_a_container_that_is_deleted(stage: Stage) -> None:
    container = stage.add("stopped")
    later(stage, 2, lambda: stage.dynamodb.tables["containers"].items.pop((container,)))
    with pytest.raises(ContainerNotFoundError):
        read(stage, container, WaitQuery("running"))


def test_a_container_that_leaves_the_caller_s_projects(stage: Stage) -> None:
    """Nothing of another project is shown, even if the container is now in the awaited state."""
    container = stage.add("stopped")
    later(stage, 2, lambda: stage.edit(container, project_id=OTHER_PROJECT, status=Status.RUNNING))
    with pytest.raises(ContainerNotFoundError):
        read(stage, container, WaitQuery("running"))
    # A role that is revoked during the wait ends it.
    assert reads(stage).count("Query") == reads(stage).count("GetItem")


def test_a_container_that_moves_to_another_project_of_the_caller(stage: Stage) -> None:
    stage._put("access", {"user_id": USER, "scope": f"project#{OTHER_PROJECT}", "role": "viewer"})
    container = stage.add("stopped")
    later(stage, 2, lambda: stage.edit(container, project_id=OTHER_PROJECT, status=Status.RUNNING))
    assert read(stage, container, WaitQuery("running")).project_id == OTHER_PROJECT != PROJECT


def test_a_read_that_fails(stage: Stage) -> None:
    container = stage.add("stopped")
    later(stage, 2, lambda: stage.fail("GetItem", FAILED))
    with pytest.raises(ExternalServiceError):
        read(stage, container, WaitQuery("running"))
