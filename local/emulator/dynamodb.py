"""Serialized requests and idempotent transactions for moto's DynamoDB.

moto is not thread-safe: a transaction that fails restores a copy of all tables, and so loses concurrent writes.
Therefore one request runs at a time. moto also ignores ClientRequestToken, which every SDK sends: a retry after a
lost reply would write twice.
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
    """Runs one DynamoDB request at a time, and returns the stored response for a repeated client request token.

    Attributes:
        lock: Is held by each request. While it is held, the tables do not change.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.lock = threading.Lock()
        self._done: dict[tuple[str, str], tuple[datetime, str, bytes, str]] = {}

    def handle(self, request: Request, forward: Callable[[], Response]) -> Response:
        """Forward a request while holding the lock.

        Raises:
            AwsError: The token was used with other parameters (IdempotentParameterMismatchException).
        """
        with self.lock:
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
        # A cancelled transaction had no effect, so a retry runs again.
        if response.status_code == 200:
            self._done[key] = (now, fingerprint, response.get_data(), request.content_type)
        return response
