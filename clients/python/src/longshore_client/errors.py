"""Errors of the client.

LongshoreError
|-- ApiError                                  the API returned an error; one class per code
|   |-- AuthenticationError
|   |   |-- MissingTokenError
|   |   |-- InvalidTokenError
|   |   `-- TokenExpiredError
|   |-- InvalidIdFormatError
|   |-- ValidationError
|   |-- AccountBannedError
|   |-- ContainerNotFoundError
|   |-- ProjectNotFoundError
|   |-- ScheduleNotFoundError
|   |-- InsufficientPermissionsError
|   |-- OperationNotPermittedOnExpiredError
|   |-- ContainerProtectedError
|   |-- OperationStateConflictError
|   |-- ExternalServiceError
|   |-- InternalServerError
|   |-- RouteNotFoundError
|   `-- RateLimitedError
|-- TransportError                            no response arrived
|-- UnexpectedAnswerError                     the response is not from Longshore, or from an unknown version
|-- OperationFailedError                      with `wait`: the operation ended without its effect
`-- WaitTimeoutError                          with `wait`: the operation is still pending after the timeout
"""

from collections.abc import Sequence
from typing import Any, cast

from longshore_client._catalogue import RESOLUTIONS
from longshore_client.models import Container, Operation, PendingOperation, Status, StatusLog, operations


class LongshoreError(Exception):
    """Base class of all errors of this client.

    Attributes:
        idempotency_key: The key that `manage` sent. Calling `manage` again with this key has no second effect. None if
            the error was not raised by `manage`.
    """

    idempotency_key: str | None = None


