"""Amazon ECS tasks and services: a state machine on an injected clock, without threads or HTTP.

    PROVISIONING ──► PENDING ──► RUNNING ──► STOPPING (Fargate: DEACTIVATING) ──► STOPPED ──► forgotten
    (Fargate only)      │                                                           ▲         after an hour
                        └─ the image cannot be pulled, or StopTask ─────────────────┘
    Behind a load balancer, a task is DEACTIVATING first; `life` describes what it passes until it is STOPPED.

`advance(now)` carries out the changes that are due, in order of time. `next_due()` returns the time of the next change,
for virtual clocks. Every request and control first advances to the time of the injected clock. All methods are
thread-safe.

`dockerLabels` of the container definition control the simulated process:

    simulate.start           never: stays PENDING; fail: the image cannot be pulled
    simulate.ignore-sigterm  true: a stop takes the whole stopTimeout (default 30 s), and ends with exit code 137
    simulate.exit-after      seconds from the start to the exit
    simulate.exit-code       the exit code of that exit, default 0

Services run tasks until they have their desired count; `service_scheduler` describes the scheduler.

With an `Engine`, the processes are real and the labels have no effect: the engine starts and stops the processes, and
reports their starts and exits. This package still determines the states and their order.
"""

from local.emulator.ecs.catalog import ACCOUNT, REGION, Catalog, Cluster, Instance, StaticCatalog, TaskDefinition
from local.emulator.ecs.engine import Engine, NotStartedError
from local.emulator.ecs.host import HostCommands
from local.emulator.ecs.reports import EngineReports
from local.emulator.ecs.service_controls import ServiceControls
from local.emulator.ecs.service_deployments import ServiceDeployment
from local.emulator.ecs.services import Deployment, SimulatedService
from local.emulator.ecs.tasks import SIGKILLED, SimulatedContainer, SimulatedTask


class TaskSimulation(ServiceControls, EngineReports, HostCommands):
    """The simulated ECS API and its controls for tests. `Agenda` describes the parameters of the constructor."""


__all__ = [
    "ACCOUNT",
    "REGION",
    "SIGKILLED",
    "Catalog",
    "Cluster",
    "Deployment",
    "Engine",
    "Instance",
    "NotStartedError",
    "ServiceDeployment",
    "SimulatedContainer",
    "SimulatedService",
    "SimulatedTask",
    "StaticCatalog",
    "TaskDefinition",
    "TaskSimulation",
]
