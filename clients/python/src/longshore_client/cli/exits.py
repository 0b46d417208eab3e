"""What a script can tell from the exit code."""

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
    RateLimitedError,
    RouteNotFoundError,
    TransportError,
    ValidationError,
    WaitTimeoutError,
)


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0  # done, or accepted when not told to wait
    UNEXPECTED = 1  # what answered is not an API that this command knows
    USAGE = 2  # the command, an id or the configuration is wrong
    CONFLICT = 3  # the container's state does not allow the operation: nothing was done
    FORBIDDEN = 4  # there is no such container, or it is not yours to read or operate
    AUTHENTICATION = 5  # the token is missing, wrong or expired
    UNAVAILABLE = 6  # no answer, or the service cannot for now: trying again later may help
    PENDING = 7  # waited for as long as was asked; it is still under way
    FAILED = 8  # the operation was accepted, and ended without its effect
    INTERRUPTED = 130  # Ctrl-C


def exit_code(error: LongshoreError) -> Exit:
    """The exit code of an error."""
    match error:
        case InvalidIdFormatError() | ValidationError() | RouteNotFoundError():
            return Exit.USAGE
        case OperationStateConflictError() | OperationNotPermittedOnExpiredError():
            return Exit.CONFLICT
        case AccountBannedError() | ContainerNotFoundError() | InsufficientPermissionsError():
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
