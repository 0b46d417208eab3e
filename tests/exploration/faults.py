"""The faults tried at a call, and the errors that the caller receives."""

from collections.abc import Callable
from enum import StrEnum

from botocore.exceptions import BotoCoreError, ReadTimeoutError
from simulation.faults import READS, Faults, Kind, Plan
from simulation.hostile_services import CHANGES
from simulation.requests import LATE_CALLS

from local.emulator.errors import AwsError

OLDER_BY = 0.4
"""How much older an older state is that DescribeServices shows, in seconds."""


class Fault(StrEnum):
    """A fault of a call. The values appear in traces."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    FAILED = "failed"  # an error of the service, without effect
    LOST = "lost reply"  # a timeout, after the effect
    LATE = "lost reply, and processed later"  # a timeout, before the effect
    OLDER = "an older state"
    DENIED = "refused"
    THROTTLED = "throttled"
    UNKNOWN = "not found although it exists"
    REPEATED = "repeated by botocore"


_KINDS = {
    Fault.CRASH_BEFORE: Kind.CRASH_BEFORE,
    Fault.CRASH_AFTER: Kind.CRASH_AFTER,
    Fault.FAILED: Kind.FAILED,
    Fault.LOST: Kind.LOST,
    Fault.LATE: Kind.LOST,
    Fault.DENIED: Kind.FAILED,
    Fault.THROTTLED: Kind.FAILED,
    Fault.UNKNOWN: Kind.FAILED,
    Fault.REPEATED: Kind.REPEATED,
}
_ANSWERED = frozenset({"DescribeTasks", "ListTasks", "DescribeContainerInstances", "DescribeServices"})
_SERVER_ERRORS = {
    "dynamodb": "InternalServerError",
    "ecs": "ServerException",
    "ssm": "InternalServerError",
    "application-autoscaling": "InternalServiceException",
}


_NEVER_UNKNOWN = ("RunTask", "SendCommand", "ListServices", "ListServiceDeployments")
"""The operations that are not asked for anything that ECS may not find."""


def is_read(operation: str) -> bool:
    """Return whether calls of the operation have no effect."""
    return operation in READS or operation.startswith("Describe")


def faults_at(service: str, operation: str) -> tuple[Fault, ...]:
    """Return all faults that a call of the operation can have."""
    crashes = (Fault.CRASH_BEFORE, Fault.CRASH_AFTER)
    if service == "dynamodb":
        # The store converts every error except a failed condition to the same StoreError, so a single error suffices.
        return (*crashes, Fault.FAILED) if is_read(operation) else (*crashes, Fault.FAILED, Fault.LOST, Fault.REPEATED)
    errors = (Fault.FAILED, Fault.DENIED, Fault.THROTTLED)
    if operation in CHANGES:
        return (*crashes, *errors, Fault.LOST, Fault.LATE)
    if operation == "DescribeServices":
        return (*crashes, *errors, Fault.UNKNOWN, Fault.OLDER)
    known = service == "application-autoscaling" or operation in _NEVER_UNKNOWN
    unknown = () if known else (Fault.UNKNOWN,)
    lost = () if is_read(operation) else (Fault.LOST, Fault.LATE) if operation in LATE_CALLS else (Fault.LOST,)
    return (*crashes, *errors, *lost, *unknown)


def reduced_faults_at(service: str, operation: str, *, first: bool) -> tuple[Fault, ...]:
    """Return the faults whose consequences differ from all others (see the package's docstring).

    Args:
        service: The service's name in botocore.
        operation: The operation's name in its API.
        first: Whether this is the actor's first call.
    """
    crashes = (Fault.CRASH_BEFORE,) * first + (Fault.CRASH_AFTER,) * (not is_read(operation))
    errors = faults_at(service, operation)[2:]
    return (*crashes, *errors)


class ChosenFaults(Faults):
    """Faults that are chosen by `choose`, which is called before each call and returns its fault."""

    def __init__(self, choose: Callable[[str, str], Fault | None]) -> None:
        self.on = True
        self.kinds = []
        self._choose = choose
        self.fault: Fault | None = None

    def plan(self, service: str, operation: str, *, again: bool) -> Plan:  # noqa: ARG002  (the base class's)
        """Return the plan for the next call."""
        self.fault = self._choose(service, operation)
        if self.fault in (None, Fault.OLDER) or (self.fault is Fault.UNKNOWN and operation in _ANSWERED):
            return Plan(None, 0, 0)
        return Plan(_KINDS[self.fault], 0, 0)

    def error(
        self,
        kind: Kind,  # noqa: ARG002  (the base class's)
        service: str,
        operation: str,  # noqa: ARG002
        items: int,  # noqa: ARG002
    ) -> Callable[[], BotoCoreError] | AwsError:
        """Return the error that the caller receives for the fault that `plan` returned last."""
        match self.fault:
            case Fault.DENIED:
                return AwsError("AccessDeniedException", "User is not authorized to perform this")
            case Fault.THROTTLED:
                return AwsError("ThrottlingException", "Rate exceeded")
            case Fault.LOST | Fault.LATE:
                return lambda: ReadTimeoutError(endpoint_url=f"https://{service}.us-east-1.amazonaws.com/")
            case Fault.UNKNOWN if service == "ssm":
                return AwsError("InvocationDoesNotExist", "The invocation does not exist")
            case Fault.UNKNOWN:
                return AwsError("InvalidParameterException", "The referenced task was not found.")
        return AwsError(_SERVER_ERRORS[service], "Service Unavailable", 500)


def hide(answer: dict[str, object]) -> dict[str, object]:
    """Change the answer of a read of ECS as if nothing had been found."""
    return {name: [] if isinstance(value, list) else value for name, value in answer.items()}
