"""Exit codes of the command, and the errors that the command itself detects."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from longshore_client.errors import (
    GATEWAY_STATUSES,
    AccountBannedError,
    ApiError,
    AuthenticationError,
    ContainerNotFoundError,
    ContainerProtectedError,
    ExternalServiceError,
    InsufficientPermissionsError,
    InternalServerError,
    InvalidIdFormatError,
    LongshoreError,
    OperationFailedError,
    OperationNotPermittedOnExpiredError,
    OperationStateConflictError,
    ProjectNotFoundError,
    RateLimitedError,
    RouteNotFoundError,
    ScheduleNotFoundError,
    TransportError,
    UnexpectedAnswerError,
    ValidationError,
    WaitTimeoutError,
)


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0  # success, or the operation was accepted without --wait
    UNEXPECTED = 1  # the response is not from an API that this command knows
    USAGE = 2  # the command, an id, a name, a parameter or the configuration is invalid
    CONFLICT = 3  # the container's state or protection does not allow the operation, which had no effect
    FORBIDDEN = 4  # the container, project or schedule does not exist, or the user may not read or operate it
    AUTHENTICATION = 5  # the token is missing, invalid or expired
    UNAVAILABLE = 6  # no response, or the service is temporarily unavailable
    PENDING = 7  # the operation is still pending after --timeout
    FAILED = 8  # the operation was accepted and ended without its effect
    PARTIAL = 9  # several containers: at least one operation did not succeed
    INTERRUPTED = 130  # Ctrl-C, or the confirmation was declined
    PIPE_CLOSED = 141  # the reader of the output has closed the pipe


class Problem(Exception):  # noqa: N818 - an error that is shown to the user, not a fault of the program
    """An error that the command detects itself.

    Attributes:
        code: The code in the JSON of the error.
        message: The message.
        exit: The exit code.
        advice: Further lines, such as the candidates of an ambiguous name.
        data: Details in the JSON of the error.
    """

    def __init__(
        self,
        code: str,
        message: str,
        exit_: Exit = Exit.USAGE,
        *,
        advice: Sequence[str] = (),
        data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.exit = exit_
        self.advice = tuple(advice)
        self.data = data


def exit_code(error: LongshoreError) -> Exit:
    """Return the exit code of an error."""
    match error:
        case InvalidIdFormatError() | ValidationError() | RouteNotFoundError():
            return Exit.USAGE
        case OperationStateConflictError() | OperationNotPermittedOnExpiredError() | ContainerProtectedError():
            return Exit.CONFLICT
        case ContainerNotFoundError() | ProjectNotFoundError() | ScheduleNotFoundError():
            return Exit.FORBIDDEN
        case AccountBannedError() | InsufficientPermissionsError():
            return Exit.FORBIDDEN
        case AuthenticationError():
            return Exit.AUTHENTICATION
        case TransportError() | ExternalServiceError() | InternalServerError() | RateLimitedError():
            return Exit.UNAVAILABLE
        case WaitTimeoutError():
            return Exit.PENDING
        case OperationFailedError():
            return Exit.FAILED
        case ApiError() if error.status_code >= 500:
            return Exit.UNAVAILABLE
        case UnexpectedAnswerError() if error.status_code in GATEWAY_STATUSES:
            return Exit.UNAVAILABLE
        case _:
            return Exit.UNEXPECTED


def error_code(error: LongshoreError) -> str:
    """Return the code of an error in JSON: the code of the API, or a code of the client."""
    match error:
        case ApiError():
            return error.code
        case TransportError():
            return "NO_RESPONSE"
        case WaitTimeoutError():
            return "STILL_PENDING"
        case OperationFailedError():
            return "OPERATION_FAILED"
        case _:
            return "UNEXPECTED_RESPONSE"
