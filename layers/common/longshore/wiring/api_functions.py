"""Wires the objects of a function, each once and only when it is first needed."""

import os
import threading
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

from longshore.aws.access import Access
from longshore.aws.history_pages import HistoryPages
from longshore.aws.store import Store
from longshore.domain.clock import SystemClock
from longshore.engine.reader import Reader
from longshore.wiring.settings import Settings

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_ecs import ECSClient
    from types_boto3_lambda import LambdaClient
    from types_boto3_ssm import SSMClient

    from longshore.aws.hosts import HostCommands
    from longshore.engine.driver import Driver
    from longshore.engine.operations import Operations

# A request that takes longer than the read timeout is sent again, so all of it must fit into a function's 29 seconds.
_CONFIG = Config(
    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}, max_pool_connections=50
)


_lock = threading.RLock()
"""A session may not make clients for two threads at once."""


@cache
def settings() -> Settings:
    return Settings.of(os.environ)


@cache
def _session() -> botocore.session.Session:
    return botocore.session.get_session()


def _client(service: str) -> Any:
    with _lock:
        return _session().create_client(service, config=_CONFIG)


@cache
def dynamodb() -> "DynamoDBClient":
    client: DynamoDBClient = _client("dynamodb")
    return client


@cache
def ecs() -> "ECSClient":
    client: ECSClient = _client("ecs")
    return client


@cache
def ssm() -> "SSMClient":
    client: SSMClient = _client("ssm")
    return client


@cache
def functions() -> "LambdaClient":
    client: LambdaClient = _client("lambda")
    return client


@cache
def store() -> Store:
    names = settings()
    return Store(
        dynamodb(),
        containers=names.containers_table,
        status_logs=names.status_logs_table,
        idempotency=names.idempotency_table,
        clock=SystemClock(),
    )


@cache
def access() -> Access:
    return Access(dynamodb(), settings().access_table)


@cache
def history_pages() -> HistoryPages:
    names = settings()
    return HistoryPages(dynamodb(), containers=names.containers_table, status_logs=names.status_logs_table)


@cache
def reader() -> Reader:
    return Reader(store(), history_pages(), access())


@cache
def hosts() -> "HostCommands":
    from longshore.aws.ecs import Ecs
    from longshore.aws.hosts import HostCommands

    return HostCommands(ssm, Ecs(ecs()), settings().host_command_document, SystemClock())


@cache
def driver() -> "Driver":
    # What only operations need is not imported by the functions that read.
    from longshore.aws.ecs import Ecs
    from longshore.domain.models import Container, IdempotencyRecord, Outcome, PendingOperation, StatusLog
    from longshore.engine.driver import Driver
    from longshore.engine.steps import Steps

    for model in (Container, IdempotencyRecord, Outcome, PendingOperation, StatusLog):
        model.model_rebuild()
    clock = SystemClock()
    return Driver(store(), Steps(Ecs(ecs()), hosts(), clock), clock)


@cache
def operations() -> "Operations":
    from longshore.engine.operations import Operations

    wait = timedelta(seconds=settings().wait_seconds)
    return Operations(store(), access(), driver(), SystemClock(), wait)


def forget() -> None:
    """Make everything anew when it is next needed, as a new execution environment would."""
    clients = (settings, _session, dynamodb, ecs, ssm, functions)
    for made in (*clients, store, access, history_pages, reader, hosts, driver, operations):
        made.cache_clear()
