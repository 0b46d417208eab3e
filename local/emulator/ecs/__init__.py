"""Amazon ECS tasks: a state machine on an injected clock, without threads or HTTP.

    PROVISIONING ──► PENDING ──► RUNNING ──► STOPPING (Fargate: DEACTIVATING) ──► STOPPED ──► forgotten
    (Fargate only)      │                                                           ▲         after an hour
                        └─ the image cannot be pulled, or StopTask ─────────────────┘

`advance(now)` carries out whatever has become due, in order of time; `next_due()` says when that will next be
the case, so that a virtual clock can jump. Every request and control first advances to the injected clock's
time. All methods may be called from any thread.

What the simulated process does is told by `dockerLabels` of its container definition:

    simulate.start           never: stays PENDING; fail: its image can't be pulled
    simulate.ignore-sigterm  true: a stop lasts the whole stopTimeout (default 30 s), then exit code 137
    simulate.exit-after      seconds from its start to its own exit
    simulate.exit-code       the code of that exit, default 0

With an `Engine` the processes are real, and these labels mean nothing: the engine starts and stops them, and tells
when they start and end. The states and their order stay this package's.
"""

from local.emulator.ecs.api import TaskApi
from local.emulator.ecs.catalog import ACCOUNT, REGION, Catalog, Cluster, Instance, StaticCatalog, TaskDefinition
from local.emulator.ecs.controls import Controls
from local.emulator.ecs.engine import Engine, NotStartedError
from local.emulator.ecs.host import HostCommands
from local.emulator.ecs.reports import EngineReports
from local.emulator.ecs.tasks import SIGKILLED, SimulatedContainer, SimulatedTask


class TaskSimulation(TaskApi, EngineReports, HostCommands, Controls):
    """RunTask, StopTask, DescribeTasks, ListTasks and ListContainerInstances, and the controls of a test.

    `TaskLife` tells what to make it with.
    """


__all__ = [
    "ACCOUNT",
    "REGION",
    "SIGKILLED",
    "Catalog",
    "Cluster",
    "Engine",
    "Instance",
    "NotStartedError",
    "SimulatedContainer",
    "SimulatedTask",
    "StaticCatalog",
    "TaskDefinition",
    "TaskSimulation",
]
