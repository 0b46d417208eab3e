"""The errors of the API. They do not depend on HTTP: `http.STATUS_CODES` maps each code to its status.

LongshoreError
|-- AuthenticationError
|   |-- MissingTokenError
|   |-- InvalidTokenError
|   `-- TokenExpiredError
|-- InvalidIdError
|-- InvalidInputError
|-- AccountBannedError
|-- ContainerNotFoundError
|-- ProjectNotFoundError
|-- InsufficientPermissionsError
|-- ScheduleNotFoundError
|-- ContainerExpiredError
|-- ContainerProtectedError
|-- StateConflictError
|   `-- LaterRequestError
|-- ExternalServiceError
|   `-- OperationFailedError
|-- InternalError
|   `-- UnreadableItemError
|-- RouteNotFoundError
`-- RateLimitedError
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar


class ErrorCode(StrEnum):
    """The contract's error codes, in the order in which their causes are checked."""

    MISSING_TOKEN = "MISSING_TOKEN"
    INVALID_TOKEN = "INVALID_TOKEN"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"
    INVALID_ID_FORMAT = "INVALID_ID_FORMAT"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    ACCOUNT_BANNED = "ACCOUNT_BANNED"
    CONTAINER_NOT_FOUND = "CONTAINER_NOT_FOUND"
    PROJECT_NOT_FOUND = "PROJECT_NOT_FOUND"
    INSUFFICIENT_PERMISSIONS = "INSUFFICIENT_PERMISSIONS"
    SCHEDULE_NOT_FOUND = "SCHEDULE_NOT_FOUND"
    OPERATION_NOT_PERMITTED_ON_EXPIRED = "OPERATION_NOT_PERMITTED_ON_EXPIRED"
    CONTAINER_PROTECTED = "CONTAINER_PROTECTED"
    OPERATION_STATE_CONFLICT = "OPERATION_STATE_CONFLICT"
    EXTERNAL_SERVICE_ERROR = "EXTERNAL_SERVICE_ERROR"
    INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    RATE_LIMITED = "RATE_LIMITED"


class LongshoreError(Exception):
    """An answer other than success.

    Attributes:
        message: The message for the caller. It must not contain internal details.
        data: More details for the caller, as JSON values. It must not contain internal details.
    """

    code: ClassVar[ErrorCode]
    default_message: ClassVar[str]

    def __init__(self, message: str | None = None, data: Any = None) -> None:
        self.message = message or self.default_message
        self.data = data
        super().__init__(self.message)


class AuthenticationError(LongshoreError):
    """The caller could not be authenticated."""


class MissingTokenError(AuthenticationError):
    """The request has no bearer token."""

    code = ErrorCode.MISSING_TOKEN
    default_message = "Authentication token required"


class InvalidTokenError(AuthenticationError):
    """The token is malformed, or its signature or claims are not valid."""

    code = ErrorCode.INVALID_TOKEN
    default_message = "Invalid authentication token"


class TokenExpiredError(AuthenticationError):
    """The token's `exp` claim is in the past."""

    code = ErrorCode.TOKEN_EXPIRED
    default_message = "Authentication token has expired"


class InvalidIdError(LongshoreError):
    """An id is not 24 lower-case hexadecimal characters."""

    code = ErrorCode.INVALID_ID_FORMAT
    default_message = "Invalid ID format"


class InvalidInputError(LongshoreError):
    """One or more parameters are not valid.

    Args:
        faults: The faults, such as `{"instancePath": "/limit", "message": "must be <= 100"}`. The path of the body of a
            request is empty.
    """

    code = ErrorCode.VALIDATION_ERROR
    default_message = "Invalid input parameters"

    def __init__(self, faults: Sequence[Mapping[str, str]]) -> None:
        message = "; ".join(f"{fault['instancePath'].lstrip('/') or 'body'} {fault['message']}" for fault in faults)
        super().__init__(message, [dict(fault) for fault in faults])


class AccountBannedError(LongshoreError):
    """The caller is banned."""

    code = ErrorCode.ACCOUNT_BANNED
    default_message = "Account has been banned"


class ContainerNotFoundError(LongshoreError):
    """The container does not exist, or the caller is not a member of its project. Callers cannot tell these apart."""

    code = ErrorCode.CONTAINER_NOT_FOUND
    default_message = "Container not found"


class ProjectNotFoundError(LongshoreError):
    """The project does not exist, or the caller is not a member of it. Callers cannot tell these apart."""

    code = ErrorCode.PROJECT_NOT_FOUND
    default_message = "Project not found"


class InsufficientPermissionsError(LongshoreError):
    """The caller's role in the project does not permit the operation."""

    code = ErrorCode.INSUFFICIENT_PERMISSIONS
    default_message = "Insufficient permissions"


class ScheduleNotFoundError(LongshoreError):
    """The project has no schedule with this name."""

    code = ErrorCode.SCHEDULE_NOT_FOUND
    default_message = "Schedule not found"


class ContainerExpiredError(LongshoreError):
    """The container has expired, which allows no operation."""

    code = ErrorCode.OPERATION_NOT_PERMITTED_ON_EXPIRED
    default_message = "Operation not permitted on expired container"


class ContainerProtectedError(LongshoreError):
    """The container is protected from the operation. `data` contains the container's state and its protection."""

    code = ErrorCode.CONTAINER_PROTECTED
    default_message = "Container is protected"


class StateConflictError(LongshoreError):
    """The status or a pending operation does not allow the operation. `data` contains the state that caused this."""

    code = ErrorCode.OPERATION_STATE_CONFLICT
    default_message = "Container is not in the correct state"


class LaterRequestError(StateConflictError):
    """A scheduled operation did not begin, because of a request that was made before it could begin.

    An operation was requested at or after the scheduled time, the container is on hold, or the time at which the
    container has to be stopped was changed.
    """

    default_message = "A later request has priority"


class ExternalServiceError(LongshoreError):
    """A service that Longshore depends on failed or refused a request.

    Args:
        reason: The reason for the caller. It must not contain an exception's text, an ARN or the name of a table.
    """

    code = ErrorCode.EXTERNAL_SERVICE_ERROR
    default_message = "A required external service is unavailable or returned an error"

    def __init__(self, reason: str) -> None:
        super().__init__(None, {"reason": reason})
        self.reason = reason


class OperationFailedError(ExternalServiceError):
    """The operation has ended without success: either with a row that states the reason, or without any effect."""


class InternalError(LongshoreError):
    """An unexpected error occurred."""

    code = ErrorCode.INTERNAL_SERVER_ERROR
    default_message = "An unexpected error occurred"


class UnreadableItemError(InternalError):
    """An item cannot be read, because it is damaged or was written by a later version.

    Args:
        item_id: The id of the container, or the name of the schedule.
    """

    def __init__(self, item_id: str) -> None:
        super().__init__()
        self.item_id = item_id
        self.reason = "The item cannot be read"


class RouteNotFoundError(LongshoreError):
    """There is no static file at the path. The gateway returns the same response for an unknown route."""

    code = ErrorCode.ROUTE_NOT_FOUND
    default_message = "Route not found"


class RateLimitedError(LongshoreError):
    """Too many requests wait for a container. The gateway returns the same response to more requests than its limit.

    Attributes:
        retry_after: After how many seconds the caller may repeat the request.
    """

    code = ErrorCode.RATE_LIMITED
    default_message = "Too many requests"
    retry_after: ClassVar[int] = 5
