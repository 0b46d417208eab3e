"""What moto's DynamoDB lacks: one writer at a time, and idempotent transactions.

moto keeps tables in plain objects, and a transaction that fails puts back a copy of all of them. Two threads in
it at once therefore lose writes that were acknowledged; so one request runs at a time. moto also ignores
ClientRequestToken, which every SDK sends: a retry after a lost reply would write twice.
"""

import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from werkzeug.wrappers import Response

from local.emulator.errors import AwsError
from local.emulator.wire import Request

# Source: the API reference of TransactWriteItems.
TOKEN_LIFETIME = timedelta(minutes=10)


class DynamoDbGuard:
    """Runs each DynamoDB request alone, and repeats the answer of a transaction that was done already."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._done: dict[tuple[str, str], tuple[datetime, str, bytes, str]] = {}

    def handle(self, request: Request, forward: Callable[[], Response]) -> Response:
        """Forward the request under the lock. Raises AwsError (IdempotentParameterMismatchException)."""
        with self._lock:
            token = request.call.parameters.get("ClientRequestToken")
            if request.call.operation != "TransactWriteItems" or not token:
                return forward()
            return self._transact(request, str(token), forward)

    def _transact(self, request: Request, token: str, forward: Callable[[], Response]) -> Response:
        now = self._now()
        self._done = {key: value for key, value in self._done.items() if now - value[0] < TOKEN_LIFETIME}
        key = (request.region, token)
        fingerprint = json.dumps(request.call.parameters.get("TransactItems"), sort_keys=True)
        if key in self._done:
            _, known, body, content_type = self._done[key]
            if known != fingerprint:
                raise AwsError(
                    "IdempotentParameterMismatchException",
                    "The request token was used before with other parameters.",
                )
            return Response(body, 200, content_type=content_type)
        response = forward()
        # A cancelled transaction had no effect: its repeat is judged afresh.
        if response.status_code == 200:
            self._done[key] = (now, fingerprint, response.get_data(), request.content_type)
        return response
