"""Tests that the hostile ECS stays within the limits that the engine relies on."""

import random
from collections import Counter
from datetime import datetime, timedelta

import pytest

from local.emulator.ecs import StaticCatalog
from local.emulator.errors import AwsError
from simulation.hostile_ecs import HostileEcs
from simulation.hostility import Hostility, Reached
from simulation.hosts import Effects
from simulation.scheduler import Actor
from simulation.trace import START

_HOST = "i-0a1b2c3d4e5f60718"


class Cluster:
    """A hostile ECS with one cluster, and a manually set clock."""

    def __init__(self, hostility: Hostility, seed: int = 0) -> None:
        self.now = START
        self.reached: Counter[Reached] = Counter()
        catalog = StaticCatalog()
        catalog.add_cluster("default")
        catalog.add_task_definition("web", [{"name": "app", "memory": 128, "essential": True}])
        self.tasks = Effects(catalog, lambda: self.now, rng=random.Random(seed))
        self.tasks.add_instance("default", _HOST)
        self.ecs = HostileEcs(
            self.tasks, hostility, lambda: self.now, random.Random(seed), lambda what: self.reached.update([what])
        )

    def run(self, token: str = "token") -> str:
        request = {"cluster": "default", "taskDefinition": "web", "clientToken": token}
        answer = self.ecs.handle(self._actor(), "RunTask", request)
        return str(answer["tasks"][0]["taskArn"])

    def sees(self, view: str, arn: str) -> bool:
        """Return whether DescribeTasks returns the task or StopTask finds it."""
        if view == "DescribeTasks":
            answer = self.ecs.handle(self._actor(), view, {"cluster": "default", "tasks": [arn]})
            return bool(answer["tasks"])
        try:
            self.ecs.handle(self._actor(), view, {"cluster": "default", "task": arn})
        except AwsError as error:
            if "task was not found" not in error.message:
                raise
            return False
        return True

    def wait(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    @staticmethod
    def _actor() -> Actor:
        actor = Actor("test", timedelta(), None)
        actor.ended = True
        return actor


@pytest.mark.parametrize("seed", range(20))
def test_a_new_task_is_visible_after_five_minutes(seed: int) -> None:
    cluster = Cluster(Hostility(stop_unknown=300.0, missing=300.0), seed)
    arn = cluster.run()
    cluster.wait(301)
    assert cluster.sees("DescribeTasks", arn)
    assert cluster.sees("StopTask", arn)


@pytest.mark.parametrize("seed", range(20))
def test_a_shown_task_is_visible_everywhere_after_25_seconds(seed: int) -> None:
    cluster = Cluster(Hostility(stop_unknown=300.0), seed)
    arn = cluster.run()
    assert cluster.sees("DescribeTasks", arn)
    cluster.wait(26)
    assert cluster.sees("StopTask", arn)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("new", [0.0, 300.0])
def test_two_requests_30_seconds_apart_find_a_task(new: float, seed: int) -> None:
    """At least one of two requests 30 s apart finds a task that ECS has shown, however it disappears."""
    cluster = Cluster(Hostility(stop_flickers=0.9, missing_flickers=0.9, stop_unknown=new), seed)
    arn, chance = cluster.run(), random.Random(seed)
    assert cluster.sees("DescribeTasks", arn)
    failed_at = None
    # Within the time that ECS remembers the task, which the first StopTask stops.
    while cluster.now < START + timedelta(minutes=50):
        now = cluster.wait(chance.choice((0.5, 5, 29, 31, 60, 400)))
        if cluster.sees(chance.choice(("DescribeTasks", "StopTask")), arn):
            failed_at = None
        else:
            failed_at = failed_at or now
            assert now - failed_at < timedelta(seconds=30)
    assert cluster.reached[Reached.MISSING_FLICKER] or cluster.reached[Reached.STOP_UNKNOWN_FLICKER]


def test_quotas_throttle_and_refill() -> None:
    cluster = Cluster(Hostility(quota=1.0, quota_burst=2))
    cluster.run("one")
    cluster.run("two")
    with pytest.raises(AwsError, match="ThrottlingException"):
        cluster.run("three")
    cluster.wait(1)
    cluster.run("three")
    assert cluster.reached == {Reached.THROTTLED: 1}


def test_a_token_expires_after_a_day() -> None:
    cluster = Cluster(Hostility())
    first = cluster.run()
    cluster.wait(23 * 3600)
    assert cluster.run() == first
    cluster.wait(2 * 3600)
    assert cluster.run() != first
    assert cluster.reached == {Reached.TOKEN_EXPIRED: 1}


@pytest.mark.parametrize("remembered", [True, False])
def test_failures_are_remembered_or_not(remembered: bool) -> None:
    cluster = Cluster(Hostility(failures_remembered=remembered))
    cluster.tasks.set_capacity(_HOST, memory=0)
    request = {"cluster": "default", "taskDefinition": "web", "clientToken": "token"}
    actor = Actor("test", timedelta(), None)
    assert cluster.ecs.handle(actor, "RunTask", request)["failures"]
    cluster.tasks.set_capacity(_HOST)
    assert bool(cluster.ecs.handle(actor, "RunTask", request)["tasks"]) is not remembered
