"""A week of working hours on a virtual clock: the history of 200 containers is exactly the expected one.

The containers start at 8:00 and stop at 18:00 from Monday to Friday in Berlin, from Wednesday to Tuesday, over the
weekend on which the clocks change. Meanwhile users start containers at night and stop some during the day, put some on
hold, protect some and limit the time of some. An event arrives two hours late, another half an hour late, two arrive
twice, and the first attempt of every run crashes in its batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from longshore.aws.items import log_item
from longshore.domain.history import append
from longshore.domain.lifecycle import LaunchType, Operation, Status
from longshore.domain.models import Change, Container, Runtime
from longshore.domain.pending import Trigger
from longshore.domain.timetable import next_runs, timetable
from longshore.engine.schedules import ScheduleInput

from engine.aws import CLUSTER, Crash
from engine.stage import PROJECT, USER, Stage

BERLIN = ZoneInfo("Europe/Berlin")
FIRST = datetime(2025, 3, 26, tzinfo=BERLIN).astimezone(UTC)
LAST = datetime(2025, 4, 2, tzinfo=BERLIN).astimezone(UTC)
START, STOP = "cron(0 8 ? * MON-FRI *)", "cron(0 18 ? * MON-FRI *)"
COUNT = 200
IDS = [f"{number:024x}" for number in range(1, COUNT + 1)]
NIGHT = IDS[::20]  # started by a user at 22:00 on Thursday
PAUSE = [*IDS[::40], *IDS[5::50]]  # stopped by a user at 12:00 on Friday, if they run, and at 8:10 on Tuesday
LATE_STOP = IDS[7::25]  # started again by a user between the scheduled time and a late event
DEPLOYED = IDS[9::50]  # restarted by a user at 20:00 on Saturday
HELD = IDS[3::40]  # on hold from 12:00 on Wednesday until 9:00 on Friday
PROTECTED = IDS[18::40]  # from 12:00 on Thursday until 12:00 on Monday
LIMITED = IDS[13::40]  # given a `stop_at` of 12:00 on Wednesday, and an idle timeout of three hours on Monday
KEPT_ALIVE = LIMITED[:2]  # kept alive at 10:00 on Monday
IDLE = timedelta(hours=3)


def at(day: str, time: str) -> datetime:
    return datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=BERLIN).astimezone(UTC)


class Action:
    """What happens at a time: `do` is called then."""

    def __init__(
        self, time: datetime, kind: str, scheduled: datetime | None = None, ids: Any = (), values: Any = None
    ) -> None:
        self.time, self.kind, self.scheduled, self.ids, self.values = time, kind, scheduled, ids, values


def scheduled(expression: str) -> Iterator[datetime]:
    for time in next_runs(timetable(expression, BERLIN), FIRST, 10):
        if time < LAST:
            yield time


def actions() -> list[Action]:
    """Return the events of the week and the requests of users, in order."""
    delays = {
        at("2025-03-28", "08:00"): [timedelta(hours=2)],  # too late: Friday's start does not happen
        at("2025-03-31", "18:00"): [timedelta(minutes=30)],
        at("2025-04-01", "08:00"): [timedelta(seconds=9), timedelta(minutes=20)],
        at("2025-03-27", "18:00"): [timedelta(seconds=9), timedelta(minutes=50)],
    }
    found = [
        Action(time + delay, kind, time)
        for kind, expression in (("start", START), ("stop", STOP))
        for time in scheduled(expression)
        for delay in delays.get(time, [timedelta(seconds=9)])
    ]
    assert len(found) == 12
    found += [
        Action(at("2025-03-27", "22:00"), "user start", ids=NIGHT),
        Action(at("2025-03-28", "12:00"), "user stop", ids=PAUSE),
        # Between the scheduled time of Monday's stop and its late event.
        Action(at("2025-03-31", "18:10"), "user restart", ids=LATE_STOP),
        # Between the two deliveries of Tuesday's start.
        Action(at("2025-04-01", "08:10"), "user stop", ids=PAUSE),
        Action(at("2025-03-29", "20:00"), "user restart", ids=DEPLOYED),
        Action(at("2025-03-26", "12:02"), "sweep"),
        *(Action(at("2025-03-31", time), "sweep") for time in ("11:02", "13:02")),
    ]
    found += [
        Action(at("2025-03-26", "12:10"), "change", ids=HELD, values={"hold_until": at("2025-03-28", "09:00")}),
        Action(at("2025-03-27", "12:00"), "change", ids=PROTECTED, values={"protection": "a demonstration"}),
        Action(at("2025-03-31", "12:00"), "change", ids=PROTECTED, values={"protection": None}),
        Action(at("2025-03-26", "09:00"), "change", ids=LIMITED, values={"stop_at": at("2025-03-26", "12:00")}),
        Action(at("2025-03-31", "07:00"), "change", ids=LIMITED, values={"idle_timeout": int(IDLE.total_seconds())}),
        Action(at("2025-03-31", "10:00"), "keep-alive", ids=KEPT_ALIVE),
        Action(at("2025-03-31", "20:00"), "change", ids=LIMITED, values={"idle_timeout": None}),
    ]
    return sorted(found, key=lambda action: action.time)


def expected(identity: str) -> list[tuple[str, str, str]]:
    """Return the rows of a container after its first: the status, the cause, and the day and local time."""
    is_night, is_pause = identity in NIGHT, identity in PAUSE
    is_late, is_deployed = identity in LATE_STOP, identity in DEPLOYED
    rows = [("running", "schedule", "03-26 08:00")]
    if identity not in HELD:
        rows.append(("stopped", "schedule", "03-26 12:00" if identity in LIMITED else "03-26 18:00"))
        rows.append(("running", "schedule", "03-27 08:00"))
    if identity in HELD:
        rows.append(("stopped", "schedule", "03-28 18:00"))
    elif identity not in PROTECTED:
        rows.append(("stopped", "schedule", "03-27 18:00"))
    if is_night:
        rows.append(("running", "user", "03-27 22:00"))
    # Friday's start came two hours late, and did nothing: only the containers that ran at night run.
    if is_pause and is_night:
        rows.append(("stopped", "user", "03-28 12:00"))
    elif is_night:
        rows.append(("stopped", "schedule", "03-28 18:00"))
    if is_deployed:
        rows.append(("running", "user", "03-29 20:00"))
    elif identity not in PROTECTED:
        rows.append(("running", "schedule", "03-31 08:00"))
    # Monday's stop came half an hour late, and skipped the containers that a user had restarted since.
    if is_late:
        rows += [("stopped", "user", "03-31 18:10"), ("running", "user", "03-31 18:10")]
    else:
        idle = "03-31 13:00" if identity in KEPT_ALIVE else "03-31 11:00"
        rows.append(("stopped", "schedule", idle if identity in LIMITED else "03-31 18:30"))
        rows.append(("running", "schedule", "04-01 08:00"))
    if is_pause:
        # The second delivery of Tuesday's start did not start them again.
        rows.append(("stopped", "user", "04-01 08:10"))
    else:
        rows.append(("stopped", "schedule", "04-01 18:00"))
    return rows


@pytest.fixture
def week() -> Stage:
    """A stage with 200 stopped containers, at the beginning of the week."""
    stage = Stage()
    stage.clock.time = FIRST
    stage.catalog.add_task_definition(
        "web", [{"name": "app", "image": "busybox", "memory": 1, "stopTimeout": 2}], compatibilities=("EC2",)
    )
    for identity in IDS:
        container = Container(
            id=identity,
            project_id=PROJECT,
            name=f"demo-{identity[-3:]}",
            status=Status.STOPPED,
            status_since=FIRST,
            runtime=Runtime(cluster=CLUSTER, task_definition="web", launch_type=LaunchType.EC2),
            created_at=FIRST,
            updated_at=FIRST,
        )
        change = Change(to_status=Status.STOPPED, observed_at=FIRST, triggered_by=Trigger.SYSTEM)
        container, entry = append(container, change, identity, FIRST)
        stage.dynamodb.handle("PutItem", {"TableName": "status-logs", "Item": log_item(entry)})
        stage.put(container)
    stage.tick = 0
    return stage


def run_with_a_crash(week: Stage, action: Action, number: int) -> bool:
    """Deliver the event of a schedule. The function crashes in its batch, and Lambda delivers the event again.

    Returns:
        Whether it crashed. It does not if there is nothing to do.
    """
    wanted = ScheduleInput(
        project_id=PROJECT,
        operation=Operation(action.kind),
        rule=f"working-hours-{action.kind}",
        actor=USER,
        time=action.scheduled,
    )

    def run() -> int:
        with week.open():
            return week.wired.schedules.run(wanted, f"run-{number}", lambda: True, now=week.clock.now()).begun

    def crash(_: Any) -> None:
        raise Crash

    # After a claim, or after a call to ECS whose effect is then unknown.
    call = ("UpdateItem", "RunTask" if action.kind == "start" else "StopTask")[number % 2]
    week.after(call, crash, skip=3)
    try:
        assert run() == 0
    except Crash:
        settle(week, deadline=False)
        run()
        return True
    week._hooks.clear()
    return False


def settle(week: Stage, *, deadline: bool = True) -> None:
    """Deliver the events of the tasks, and run the recovery sweep after the deadline of what has crashed."""
    week.advance(10)
    week.deliver_all()
    if deadline:
        week.pass_deadline()
        week.advance(10)
        week.deliver_all()
    week.calls.clear()


def act(week: Stage, action: Action, number: int) -> bool:
    """Do what happens at a time. Return whether a function crashed."""
    if action.kind in ("start", "stop"):
        return run_with_a_crash(week, action, number)
    for identity in action.ids:
        if action.kind == "change":
            week.patch(identity, **action.values)
        elif action.kind == "keep-alive":
            week.keep_alive(identity)
        elif action.kind != "user stop" or week.container(identity).is_live:
            week.ask(identity, action.kind.removeprefix("user "), request_id="r")
    return False


def test_a_week(week: Stage) -> None:
    week._put("access", {"user_id": USER, "scope": f"project#{PROJECT}", "role": "owner"})
    crashes = 0
    for number, action in enumerate(actions()):
        assert week.clock.now() <= action.time
        week.clock.time = action.time
        crashes += act(week, action, number)
        settle(week)
    # All twelve events, except the one that was too late, and the second deliveries of two others.
    assert crashes == 9
    assert week.stuck in ([], [0] * len(week.stuck))
    assert week.failures == []
    for identity in IDS:
        rows = week.rows(identity)[1:]
        shown = [(row["to_status"], row["triggered_by"], local(row)) for row in rows]
        assert shown == expected(identity), identity
        for row in rows:
            by, hours = row["metadata"].get("rule"), f"working-hours-{row['metadata']['command']}"
            if local(row)[:8] in ("03-26 12", "03-31 11", "03-31 13"):
                assert by == ("stop_at" if local(row) == "03-26 12:00" else "idle_timeout")
                assert "actor" not in row["metadata"]
            else:
                assert by == (hours if row["triggered_by"] == "schedule" else None)
                assert row["metadata"]["actor"] == USER
    # Nothing runs that should not.
    assert [task for task in week.ecs.tasks() if task.live] == []


def local(row: dict[str, Any]) -> str:
    """Return the local minute at which a row was written, within a few minutes of the request."""
    moment = datetime.fromisoformat(row["transition_time"]).astimezone(BERLIN)
    minute = moment.minute // 10 * 10
    return f"{moment:%m-%d %H}:{minute:02d}"
