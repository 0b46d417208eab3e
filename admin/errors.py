"""Errors of the administration commands: a one-line message for the operator and an exit code for scripts."""

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)

REFUSED = 1
UNAVAILABLE = 3

_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_UNKNOWN_CALLER = frozenset({"InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "RequestLimitExceeded", "ProvisionedThroughputExceededException"}
)


class AdminError(Exception):
    """The command was refused and nothing was changed. The one-line message says how to correct it."""

    exit_code = REFUSED


class UnavailableError(AdminError):
    """AWS or the connection to it failed. The command can be repeated."""

    exit_code = UNAVAILABLE


def explained(error: ClientError | BotoCoreError) -> AdminError:
    """Return the error of an AWS call as an AdminError with a message for the operator."""
    if isinstance(error, ClientError):
        return UnavailableError(_message(error))
    if isinstance(error, ProfileNotFound):
        return AdminError(f"{error}.".removesuffix(".."))
    if isinstance(error, NoRegionError):
        return AdminError("No AWS region: specify --region, or set AWS_REGION.")
    if isinstance(error, NoCredentialsError):
        return AdminError("No AWS credentials: sign in, or specify --profile.")
    if isinstance(error, SSOTokenLoadError | TokenRetrievalError | UnauthorizedSSOTokenError):
        return AdminError("Your AWS session has expired: sign in again with `aws sso login`.")
    return UnavailableError(f"AWS did not respond: {' '.join(str(error).split())}")


def _message(error: ClientError) -> str:
    code = error.response["Error"].get("Code", "")
    message = " ".join(error.response["Error"].get("Message", "").split())
    action = error.operation_name
    if code in _EXPIRED:
        return "Your AWS credentials have expired: sign in again."
    if code in _UNKNOWN_CALLER:
        return "Your AWS credentials are not valid: sign in again, or specify --profile."
    if code in _DENIED:
        return f"Your AWS credentials do not allow {action}: {message}"
    if code in _THROTTLED:
        return f"AWS throttled {action}: try again in a few seconds."
    return f"{action} failed: {code}: {message}"
