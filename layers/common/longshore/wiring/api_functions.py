"""Creates the clients and use cases of the functions behind the API, each once and on first use."""

import os
import threading
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

from longshore.aws.access import Access
from longshore.domain.clock import SystemClock
from longshore.engine.reader import ContainerReader, HistoryReader
from longshore.wiring.settings import Settings

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ecs import ECSClient
    from types_boto3_events import EventBridgeClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_ssm import SSMClient

    from longshore.aws.ecs import Ecs, Pacing
    from longshore.aws.history_pages import HistoryPages
    from longshore.aws.hosts import HostCommands
    from longshore.aws.listing import ContainerListing
    from longshore.aws.project_history import ProjectHistory
    from longshore.aws.services import Services
    from longshore.aws.store import Store
    from longshore.engine.changes import ContainerChanges
    from longshore.engine.driver import Driver
    from longshore.engine.lists import ContainerLists
    from longshore.engine.operations import Operations
    from longshore.engine.project_reader import ProjectReader
    from longshore.engine.projects import ProjectList

# botocore repeats a request that exceeds the read timeout. All attempts must fit into a function's 29 seconds.
_CONFIG = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}, max_pool_connections=50
)

# The engine itself repeats calls of ECS. It does not repeat calls that ECS throttles, because each of them uses up the
# quota of the account, too.
_ONCE = _CONFIG.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))

# A session must not create clients on two threads at the same time.
_lock = threading.RLock()


@cache
def settings() -> Settings:
    return Settings.of(os.environ)


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


def _client(service: str, config: Config = _CONFIG) -> Any:
    with _lock:
        return _session().create_client(service, config=config)


@cache
def dynamodb() -> "DynamoDBClient":
    client: DynamoDBClient = _client("dynamodb")
    return client


@cache
def ecs() -> "ECSClient":
    client: ECSClient = _client("ecs", _ONCE)
    return client


@cache
def ecs_of_services() -> "ECSClient":
    client: ECSClient = _client("ecs", _brief())
    return client


@cache
def scaling() -> Any:
    """Return the client of Application Auto Scaling."""
    return _client("application-autoscaling", _brief())


def _brief() -> Config:
    """Return the configuration of the clients that change services: the next operation waits for the longest call."""
    from longshore.aws.services import CONNECT_SECONDS, READ_SECONDS

    return _ONCE.merge(Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS))


@cache
def ssm() -> "SSMClient":
    client: SSMClient = _client("ssm")
    return client


@cache
def functions() -> "LambdaClient":
    client: LambdaClient = _client("lambda")
    return client


@cache
def scheduler() -> Any:
    """Return the client of EventBridge Scheduler."""
    return _client("scheduler")


@cache
def events() -> "EventBridgeClient":
    client: EventBridgeClient = _client("events")
    return client


@cache
def sqs() -> Any:
    return _client("sqs")


@cache
def store() -> "Store":
    from longshore.aws.store import Store

    names = settings()
    return Store(
        dynamodb(),
        containers=names.containers_table,
        status_logs=names.status_logs_table,
        idempotency=names.idempotency_table,
        clock=SystemClock(),
        retention=names.history_retention,
        on_large=_on_large,
    )


def _on_large(container_id: str, size: float) -> None:
    """Log and publish the size of a history that is near DynamoDB's limit."""
    from longshore.edge.lambda_events import log_large_history
    from longshore.edge.metrics import Metric, publish

    log_large_history(container_id, size)
    publish(None, {Metric.HISTORY_GIGABYTES: size})


@cache
def access() -> Access:
    return Access(dynamodb(), settings().access_table)


@cache
def container_reader() -> ContainerReader:
    from longshore.aws.waiting import WaitingPlaces

    names = settings()
    places = WaitingPlaces(dynamodb(), names.idempotency_table, names.wait_concurrency, SystemClock())
    return ContainerReader(store(), access(), places, SystemClock())


