"""Exit codes of the command."""

from enum import IntEnum

from longshore_client.errors import (
    AccountBannedError,
    ApiError,
    AuthenticationError,
    ContainerNotFoundError,
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
    TransportError,
    ValidationError,
    WaitTimeoutError,
)


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0  # success, or the operation was accepted without --wait
    UNEXPECTED = 1  # the response is not from an API that this command knows
    USAGE = 2  # the command, an id, a parameter or the configuration is invalid
    CONFLICT = 3  # the container's state does not allow the operation, which had no effect
    FORBIDDEN = 4  # the container does not exist, or the user may not read or operate it
    AUTHENTICATION = 5  # the token is missing, invalid or expired
    UNAVAILABLE = 6  # no response, or the service is temporarily unavailable
    PENDING = 7  # the operation is still pending after --timeout
    FAILED = 8  # the operation was accepted and ended without its effect
    INTERRUPTED = 130  # Ctrl-C


def exit_code(error: LongshoreError) -> Exit:
    """Return the exit code of an error."""
    match error:
        case InvalidIdFormatError() | ValidationError() | RouteNotFoundError():
            return Exit.USAGE
        case OperationStateConflictError() | OperationNotPermittedOnExpiredError():
            return Exit.CONFLICT
        case AccountBannedError() | ContainerNotFoundError() | ProjectNotFoundError() | InsufficientPermissionsError():
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
        case _:
            return Exit.UNEXPECTED