class ApiError(LongshoreError):
    """The API returned an error. Known codes have subclasses; an unknown code raises ApiError itself.

    Attributes:
        code: The error code, such as CONTAINER_NOT_FOUND.
        status_code: The HTTP status.
        message: The message of the API.
        data: The details of the API, or None.
        request_id: The id of the request in the logs of the API.
    """

    def __init__(
        self, code: str, status_code: int, message: str, data: Any = None, request_id: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status_code = status_code
        self.message = message
        self.data = data
        self.request_id = request_id

    @property
    def resolution(self) -> str | None:
        """How to resolve the error, or None if the code is unknown."""
        return RESOLUTIONS.get(self.code)


class AuthenticationError(ApiError):
    """The request could not be authenticated."""


class MissingTokenError(AuthenticationError):
    """The request has no bearer token."""


class InvalidTokenError(AuthenticationError):
    """The token is invalid."""


class TokenExpiredError(AuthenticationError):
    """The token has expired."""


class InvalidIdFormatError(ApiError):
    """The id is not 24 characters of 0-9 and a-f."""


class ValidationError(ApiError):
    """A parameter is invalid."""

    @property
    def faults(self) -> list[dict[str, str]]:
        """The invalid parameters, each as `{"instancePath": "/limit", "message": "must be <= 100"}`."""
        return list(self.data) if isinstance(self.data, list) else []


class AccountBannedError(ApiError):
    """The user is banned."""


class ContainerNotFoundError(ApiError):
    """The container does not exist, or the caller is not a member of its project."""


class ProjectNotFoundError(ApiError):
    """The project does not exist, or the caller is not a member of it."""


class ScheduleNotFoundError(ApiError):
    """The project has no schedule with this name."""


class InsufficientPermissionsError(ApiError):
    """The caller may read the container or the project, but does not have the role that the request needs."""


class OperationNotPermittedOnExpiredError(ApiError):
    """The container has expired because its server was terminated. It can only be read."""


class _StateError(ApiError):
    """The container's state does not allow the request, which had no effect."""

    @property
    def status(self) -> Status | None:
        """The container's status."""
        return cast("Status | None", self._state.get("status"))

    @property
    def allowed_operations(self) -> tuple[Operation, ...]:
        """The operations that are allowed in the current state."""
        return operations(self._state.get("allowed_operations") or [])

    @property
    def pending_operation(self) -> PendingOperation | None:
        """The pending operation, or None."""
        return PendingOperation.maybe(self._state.get("pending_operation"))

    @property
    def _state(self) -> dict[str, Any]:
        return self.data if isinstance(self.data, dict) else {}


class ContainerProtectedError(_StateError):
    """The container is protected from the operation, which had no effect."""

    @property
    def protection(self) -> str | None:
        """The reason for which the container is protected, or None if the response does not contain it."""
        protection = self._state.get("protection")
        return protection.get("reason") if isinstance(protection, dict) else None


class OperationStateConflictError(_StateError):
    """The container's status or a pending operation does not allow the operation. It had no effect."""


class ExternalServiceError(ApiError):
    """An AWS service failed or could not run the operation."""

    @property
    def reason(self) -> str | None:
        """The reason, or None if it is unknown."""
        return self.data.get("reason") if isinstance(self.data, dict) else None


class InternalServerError(ApiError):
    """The API has failed."""


class RouteNotFoundError(ApiError):
    """The path does not exist. The base URL is probably wrong."""


class RateLimitedError(ApiError):
    """The API received too many requests.

    Attributes:
        retry_after: The seconds to wait before a retry, or None if the response does not contain them.
    """

    retry_after: float | None = None


BY_CODE: dict[str, type[ApiError]] = {
    "MISSING_TOKEN": MissingTokenError,
    "INVALID_TOKEN": InvalidTokenError,
    "TOKEN_EXPIRED": TokenExpiredError,
    "INVALID_ID_FORMAT": InvalidIdFormatError,
    "VALIDATION_ERROR": ValidationError,
    "ACCOUNT_BANNED": AccountBannedError,
    "CONTAINER_NOT_FOUND": ContainerNotFoundError,
    "PROJECT_NOT_FOUND": ProjectNotFoundError,
    "INSUFFICIENT_PERMISSIONS": InsufficientPermissionsError,
    "SCHEDULE_NOT_FOUND": ScheduleNotFoundError,
    "OPERATION_NOT_PERMITTED_ON_EXPIRED": OperationNotPermittedOnExpiredError,
    "CONTAINER_PROTECTED": ContainerProtectedError,
    "OPERATION_STATE_CONFLICT": OperationStateConflictError,
    "EXTERNAL_SERVICE_ERROR": ExternalServiceError,
    "INTERNAL_SERVER_ERROR": InternalServerError,
    "ROUTE_NOT_FOUND": RouteNotFoundError,
    "RATE_LIMITED": RateLimitedError,
}
"""The class of each error code."""


GATEWAY_STATUSES = frozenset({502, 503, 504})
"""The HTTP statuses of a proxy or load balancer that could not reach the API."""


class TransportError(LongshoreError):
    """No response arrived. The request may have been received. `__cause__` is the httpx exception."""


class UnexpectedAnswerError(LongshoreError):
    """The response is not from Longshore, such as a proxy's error page, or from an unknown version of it."""

    def __init__(self, message: str, status_code: int, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.request_id = request_id


class OperationFailedError(LongshoreError):
    """An accepted operation ended without its effect.

    Attributes:
        operation: The operation.
        reason: The reason, for people.
        container: The container after the operation.
        logs: The rows since the operation started, oldest first.
        request_id: The id of the accepted request.
    """

    def __init__(
        self,
        operation: Operation,
        reason: str,
        container: Container,
        logs: Sequence[StatusLog],
        request_id: str | None,
    ) -> None:
        super().__init__(f"{operation} failed: {reason}")
        self.operation = operation
        self.reason = reason
        self.container = container
        self.logs = tuple(logs)
        self.request_id = request_id


class WaitTimeoutError(LongshoreError):
    """The operation is still pending after the timeout. It continues; `get` shows its progress.

    Attributes:
        operation: The operation.
        container: The container at the time of the timeout.
        request_id: The id of the accepted request.
    """

    def __init__(self, operation: Operation, container: Container, seconds: float, request_id: str | None) -> None:
        super().__init__(f"{operation} is still pending after {seconds:g} s")
        self.operation = operation
        self.container = container
        self.request_id = request_id
