"""When a request is sent again, and after how long."""

import random
from dataclasses import dataclass

from longshore_client.errors import (
    ApiError,
    ExternalServiceError,
    InternalServerError,
    LongshoreError,
    RateLimitedError,
    TransportError,
    UnexpectedAnswerError,
)

_GATEWAY_STATUSES = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is sent, at most, and the pauses between: doubling, with jitter, in seconds.

    The API's own Retry-After is kept to, unless it is longer than `max_retry_after`: then its error is raised at once.
    `Retries(attempts=1)` never repeats anything.
    """

    attempts: int = 5
    first_delay: float = 0.25
    max_delay: float = 8.0
    max_retry_after: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")

    def delay(self, tries: int, error: LongshoreError) -> float | None:
        """The pause before the next try, after so many; None when the error is to be raised."""
        if tries >= self.attempts or not is_transient(error):
            return None
        longest = min(self.max_delay, self.first_delay * 2 ** (tries - 1))
        pause = random.uniform(longest / 2, longest)
        if isinstance(error, RateLimitedError) and error.retry_after is not None:
            return None if error.retry_after > self.max_retry_after else max(pause, error.retry_after)
        return pause


def is_transient(error: LongshoreError) -> bool:
    """Whether the same request may get another answer soon."""
    match error:
        case TransportError() | RateLimitedError() | ExternalServiceError() | InternalServerError():
            return True
        case ApiError() | UnexpectedAnswerError():
            return error.status_code in _GATEWAY_STATUSES
        case _:
            return False
