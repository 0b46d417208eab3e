"""What goes wrong, in one line for the operator, with the exit code that a script can tell it by."""

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
    """Nothing was changed, and the operator can mend why. The message is one line."""

    exit_code = REFUSED


class UnavailableError(AdminError):
    """AWS, or the way to it, failed. What was asked may be repeated."""

    exit_code = UNAVAILABLE


def explained(error: ClientError | BotoCoreError) -> AdminError:
    """The error of an AWS call in plain words."""
    if isinstance(error, ClientError):
        return UnavailableError(_told(error))
    if isinstance(error, ProfileNotFound):
        return AdminError(f"{error}.".removesuffix(".."))
    if isinstance(error, NoRegionError):
        return AdminError("No region: give --region, or set AWS_REGION.")
    if isinstance(error, NoCredentialsError):
        return AdminError("No AWS credentials: sign in, or give --profile.")
    if isinstance(error, SSOTokenLoadError | TokenRetrievalError | UnauthorizedSSOTokenError):
        return AdminError("Your AWS session has expired: sign in again with `aws sso login`.")
    return UnavailableError(f"AWS did not answer: {' '.join(str(error).split())}")


def _told(error: ClientError) -> str:
    code = error.response["Error"].get("Code", "")
    message = " ".join(error.response["Error"].get("Message", "").split())
    action = error.operation_name
    if code in _EXPIRED:
        return "Your AWS credentials have expired: sign in again."
    if code in _UNKNOWN_CALLER:
        return "AWS does not know your credentials: sign in again, or give --profile."
    if code in _DENIED:
        return f"Your AWS credentials do not permit {action}: {message}"
    if code in _THROTTLED:
        return f"AWS is receiving too many requests ({action}): try again in a moment."
    return f"AWS refused {action}: {code}: {message}"
