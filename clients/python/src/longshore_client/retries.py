"""Retries of requests: the conditions and the delays."""

import random
from dataclasses import dataclass

from longshore_client.errors import (
    GATEWAY_STATUSES,
    ApiError,
    ExternalServiceError,
    InternalServerError,
    LongshoreError,
    RateLimitedError,
    TransportError,
    UnexpectedAnswerError,
)


@dataclass(frozen=True, slots=True)
class Retries:
    """Settings for retries. The delay between attempts doubles, with jitter.

    Attributes:
        attempts: The maximum number of attempts. 1 disables retries.
        first_delay: The maximum delay before the first retry, in seconds.
        max_delay: The maximum delay before any retry, in seconds.
        max_retry_after: The longest Retry-After of the API to wait for, in seconds. If the API requests a longer delay,
            its error is raised immediately.
    """

    attempts: int = 5
    first_delay: float = 0.25
    max_delay: float = 8.0
    max_retry_after: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")

    def delay(self, attempts: int, error: LongshoreError) -> float | None:
        """Return the delay before the next attempt in seconds, or None if the error must be raised.

        Args:
            attempts: The number of attempts so far.
            error: The error of the last attempt.
        """
        if attempts >= self.attempts or not is_transient(error):
            return None
        longest = min(self.max_delay, self.first_delay * 2 ** (attempts - 1))
        pause = random.uniform(longest / 2, longest)
        if isinstance(error, RateLimitedError) and error.retry_after is not None:
            return None if error.retry_after > self.max_retry_after else max(pause, error.retry_after)
        return pause


def is_transient(error: LongshoreError) -> bool:
    """Return whether the same request may succeed if it is retried soon."""
    match error:
        case TransportError() | RateLimitedError() | ExternalServiceError() | InternalServerError():
            return True
        case ApiError() | UnexpectedAnswerError():
            return error.status_code in GATEWAY_STATUSES
        case _:
            return False
