"""How a request, an answer or the definition of an API can be wrong."""

from __future__ import annotations


class GatewayError(Exception):
    """The API's definition asks for something that this gateway does not do; the message says what."""


class RefusedError(Exception):
    """The request ends here, in a gateway response."""

    def __init__(self, response_type: str, message: str, status: int | None = None) -> None:
        super().__init__(response_type)
        self.response_type = response_type
        self.message = message
        self.status = status


class MalformedError(Exception):
    """A function's answer is not of the form that the gateway expects."""