@cache
def container_changes() -> "ContainerChanges":
    from longshore.aws.details import ContainerDetails
    from longshore.domain.ledger import KnownTask
    from longshore.engine.changes import ContainerChanges
    from longshore.engine.counts import CountChanges

    KnownTask.model_rebuild()
    details = ContainerDetails(dynamodb(), settings().containers_table, SystemClock())
    counts = CountChanges(store(), services_of(), SystemClock())
    return ContainerChanges(store(), details, access(), counts, SystemClock())


@cache
def history_pages() -> "HistoryPages":
    from longshore.aws.history_pages import HistoryPages

    names = settings()
    return HistoryPages(dynamodb(), containers=names.containers_table, status_logs=names.status_logs_table)


@cache
def history_reader() -> HistoryReader:
    return HistoryReader(history_pages(), access(), SystemClock(), settings().history_retention)


@cache
def container_listing() -> "ContainerListing":
    from longshore.aws.listing import ContainerListing
    from longshore.domain.models import Container
    from longshore.domain.pending import PendingOperation
    from longshore.edge.lambda_events import log_failure

    for model in (Container, PendingOperation):
        model.model_rebuild()
    return ContainerListing(dynamodb(), settings().containers_table, SystemClock(), log_failure)


@cache
def container_lists() -> "ContainerLists":
    from longshore.domain.views import ContainerView
    from longshore.engine.lists import ContainerLists

    ContainerView.model_rebuild()
    return ContainerLists(container_listing(), access())


@cache
def project_list() -> "ProjectList":
    from longshore.engine.projects import ProjectList

    return ProjectList(access())


@cache
def project_history() -> "ProjectHistory":
    from longshore.aws.project_history import ProjectHistory

    names = settings()
    return ProjectHistory(
        dynamodb(), SystemClock(), containers=names.containers_table, status_logs=names.status_logs_table
    )


@cache
def project_reader() -> "ProjectReader":
    from longshore.engine.project_reader import ProjectReader

    return ProjectReader(project_history(), access(), SystemClock(), settings().history_retention)


@cache
def hosts() -> "HostCommands":
    from longshore.aws.ecs import Ecs
    from longshore.aws.hosts import HostCommands

    return HostCommands(ssm, Ecs(ecs()), settings().host_command_document, SystemClock())


def services_of(pacing: "Pacing | None" = None) -> "Services":
    """Create the `Services` of a worker. The clients are created on first use."""
    from longshore.aws.services import Services

    return Services(ecs_of_services, scaling, pacing)


@cache
def driver() -> "Driver":
    from longshore.aws.ecs import Ecs

    return driver_of(Ecs(ecs()), services_of())


def driver_of(ecs: "Ecs", services: "Services") -> "Driver":
    """Create a driver that calls ECS in this way."""
    # Functions that only read do not import these.
    from longshore.domain.ledger import KnownTask, LastTask
    from longshore.domain.models import Container, IdempotencyRecord, Outcome, StatusLog
    from longshore.domain.pending import Idempotency, Launch, PendingOperation, ServiceChange
    from longshore.engine.driver import Driver
    from longshore.engine.service_steps import StepsByKind

    stored = (Container, IdempotencyRecord, KnownTask, LastTask, Outcome, PendingOperation, StatusLog)
    for model in (*stored, Idempotency, Launch, ServiceChange):
        model.model_rebuild()
    clock = SystemClock()
    return Driver(store(), StepsByKind(ecs, hosts(), clock, services), clock)


@cache
def operations() -> "Operations":
    return operations_of(driver())


def operations_of(driver: "Driver") -> "Operations":
    """Create operations that this driver performs."""
    from longshore.engine.operations import Operations

    wait = timedelta(seconds=settings().wait_seconds)
    return Operations(store(), access(), driver, SystemClock(), wait)


def forget() -> None:
    """Discard all objects, as a new execution environment does."""
    clients = (settings, _session, dynamodb, ecs, ecs_of_services, scaling, ssm, functions, scheduler, events, sqs)
    histories = (history_pages, history_reader, project_history, project_reader)
    readers = (container_reader, container_listing, container_lists, project_list, *histories)
    for made in (*clients, store, access, *readers, container_changes, hosts, driver, operations):
        made.cache_clear()
