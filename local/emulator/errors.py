"""The one error that an emulated service answers with."""

from typing import Any


class AwsError(Exception):
    """An error answer of a service: its code, message, HTTP status and further members of the body."""

    def __init__(self, code: str, message: str, status: int = 400, **extra: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.extra = extra
