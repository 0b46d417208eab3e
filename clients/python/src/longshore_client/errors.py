"""What can go wrong.

LongshoreError
|-- ApiError                                  the API refused or failed; one class for each code
|   |-- AuthenticationError
|   |   |-- MissingTokenError
|   |   |-- InvalidTokenError
|   |   `-- TokenExpiredError
|   |-- InvalidIdFormatError
|   |-- ValidationError
|   |-- AccountBannedError
|   |-- ContainerNotFoundError
|   |-- InsufficientPermissionsError
|   |-- OperationNotPermittedOnExpiredError
|   |-- OperationStateConflictError
|   |-- ExternalServiceError
|   |-- InternalServerError
|   |-- RouteNotFoundError
|   `-- RateLimitedError
|-- TransportError                            no answer came
|-- UnexpectedAnswerError                     what answered is not Longshore, or not one that this client knows
|-- OperationFailedError                      waited for: it ended without its effect
`-- WaitTimeoutError                          waited for: it is still under way
"""

from collections.abc import Sequence
from typing import Any, cast

from longshore_client._catalogue import RESOLUTIONS
from longshore_client.models import Container, Operation, PendingOperation, Status, StatusLog, operations


class LongshoreError(Exception):
    """The base of all errors of this client.

    `idempotency_key` is that of the operation in question: `manage` with it again is safe, and never has a second
    effect. None when it was not about an operation.
    """

    idempotency_key: str | None = None


class ApiError(LongshoreError):
    """The API answered with an error. One whose code this client does not know is an ApiError itself.

    `code` is the catalogue's, `status_code` HTTP's. `data` is what the API gives with the error, or None.
    `resolution` says what to do about it.
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
        """What to do about it, from the catalogue of errors."""
        return RESOLUTIONS.get(self.code)


class AuthenticationError(ApiError):
    """The caller is not known."""


class MissingTokenError(AuthenticationError):
    """No bearer token reached the API."""


class InvalidTokenError(AuthenticationError):
    """The token is not one that the API accepts."""


class TokenExpiredError(AuthenticationError):
    """The token was good once."""


class InvalidIdFormatError(ApiError):
    """An id is 24 characters of 0-9 and a-f."""


class ValidationError(ApiError):
    """A parameter is wrong. `faults` lists each: `{"instancePath": "/limit", "message": "must be <= 100"}`."""

    @property
    def faults(self) -> list[dict[str, str]]:
        return list(self.data) if isinstance(self.data, list) else []


class AccountBannedError(ApiError):
    """The account may do nothing."""


class ContainerNotFoundError(ApiError):
    """It does not exist, or the caller is not a member of its project."""


class InsufficientPermissionsError(ApiError):
    """The caller may read, but not operate."""


class OperationNotPermittedOnExpiredError(ApiError):
    """The container's server is gone: only its history is left."""


class OperationStateConflictError(ApiError):
    """The status, or a pending operation, does not allow it. Nothing was done."""

    @property
    def status(self) -> Status | None:
        """The container's status."""
        return cast("Status | None", self._state.get("status"))

    @property
    def allowed_operations(self) -> tuple[Operation, ...]:
        """What it allows instead."""
        return operations(self._state.get("allowed_operations") or [])

    @property
    def pending_operation(self) -> PendingOperation | None:
        """What is under way, if that is the reason."""
        return PendingOperation.maybe(self._state.get("pending_operation"))

    @property
    def _state(self) -> dict[str, Any]:
        return self.data if isinstance(self.data, dict) else {}


class ExternalServiceError(ApiError):
    """AWS failed, or could not do what was asked. `reason` says more where that is known."""

    @property
    def reason(self) -> str | None:
        return self.data.get("reason") if isinstance(self.data, dict) else None


class InternalServerError(ApiError):
    """The API itself failed."""


class RouteNotFoundError(ApiError):
    """The base URL is probably not Longshore's."""


class RateLimitedError(ApiError):
    """Too many requests. `retry_after` is in seconds, None when the API does not say."""

    retry_after: float | None = None


BY_CODE: dict[str, type[ApiError]] = {
    "MISSING_TOKEN": MissingTokenError,
    "INVALID_TOKEN": InvalidTokenError,
    "TOKEN_EXPIRED": TokenExpiredError,
    "INVALID_ID_FORMAT": InvalidIdFormatError,
    "VALIDATION_ERROR": ValidationError,
    "ACCOUNT_BANNED": AccountBannedError,
    "CONTAINER_NOT_FOUND": ContainerNotFoundError,
    "INSUFFICIENT_PERMISSIONS": InsufficientPermissionsError,
    "OPERATION_NOT_PERMITTED_ON_EXPIRED": OperationNotPermittedOnExpiredError,
    "OPERATION_STATE_CONFLICT": OperationStateConflictError,
    "EXTERNAL_SERVICE_ERROR": ExternalServiceError,
    "INTERNAL_SERVER_ERROR": InternalServerError,
    "ROUTE_NOT_FOUND": RouteNotFoundError,
    "RATE_LIMITED": RateLimitedError,
}
"""The class of each code of the catalogue."""


class TransportError(LongshoreError):
    """No answer came, whether or not the request arrived. `__cause__` is httpx's exception."""


class UnexpectedAnswerError(LongshoreError):
    """The answer is not one of Longshore's: a proxy's page, or a version that this client does not know."""

    def __init__(self, message: str, status_code: int, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.request_id = request_id


class OperationFailedError(LongshoreError):
    """An operation that was accepted ended without its effect.

    `reason` in plain words; `container` as it is now; `logs` what happened since the operation began, oldest first;
    `request_id` of the request that was accepted.
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
    """The operation is still under way. It goes on, and will end by itself: `get` shows when."""

    def __init__(self, operation: Operation, container: Container, seconds: float, request_id: str | None) -> None:
        super().__init__(f"{operation} is still under way after {seconds:g} s")
        self.operation = operation
        self.container = container
        self.request_id = request_id
