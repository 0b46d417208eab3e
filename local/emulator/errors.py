"""The error class of the emulated services."""

from typing import Any


class AwsError(Exception):
    """An error response of a service: code, message, HTTP status and additional members of the body."""

    def __init__(self, code: str, message: str, status: int = 400, **extra: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.extra = extra
