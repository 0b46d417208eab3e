"""Which calls fail, and how. Each call draws from the kinds that its run has enabled."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from botocore.exceptions import BotoCoreError, ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError

from local.emulator.errors import AwsError

READS = frozenset(
    {
        "GetItem",
        "BatchGetItem",
        "Query",
        "Scan",
        "ListTasks",
        "ListServices",
        "ListServiceDeployments",
        "DescribeTasks",
        "GetCommandInvocation",
    }
)


class Kind(StrEnum):
    """The faults of a call."""

    CRASH_BEFORE = "crash before"  # the actor ends before the call
    CRASH_AFTER = "crash after"  # the call takes effect, and the actor ends without its answer
    FAILED = "failed"  # an error or a timeout, without effect
    DENIED = "denied"  # not permitted, without effect
    LOST = "lost reply"  # an error or a timeout, after the effect
    REPEATED = "repeated"  # the reply is lost, and botocore sends the same request again
    CONFLICT = "conflict"  # a transaction conflicts with another on the same item
    SLOW = "slow"  # some seconds
    STALL = "stall"  # longer than an operation's deadline, before or after the effect
    OVERTAKEN = "overtaken"  # stalls until another actor has changed a container, and continues immediately after


_WEIGHTS = {
    Kind.CRASH_BEFORE: 2.0,
    Kind.CRASH_AFTER: 3.0,
    Kind.FAILED: 3.0,
    Kind.DENIED: 2.5,
    Kind.LOST: 3.0,
    Kind.REPEATED: 3.0,
    Kind.CONFLICT: 2.0,
    Kind.SLOW: 3.0,
    Kind.STALL: 1.5,
    Kind.OVERTAKEN: 3.0,
}
_RATES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35)

_SERVER_ERRORS = {
    "dynamodb": "InternalServerError",
    "ecs": "ServerException",
    "ssm": "InternalServerError",
    "application-autoscaling": "InternalServiceException",
}


@dataclass(frozen=True)
class Plan:
    """The plan for a call: its fault, if any, and the pauses before and after its effect, in seconds."""

    kind: Kind | None
    before: float
    after: float


class Faults:
    """Draws plans. `on` is False after the phase with faults."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.on = True
        self.rate = rng.choice(_RATES)
        self._burst = rng.choice((0.0, 0.1, 0.4)) if self.rate else 0.0
        # Each run has only some of the kinds, so that a frequent kind does not hide another.
        self.kinds = [kind for kind in Kind if rng.random() < 0.5]
        self._weights = [_WEIGHTS[kind] for kind in self.kinds]

    def plan(self, service: str, operation: str, *, again: bool) -> Plan:
        """Draw the plan for a call. `again`: whether the actor's previous call had a fault."""
        before, after = self._latency(), self._latency()
        kind = self._kind(service, operation, again=again)
        if kind is Kind.SLOW:
            before += self._rng.uniform(0.1, 3)
            after += self._rng.uniform(0.1, 3)
        elif kind is Kind.STALL:
            long = self._rng.choice((self._rng.uniform(10, 60), self._rng.uniform(61, 400)))
            before, after = (before + long, after) if self._rng.random() < 0.5 else (before, after + long)
        return Plan(kind, before, after)

    def _kind(self, service: str, operation: str, *, again: bool) -> Kind | None:
        if not self.on or not self.kinds:
            return None
        rate = self.rate / 3 if operation in READS or operation.startswith("Describe") else self.rate
        if again:
            # Faults cluster: two in a row may reveal what a single fault cannot.
            rate = max(rate, self._burst)
        if self._rng.random() >= rate:
            return None
        kind = self._rng.choices(self.kinds, self._weights)[0]
        if kind is Kind.CONFLICT and (service != "dynamodb" or operation in READS):
            return None
        return kind

    def _latency(self) -> float:
        return 0.001 * self._rng.choice((1, 2, 5, 10, 20, 50)) * self._rng.uniform(0.5, 1.5)

    def error(self, kind: Kind, service: str, operation: str, items: int) -> Callable[[], BotoCoreError] | AwsError:
        """Return the error that the caller receives: an AwsError, or a factory of a botocore error."""
        if kind is Kind.DENIED:
            return AwsError("AccessDeniedException", "User is not authorized to perform this")
        if kind is Kind.CONFLICT:
            return _conflict(operation, items, self._rng.randrange(items))
        url = f"https://{service}.us-east-1.amazonaws.com/"
        lost: list[Callable[[], BotoCoreError] | AwsError] = [
            lambda: ReadTimeoutError(endpoint_url=url),
            lambda: ConnectionClosedError(endpoint_url=url),
            AwsError(_SERVER_ERRORS[service], "Service Unavailable", 500),
        ]
        if kind is Kind.FAILED:
            lost += [
                lambda: ConnectTimeoutError(endpoint_url=url),
                AwsError("ThrottlingException", "Rate exceeded"),
            ]
        return self._rng.choice(lost)


def _conflict(operation: str, items: int, met: int) -> AwsError:
    message = "Transaction is ongoing for the item"
    if operation != "TransactWriteItems":
        return AwsError("TransactionConflictException", message)
    reasons = [
        {"Code": "TransactionConflict", "Message": message} if n == met else {"Code": "None"} for n in range(items)
    ]
    return AwsError("TransactionCanceledException", "Transaction cancelled", CancellationReasons=reasons)
