"""Tests of the rule when a task that ECS does not return counts as gone."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from longshore.aws.ecs import Ecs
from longshore.domain.task import Task
from longshore.engine.attempt import Attempt
from longshore.engine.waits import ChangedError
from simulation.aws import clients

from engine.aws import DENIED, FAILED, NOT_FOUND, Call
from engine.stage import Stage

MILLISECOND = timedelta(milliseconds=1)
LOOKS = timedelta(seconds=30)
UNSHOWN = timedelta(minutes=5)
LAST = timedelta(minutes=10)
NOTED = "arn:aws:ecs:us-east-1:123456789012:task/default/noted"


@pytest.fixture
def container(stage: Stage) -> Iterator[str]:
    """Return a container with a task and a pending operation; calls take no time."""
    container = stage.add("running")
    stage.claim(container, "stop")
    stage.tick = 0
    with stage.open():
        yield container


@pytest.mark.parametrize(
    ("since_look", "shown", "since_run", "gone"),
    [
        # ECS has returned the task before: two lookups 30 seconds apart.
        (LOOKS - MILLISECOND, True, timedelta(0), False),
        (LOOKS, True, timedelta(0), True),
        (LOOKS + MILLISECOND, True, timedelta(0), True),
        # Never returned: also five minutes since its RunTask.
        (LOOKS, False, UNSHOWN - MILLISECOND, False),
        (LOOKS, False, UNSHOWN, True),
        (LOOKS - MILLISECOND, False, UNSHOWN, False),
        (LAST, False, UNSHOWN - MILLISECOND, False),
        # The time of the RunTask is unknown and counts as now.
        (LAST, False, None, False),
        (LOOKS, True, None, True),
    ],
)
def test_task_of_the_operation_is_gone_after_two_lookups(
    stage: Stage, container: str, since_look: timedelta, shown: bool, since_run: timedelta | None, gone: bool
) -> None:
    now = stage.clock.now()
    stage.edit_pending(
        container,
        task_arn=NOTED,
        task_shown=shown,
        task_run_at=None if since_run is None else now - since_run,
        absent={NOTED: now - since_look},
    )
    looking = stage.looking(container)
    assert not looking.is_gone(NOTED)  # this attempt has not looked yet
    assert looking.look(NOTED) is None
    assert looking.is_gone(NOTED) is gone
    assert looking.absent == {NOTED: now - since_look}


@pytest.mark.parametrize(("since_look", "gone"), [(LOOKS - MILLISECOND, False), (LOOKS, True)])
def test_own_task_is_gone_after_two_lookups(stage: Stage, container: str, since_look: timedelta, gone: bool) -> None:
    arn = stage.container(container).task_arn
    assert arn is not None
    stage.edit_pending(container, absent={arn: stage.clock.now() - since_look})
    stage.hide_tasks()
    looking = stage.looking(container)
    assert looking.look(arn) is None
    assert looking.is_gone(arn) is gone


@pytest.mark.parametrize(("since_look", "gone"), [(LAST, True), (LAST + MILLISECOND, False)])
def test_an_expired_lookup_proves_nothing(stage: Stage, container: str, since_look: timedelta, gone: bool) -> None:
    now = stage.clock.now()
    stage.edit_pending(container, absent={NOTED: now - since_look})
    looking = stage.looking(container)
    looking.look(NOTED)
    assert looking.is_gone(NOTED) is gone
    assert looking.absent == {NOTED: now - since_look if gone else now}


def test_a_first_lookup_proves_nothing(stage: Stage, container: str) -> None:
    looking = stage.looking(container)
    assert looking.look(NOTED) is None
    assert looking.absent == {NOTED: stage.clock.now()}
    stage.advance(29.999)
    looking.look(NOTED)
    assert not looking.is_gone(NOTED)
    stage.advance(0.001)
    assert not looking.is_gone(NOTED)
    looking.look(NOTED)
    assert looking.is_gone(NOTED)


def test_a_late_response_proves_nothing(stage: Stage, container: str) -> None:
    """The time between two lookups ends when the second is sent, not when it is answered."""
    now = stage.clock.now()
    stage.edit_pending(container, absent={NOTED: now - LOOKS + MILLISECOND}, task_arn=NOTED, task_run_at=now - UNSHOWN)
    looking = stage.looking(container)
    stage.tick = 20
    looking.look(NOTED)
    assert stage.clock.now() == now + timedelta(seconds=20)
    assert not looking.is_gone(NOTED)
    looking.look(NOTED)
    assert looking.is_gone(NOTED)


def test_a_late_response_does_not_prove_that_a_new_task_is_gone(stage: Stage, container: str) -> None:
    now = stage.clock.now()
    stage.edit_pending(container, absent={NOTED: now - LOOKS}, task_arn=NOTED, task_run_at=now - UNSHOWN + MILLISECOND)
    looking = stage.looking(container)
    stage.tick = 1
    looking.look(NOTED)
    assert not looking.is_gone(NOTED)
    looking.look(NOTED)
    assert looking.is_gone(NOTED)


def test_a_task_that_ecs_returns_again_is_not_gone(stage: Stage, container: str) -> None:
    arn = stage.container(container).task_arn
    assert arn is not None
    stage.edit_pending(container, absent={arn: stage.clock.now() - LOOKS, NOTED: stage.clock.now()})
    looking = stage.looking(container)
    stage.hide_tasks(times=1)
    looking.look(arn)
    assert looking.is_gone(arn)
    assert looking.look(arn) is not None
    assert not looking.is_gone(arn)
    assert looking.absent == {NOTED: stage.clock.now()}
    assert not looking.task_shown  # another task than the one that the operation ran


def test_a_lookup_does_not_change_the_pending_operation(stage: Stage, container: str) -> None:
    pending = stage.pending(container)
    looking = stage.looking(container)
    looking.look(NOTED)
    assert (pending.absent, looking.pending.absent) == ({}, {})


def test_a_task_from_an_event_needs_no_describe_tasks(stage: Stage, container: str) -> None:
    (task,) = stage.live(container)
    reported = Task.of(task.to_api())
    looking = stage.looking(container, reported=reported)
    assert looking.look(task.arn) == reported
    assert stage.count("DescribeTasks") == 0
    looking.look(NOTED)
    assert stage.count("DescribeTasks") == 1


def test_find_looks_again_when_the_time_is_over(stage: Stage, container: str) -> None:
    arn = stage.container(container).task_arn
    assert arn is not None
    stage.hide_tasks(times=1)
    start = stage.clock.now()
    looking = stage.looking(container, wait=5)
    found = looking.find(arn)
    assert found is not None
    assert (found.arn, looking.absent, stage.count("DescribeTasks")) == (arn, {}, 2)
    assert stage.clock.now() - start == timedelta(seconds=5)


def test_find_ends_at_the_timeout_or_when_the_task_is_gone(stage: Stage, container: str) -> None:
    start = stage.clock.now()
    assert stage.looking(container, wait=5).find(NOTED) is None
    assert stage.clock.now() - start == timedelta(seconds=5)
    assert stage.count("DescribeTasks") == 2
    stage.edit_pending(container, absent={NOTED: stage.clock.now() - LOOKS})
    assert stage.looking(container, wait=500).find(NOTED) is None
    assert stage.clock.now() - start == timedelta(seconds=5)


# --- ending tasks --------------------------------------------------------------------------------------------------


def test_stop_task_is_called_once_per_task(stage: Stage, container: str) -> None:
    other = stage.ecs.adopt_running("default", "web-1", container).arn
    own = stage.container(container).task_arn
    assert own is not None
    ending = stage.looking(container, wait=5)
    ended = ending.end([own, other, own], "because")
    assert ended is not None
    assert list(ended) == [own, other]
    assert all(task.is_stopped for task in ended.values())
    assert [call["task"] for call in stage.parameters("StopTask")] == [own, other]
    assert ending.acted
    assert ending.on_its_way


def test_stop_task_is_repeated_while_it_does_not_find_the_task(stage: Stage, container: str) -> None:
    own = stage.container(container).task_arn
    assert own is not None
    stage.fail("StopTask", NOT_FOUND, times=2)
    ending = stage.looking(container, wait=5)
    assert ending.end([own], "because") is not None
    assert stage.count("StopTask") == 3
    assert ending.absent == {}


def test_ending_no_tasks_calls_nothing(stage: Stage, container: str) -> None:
    ending = stage.looking(container)
    assert ending.end([], "because") == {}
    assert (ending.acted, ending.on_its_way) == (False, False)


def test_a_task_that_is_gone_has_ended(stage: Stage, container: str) -> None:
    stage.edit_pending(container, absent={NOTED: stage.clock.now() - LOOKS})
    ending = stage.looking(container)
    assert ending.end([NOTED], "because") == {}
    assert (ending.acted, ending.on_its_way) == (False, False)


@pytest.mark.parametrize("since", [LOOKS - MILLISECOND, LOOKS])
def test_a_task_that_stop_task_does_not_find_is_looked_up(stage: Stage, container: str, since: timedelta) -> None:
    """A task that StopTask does not find is looked up before it counts as gone; a lookup has no effect."""
    own = stage.container(container).task_arn
    assert own is not None
    stage.edit_pending(container, absent={own: stage.clock.now() - since})
    stage.fail("StopTask", NOT_FOUND, times=-1)
    ending = stage.looking(container)
    assert ending.end([own], "because") is None
    assert stage.count("DescribeTasks") == (1 if since == LOOKS else 0)
    # It was returned, so two new lookups have to miss it.
    assert ending.absent == ({} if since == LOOKS else {own: stage.clock.now() - since})
    assert not ending.is_gone(own)
    assert not ending.acted


def test_a_task_that_neither_call_finds_is_gone(stage: Stage, container: str) -> None:
    own = stage.container(container).task_arn
    assert own is not None
    first = stage.clock.now() - LOOKS
    stage.edit_pending(container, absent={own: first})
    stage.fail("StopTask", NOT_FOUND, times=-1)
    stage.hide_tasks()
    ending = stage.looking(container)
    assert ending.end([own], "because") == {}
    assert (stage.count("StopTask"), stage.count("DescribeTasks"), ending.absent) == (1, 1, {own: first})


def test_a_first_lookup_that_expires_between_the_two_calls(stage: Stage, container: str) -> None:
    stage.edit_pending(container, absent={NOTED: stage.clock.now() - LAST})
    stage.before("DescribeTasks", lambda _: stage.advance(0.001))
    ending = stage.looking(container)
    assert ending.end([NOTED], "because") is None
    assert (stage.count("DescribeTasks"), ending.absent) == (1, {NOTED: stage.clock.now()})


def test_a_failed_lookup_does_not_prove_that_a_task_is_gone(stage: Stage, container: str) -> None:
    stage.edit_pending(container, absent={NOTED: stage.clock.now() - LOOKS})
    stage.fail("DescribeTasks", FAILED)
    assert stage.looking(container).end([NOTED], "because") is None
    assert stage.looking(container).end([NOTED], "because") == {}


def test_a_stopping_task_that_is_gone_is_looked_up_when_the_time_is_over(stage: Stage, container: str) -> None:
    own = stage.container(container).task_arn
    assert own is not None
    start = stage.clock.now()
    stage.after("StopTask", lambda _: stage.ecs.forget(own))
    ending = stage.looking(container, wait=60)
    assert ending.end([own], "because") is None
    assert (stage.count("StopTask"), stage.count("DescribeTasks")) == (1, 1)
    assert ending.absent == {own: start + timedelta(seconds=60)}


def test_stop_task_is_repeated_every_two_seconds(stage: Stage, container: str) -> None:
    start, calls = stage.clock.now(), list[float]()

    def note(_: Call) -> None:
        calls.append((stage.clock.now() - start).total_seconds())
        stage.before("StopTask", note)

    stage.before("StopTask", note)
    assert stage.looking(container, wait=9).end([NOTED], "because") is None
    assert all(2 <= round(after - before, 2) <= 2.5 for before, after in pairwise(calls[:-1]))
    assert (calls[0], calls[-1], len(calls)) == (0, 9, 6)


def test_timeout_before_a_task_has_ended(stage: Stage, container: str) -> None:
    own = stage.container(container).task_arn
    assert own is not None
    ending = stage.looking(container)
    assert ending.end([own], "because") is None
    assert (ending.acted, ending.on_its_way) == (True, True)


# --- watching ------------------------------------------------------------------------------------------------------


def test_watch_does_not_look_up_a_task_that_was_just_seen(stage: Stage, container: str) -> None:
    (task,) = stage.live(container)
    seen = Task.of(task.to_api())
    assert stage.looking(container).watch(seen, lambda _: False) == seen
    assert stage.count("DescribeTasks") == 0
    assert stage.looking(container, wait=0.1).watch(seen, lambda _: False) is not None
    assert stage.count("DescribeTasks") == 1


def test_watch_uses_the_task_of_the_event(stage: Stage, container: str) -> None:
    (task,) = stage.live(container)
    seen = Task.of(task.to_api())
    reported = seen._replace(last_status="STOPPED")
    assert stage.looking(container, reported=reported).watch(seen, lambda each: each.is_stopped) == reported
    other = reported._replace(arn=NOTED)
    assert stage.looking(container, reported=other).watch(seen, lambda each: each.is_stopped) == seen


def test_watch_keeps_the_last_seen_task_when_ecs_does_not_return_it(stage: Stage, container: str) -> None:
    (task,) = stage.live(container)
    seen = Task.of(task.to_api())
    stage.hide_tasks()
    watching = stage.looking(container, wait=1)
    assert watching.watch(seen, lambda _: False) == seen
    assert list(watching.absent) == [task.arn]


def test_watch_continues_after_a_refused_lookup(stage: Stage, container: str) -> None:
    (task,) = stage.live(container)
    seen = Task.of(task.to_api())
    stage.fail("DescribeTasks", DENIED)
    assert stage.looking(container, wait=5).watch(seen, lambda each: each.is_stopped) == seen


def test_end_survives_a_failed_lookup(stage: Stage, container: str) -> None:
    own = stage.container(container).task_arn
    assert own is not None
    stage.fail("DescribeTasks", DENIED)
    assert stage.looking(container, wait=5).end([own], "because") is None


# --- another worker ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["find", "watch", "end"])
def test_a_wait_ends_when_another_worker_changes_the_operation(stage: Stage, container: str, method: str) -> None:
    (task,) = stage.live(container)
    seen = Task.of(task.to_api())
    reads: list[int] = []

    def has_changed() -> bool:
        reads.append(1)
        return len(reads) == 3

    until = stage.clock.now() + timedelta(seconds=20)
    pending = stage.pending(container)
    attempt = Attempt(
        Ecs(clients().ecs), stage.clock, stage.container(container), pending, until, has_changed=has_changed
    )
    calls: dict[str, Callable[[], object]] = {
        "find": lambda: attempt.find(NOTED),
        "watch": lambda: attempt.watch(seen, lambda _: False),
        "end": lambda: attempt.end([task.arn], "because"),
    }
    with pytest.raises(ChangedError):
        calls[method]()
    assert timedelta(seconds=0.8) <= until - stage.clock.now() - timedelta(seconds=18) <= timedelta(seconds=1.1)
    assert stage.count("DescribeTasks") == (1 if method == "find" else 0)
