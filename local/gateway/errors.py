"""Errors of requests, responses and API definitions."""

from __future__ import annotations


class GatewayError(Exception):
    """The API definition uses a feature that the gateway does not support. The message names it."""


class RefusedError(Exception):
    """The request is rejected with a gateway response."""

    def __init__(self, response_type: str, message: str, status: int | None = None) -> None:
        super().__init__(response_type)
        self.response_type = response_type
        self.message = message
        self.status = status


class MalformedError(Exception):
    """The response of a function does not have the expected format."""
