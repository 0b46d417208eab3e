"""Services on Amazon ECS and their scalable targets: describe and change them.

UpdateService has no client token. A changed count may be repeated; with `forceNewDeployment`, every call starts another
deployment. Application Auto Scaling moves the count of a service into its bounds with every RegisterScalableTarget, and
between its bounds whenever it is not suspended.

ECS may still process a call whose reply has not arrived, and DescribeServices may show an older state for some seconds
after a change. A caller stores before its calls when they are over and shown, and sends none that cannot end in
CALLS_LAST, so that the next operation knows from when on it can rely on DescribeServices.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from longshore.aws.ecs import Ecs, EcsError, Pacing, Quota, ecs_error
from longshore.domain.models import Runtime
from longshore.domain.service import ScalableTarget, Scaling, Service, ServiceDeployment

if TYPE_CHECKING:
    from types_boto3_ecs import ECSClient

T = TypeVar("T")

CONNECT_SECONDS = 1
READ_SECONDS = 3
"""The timeouts of the clients, which do not repeat calls."""

CALL_LASTS = timedelta(seconds=CONNECT_SECONDS + READ_SECONDS)
"""The longest time from the beginning of a call until ECS has processed it."""

CALLS_LAST = timedelta(seconds=10)
"""The time in which a driver makes the calls of a step: at least two of them."""

SHOWN_AFTER = timedelta(seconds=2)
"""The time after a change from which DescribeServices is expected to show it. The API of ECS is eventually consistent.
AWS names no limit, and recommends to wait for a couple of seconds."""

MOST_DESCRIBED = 10
"""The largest number of services in a DescribeServices call."""

_SCALING_REASONS = {
    "AccessDeniedException": "Longshore is not permitted to change the scaling of the service",
    "ConcurrentUpdateException": "Another change of the scaling of the service is in progress",
    "LimitExceededException": "Application Auto Scaling has reached a limit of the account",
    "ThrottlingException": "Application Auto Scaling is receiving too many requests",
    "ValidationException": "Application Auto Scaling refused the change of the scaling",
}
_LATER = ("ConcurrentUpdateException", "ThrottlingException")


class Services:
    """Describes and changes services.

    Args:
        ecs: Returns the client of ECS. It does not repeat calls, and has the timeouts of this module.
        scaling: Returns such a client of Application Auto Scaling.
        pacing: Limits the calls; None: no limit.

    Raises:
        EcsError: Every method: ECS or Application Auto Scaling refused the request or did not answer.
    """

    def __init__(
        self, ecs: "Callable[[], ECSClient]", scaling: Callable[[], Any], pacing: Pacing | None = None
    ) -> None:
        # Callables, because most operations are of tasks and need no client.
        self._ecs = ecs
        self._scaling = scaling
        self._pacing = pacing

    # --- services --------------------------------------------------------------------------------------------------

    def describe(self, runtime: Runtime) -> Service | None:
        """Describe the container's service. Returns None if ECS does not show it, or it has been deleted."""
        return next(iter(self.describe_many(runtime.cluster, [_name(runtime)]).values()), None)

    def describe_many(self, cluster: str, names: list[str]) -> dict[str, Service]:
        """Describe up to MOST_DESCRIBED services. Returns them by name, without those that do not exist any more."""
        self._wait(Quota.SERVICE_READS)
        answer: Any = self._call(
            lambda: self._ecs().describe_services(cluster=cluster, services=names), Quota.SERVICE_READS
        )
        services = [Service.of(described) for described in answer["services"]]
        return {service.name: service for service in services if service.is_active}

    def listed(self, cluster: str, after: str | None = None) -> tuple[list[str], str | None]:
        """List up to 100 services of the cluster.

        Args:
            cluster: The name or ARN of the cluster.
            after: The position that the previous call has returned; None to begin with the first service.

        Returns:
            The services' ARNs, and the position of the next page; None after the last page.
        """
        request: dict[str, Any] = {"cluster": cluster, "maxResults": 100}
        if after:
            request["nextToken"] = after
        answer = self._call(lambda: self._ecs().list_services(**request))
        return answer["serviceArns"], answer.get("nextToken")

    def deployments(self, runtime: Runtime, since: datetime) -> list[ServiceDeployment]:
        """Return the deployments of the service that were created after a time (UTC), oldest first."""
        request: dict[str, Any] = {"cluster": runtime.cluster, "service": _name(runtime), "maxResults": 100}
        request["createdAt"] = {"after": since}
        found: list[ServiceDeployment] = []
        while True:
            self._wait(Quota.SERVICE_READS)
            answer = self._call(lambda: self._ecs().list_service_deployments(**request), Quota.SERVICE_READS)
            found += [ServiceDeployment.of(described) for described in answer["serviceDeployments"]]
            if not (token := answer.get("nextToken")):
                found.reverse()  # ECS returns the newest first.
                return sorted(found, key=lambda each: each.created_at)
            request["nextToken"] = token

    def unstopped(self, runtime: Runtime) -> int:
        """Count the tasks of the service that are not STOPPED, including those that deregister or stop."""
        return Ecs(self._ecs(), self._pacing).of_service(runtime.cluster, _name(runtime))[1]

    def take_turn(self) -> None:
        """Wait until UpdateService may be called. The caller takes its turn before it stores when its calls end."""
        self._wait(Quota.SERVICE_UPDATES)

    def update(self, runtime: Runtime, count: int | None = None, *, roll: bool = False) -> Service:
        """Change the count of the service, or replace its tasks, or both. See `take_turn`.

        Args:
            runtime: Contains the cluster and the service.
            count: The new count; None: unchanged.
            roll: Whether to start a new deployment.

        Returns:
            The service after the change.
        """
        request: dict[str, Any] = {"cluster": runtime.cluster, "service": _name(runtime)}
        if count is not None:
            request["desiredCount"] = count
        if roll:
            request["forceNewDeployment"] = True
        answer: Any = self._call(lambda: self._ecs().update_service(**request), Quota.SERVICE_UPDATES)
        return Service.of(answer["service"])

    # --- scalable targets ------------------------------------------------------------------------------------------

    def scaling(self, runtime: Runtime) -> Scaling | None:
        """Return the scaling of the service. None if it is not a scalable target."""
        target = self.target(runtime)
        return None if target is None else target.scaling

    def target(self, runtime: Runtime) -> ScalableTarget | None:
        """Return the scalable target of the service. None if it has none."""
        request = _target(runtime)
        request["ResourceIds"] = [request.pop("ResourceId")]
        answer = self._call(lambda: self._scaling().describe_scalable_targets(**request))
        targets = answer["ScalableTargets"]
        return ScalableTarget(Scaling.of(targets[0]), targets[0]["MaxCapacity"]) if targets else None

    def suspend(self, runtime: Runtime) -> None:
        """Set the minimum to 0 and suspend all scaling, in one call. The service is a scalable target."""
        self._register(runtime, 0, scaling_in=True, scaling_out=True, scheduled=True)

    def restore(self, runtime: Runtime, scaling: Scaling) -> None:
        """Restore the scaling. Moves the count up to the minimum. The service is a scalable target."""
        self._register(
            runtime,
            scaling.minimum,
            scaling_in=scaling.dynamic_scaling_in_suspended,
            scaling_out=scaling.dynamic_scaling_out_suspended,
            scheduled=scaling.scheduled_scaling_suspended,
        )

    def _register(
        self, runtime: Runtime, minimum: int, *, scaling_in: bool, scaling_out: bool, scheduled: bool
    ) -> None:
        # Without MaxCapacity, this call creates no scalable target.
        suspended = {
            "DynamicScalingInSuspended": scaling_in,
            "DynamicScalingOutSuspended": scaling_out,
            "ScheduledScalingSuspended": scheduled,
        }
        request = _target(runtime) | {"MinCapacity": minimum, "SuspendedState": suspended}
        self._call(lambda: self._scaling().register_scalable_target(**request))

    # --- calls -----------------------------------------------------------------------------------------------------

    def _wait(self, quota: Quota) -> None:
        if self._pacing is not None:
            self._pacing.wait(quota)

    def _call(self, call: Callable[[], T], *quotas: Quota) -> T:
        try:
            return call()
        except ClientError as error:
            failure = ecs_error(error) if error.operation_name not in _OF_SCALING else _scaling_error(error)
            if self._pacing is not None and failure.throttled:
                self._pacing.slow_down(*quotas)
            raise failure from error
        except BotoCoreError as error:
            raise EcsError("ECS did not answer", no_effect=False) from error


_OF_SCALING = ("DescribeScalableTargets", "RegisterScalableTarget")


def _name(runtime: Runtime) -> str:
    assert runtime.service is not None
    return runtime.service


def _target(runtime: Runtime) -> dict[str, Any]:
    return {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{runtime.cluster.rpartition('/')[2]}/{_name(runtime)}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }


def _scaling_error(error: ClientError) -> EcsError:
    code = error.response["Error"]["Code"]
    later = code in _LATER
    refused = error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 and not later
    reason = _SCALING_REASONS.get(code, "Application Auto Scaling returned an error")
    return EcsError(reason, no_effect=refused, throttled=later)
