"""Client for Longshore, a container lifecycle API for Amazon ECS.

with Longshore("https://host/stage", token) as client:
    client.api.containers.manage("507f1f77bcf86cd799439011", "start", wait=True)
"""

from longshore_client._changes import Limits
from longshore_client._filters import ContainerFilters, LogFilters, ProjectLogFilters
from longshore_client.aio import AsyncLongshore
from longshore_client.client import Longshore
from longshore_client.errors import (
    ApiError,
    ContainerProtectedError,
    LongshoreError,
    OperationFailedError,
    OperationStateConflictError,
    TransportError,
    UnexpectedAnswerError,
    WaitTimeoutError,
)
from longshore_client.models import (
    Container,
    ContainersPage,
    OperationResult,
    PendingOperation,
    Project,
    ProjectLogsPage,
    Schedule,
    StatusLog,
    StatusLogsPage,
    Targets,
)
from longshore_client.retries import Retries

__all__ = [
    "ApiError",
    "AsyncLongshore",
    "Container",
    "ContainerFilters",
    "ContainerProtectedError",
    "ContainersPage",
    "Limits",
    "LogFilters",
    "Longshore",
    "LongshoreError",
    "OperationFailedError",
    "OperationResult",
    "OperationStateConflictError",
    "PendingOperation",
    "Project",
    "ProjectLogFilters",
    "ProjectLogsPage",
    "Retries",
    "Schedule",
    "StatusLog",
    "StatusLogsPage",
    "Targets",
    "TransportError",
    "UnexpectedAnswerError",
    "WaitTimeoutError",
]
