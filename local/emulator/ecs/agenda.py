"""The tasks of the emulator, the times of their next changes, and the clock."""

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from local.emulator.ecs.catalog import ACCOUNT, Catalog, Cluster, TaskDefinition
from local.emulator.ecs.engine import Engine
from local.emulator.ecs.services import SimulatedService
from local.emulator.ecs.tasks import SimulatedTask
from local.emulator.ecs.tokens import Token
from local.emulator.errors import AwsError


class Agenda:
    """All tasks, and the times of their next changes, on an injected clock.

    run_delay: seconds from RunTask to RUNNING; stop_delay: seconds from SIGTERM to the exit.
    rng: the source of ids; seed it for a reproducible simulation.
    engine: runs the containers of the tasks; the delays then do not apply.
    service_delay: seconds from a change of a service or of its tasks until the service scheduler acts on it.
    deregistration_delay: seconds in which a task of a service with a load balancer is DEACTIVATING: "The default is 300
        seconds" (target group attributes in the Elastic Load Balancing documentation).
    deprovision_delay: seconds in which a task with a network interface is DEPROVISIONING.
    """

    def __init__(
        self,
        catalog: Catalog,
        now: Callable[[], datetime],
        run_delay: float = 0.4,
        stop_delay: float = 0.3,
        rng: random.Random | None = None,
        account: str = ACCOUNT,
        engine: Engine | None = None,
        service_delay: float = 0.2,
        deregistration_delay: float = 300.0,
        deprovision_delay: float = 0.0,
    ) -> None:
        self._catalog = catalog
        self._now = now
        self._engine = engine
        self._run_delay = timedelta(seconds=run_delay)
        self._stop_delay = timedelta(seconds=stop_delay)
        self._service_delay = timedelta(seconds=service_delay)
        self._deregistration_delay = timedelta(seconds=deregistration_delay)
        self._deprovision_delay = timedelta(seconds=deprovision_delay)
        self._rng = rng or random.Random()
        self._account = account
        self._lock = threading.RLock()
        self._time: datetime | None = None
        self._tasks: dict[str, SimulatedTask] = {}
        self._tokens: dict[tuple[str, str], Token] = {}
        self._events: list[dict[str, Any]] = []
        # (time, sequence number, task ARN). The sequence number makes the order of equal times deterministic.
        self._agenda: list[tuple[datetime, int, str]] = []
        self._entries = itertools.count()
        self._capacity: dict[str, tuple[int | None, int | None]] = {}
        self._agents_lost: set[str] = set()
        self._hidden: set[str] = set()  # ARNs of tasks
        self._services: dict[tuple[str, str], SimulatedService] = {}  # by the ARN of the cluster and the name

    # ── time ──

    def advance(self, now: datetime) -> None:
        """Carry out the changes that are due by `now`, in order of time."""
        with self._lock:
            while (due := self.next_due()) is not None and due <= now:
                self._carry_out(due)
            self._time = max(now, self._time or now)

    def _carry_out(self, due: datetime) -> None:
        """Carry out the next change, which is due at `due`."""
        task = self._tasks[heapq.heappop(self._agenda)[2]]
        self._step(task, due)
        self._schedule(task)

    def next_due(self) -> datetime | None:
        """Return the time of the next change, or None."""
        with self._lock:
            while self._agenda:
                due, _, arn = self._agenda[0]
                task = self._tasks.get(arn)
                if task is not None and task.next_due() == due:
                    return due
                # The entry is outdated: the task has changed, and its next change has its own entry.
                heapq.heappop(self._agenda)
            return None

    def _step(self, task: SimulatedTask, at: datetime) -> None:
        """Carry out the change of a task that is due at `at`."""
        raise NotImplementedError

    def _schedule(self, task: SimulatedTask) -> None:
        """Schedule the next change of a task. Call it after every change of the task."""
        due = task.next_due()
        if due is not None:
            heapq.heappush(self._agenda, (due, next(self._entries), task.arn))

    def drain_events(self) -> list[dict[str, Any]]:
        """Return the EventBridge events of tasks and services since the last call, in order."""
        with self._lock:
            events, self._events = self._events, []
            return events

    def _tick(self) -> datetime:
        """Advance to the time of the clock, and return it. Time never runs backwards."""
        self.advance(self._now())
        assert self._time is not None
        return self._time

    # ── look-up ──

    def _cluster(self, parameters: dict[str, Any], region: str) -> Cluster:
        cluster = self._catalog.cluster(str(parameters.get("cluster") or "default"), region)
        if cluster is None:
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        return cluster

    def _definition(self, parameters: dict[str, Any], region: str) -> TaskDefinition:
        definition = self._catalog.task_definition(str(parameters.get("taskDefinition", "")), region)
        if definition is None:
            raise AwsError("ClientException", "TaskDefinition not found.")
        if not definition.active:
            raise AwsError("ClientException", "TaskDefinition is inactive")
        return definition

    def _find(self, cluster: Cluster, reference: str) -> SimulatedTask | None:
        if not reference.startswith("arn:"):
            reference = f"{cluster.arn.replace(':cluster/', ':task/')}/{reference}"
        task = None if reference in self._hidden else self._tasks.get(reference)
        return task if task is not None and task.cluster == cluster else None

    # ── ids ──

    def _hex(self, digits: int) -> str:
        return f"{self._rng.getrandbits(4 * digits):0{digits}x}"

    def _uuid(self) -> str:
        return "-".join(self._hex(digits) for digits in (8, 4, 4, 4, 12))
