"""Application Auto Scaling: the scalable targets of ECS services, and what their policies and scheduled actions do.

Scaling policies and scheduled actions themselves are not emulated: `scale` and `set_bounds` have their effect. Like
AWS, this module reads and changes the desired count through the API of ECS.

A registration returns before it has an effect on the service: `delay` seconds later, the module reads the desired count
and moves it into the bounds, if it is outside. AWS does not document how long this takes.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from local.emulator.ecs import ACCOUNT, REGION, TaskSimulation
from local.emulator.errors import AwsError

SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
"""The members of SuspendedState."""

_NAMESPACE = "ecs"
_DIMENSION = "ecs:service:DesiredCount"
_MAX_RESULTS = 50
_ROLE = "aws-service-role/ecs.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_ECSService"


@dataclass
class ScalableTarget:
    """A scalable target.

    Attributes:
        resource_id: The service, in the format `service/CLUSTER/NAME`.
        due: When the desired count is moved into the bounds; None if nothing has been registered since.
    """

    arn: str
    resource_id: str
    minimum: int
    maximum: int
    created_at: datetime
    suspended: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(SUSPENSIONS, False))
    due: datetime | None = None

    def within(self, count: int) -> int:
        """Return the nearest count within the bounds."""
        return min(self.maximum, max(self.minimum, count))

    def to_api(self) -> dict[str, Any]:
        return {
            "ServiceNamespace": _NAMESPACE,
            "ResourceId": self.resource_id,
            "ScalableDimension": _DIMENSION,
            "MinCapacity": self.minimum,
            "MaxCapacity": self.maximum,
            "RoleARN": f"arn:aws:iam::{ACCOUNT}:role/{_ROLE}",
            "CreationTime": self.created_at,
            "SuspendedState": dict(self.suspended),
            "ScalableTargetARN": self.arn,
        }


class ScalableTargets:
    """RegisterScalableTarget, DescribeScalableTargets and DeregisterScalableTarget, and controls. Thread-safe.

    Args:
        ecs: The services that are scaled.
        now: The clock.
        delay: Seconds from a registration until the desired count is moved into the bounds.
    """

    OPERATIONS = frozenset({"RegisterScalableTarget", "DescribeScalableTargets", "DeregisterScalableTarget"})

    def __init__(self, ecs: TaskSimulation, now: Callable[[], datetime], delay: float = 0.0) -> None:
        self._ecs = ecs
        self._now = now
        self._delay = delay
        self._lock = threading.RLock()
        self._targets: dict[tuple[str, str], ScalableTarget] = {}  # by region and resource id

    def handle(self, operation: str, parameters: Mapping[str, Any], region: str = REGION) -> dict[str, Any]:
        """Perform one of OPERATIONS. Parameters and result are those of the API. Raises AwsError."""
        if parameters.get("ServiceNamespace") != _NAMESPACE:
            raise _invalid("Only the service namespace ecs is emulated.")
        if parameters.get("ScalableDimension", _DIMENSION) != _DIMENSION:
            raise _invalid("Unsupported service namespace, resource type or scalable dimension.")
        with self._lock:
            self.advance(self._now())
            match operation:
                case "RegisterScalableTarget":
                    return self._register(parameters, region)
                case "DescribeScalableTargets":
                    return self._describe(parameters, region)
                case "DeregisterScalableTarget":
                    self._target(str(parameters.get("ResourceId")), region)
                    del self._targets[(region, str(parameters["ResourceId"]))]
                    return {}
        raise ValueError(f"not simulated: {operation}")

    # ── time ──

    def next_due(self) -> datetime | None:
        """Return when the next desired count is moved into its bounds, or None."""
        with self._lock:
            return min((target.due for target in self._targets.values() if target.due is not None), default=None)

    def advance(self, now: datetime) -> None:
        """Move the desired counts that are due by `now` into their bounds."""
        with self._lock:
            for (region, _), target in list(self._targets.items()):
                if target.due is not None and target.due <= now:
                    target.due = None
                    self._move(target, region)

    def _moves_at(self) -> datetime:
        """Return when the desired count is moved after a registration now."""
        return self._now() + timedelta(seconds=self._delay)

    # ── controls ──

    def find(self, resource_id: str, region: str = REGION) -> ScalableTarget | None:
        """Return a scalable target. None if there is none."""
        return self._targets.get((region, resource_id))

    def scale(self, resource_id: str, count: int, region: str = REGION) -> int | None:
        """Act like a scaling policy: set the desired count, within the bounds of the scalable target.

        Args:
            resource_id: The service, in the format `service/CLUSTER/NAME`.
            count: The count that the policy asks for.
            region: The region.

        Returns:
            The new desired count, or None if scaling in this direction is suspended or the service is not active.

        Raises:
            AwsError: The service is not a scalable target.
        """
        with self._lock:
            self.advance(self._now())
            target = self._target(resource_id, region)
            current, wanted = self._desired(resource_id, region), target.within(count)
            if current is None:
                return None
            if wanted != current:
                flag = "DynamicScalingOutSuspended" if wanted > current else "DynamicScalingInSuspended"
                if target.suspended[flag]:
                    return None
                self._set_desired(resource_id, wanted, region)
            return wanted

    def set_bounds(
        self, resource_id: str, minimum: int | None = None, maximum: int | None = None, region: str = REGION
    ) -> bool:
        """Act like a scheduled action: change the bounds, and move the desired count into them.

        Returns:
            False if scheduled scaling is suspended, so that nothing changes.

        Raises:
            AwsError: The service is not a scalable target, or the bounds are invalid.
        """
        with self._lock:
            self.advance(self._now())
            target = self._target(resource_id, region)
            if target.suspended["ScheduledScalingSuspended"]:
                return False
            self._change(target, minimum, maximum, {})
            self.advance(self._now())
            return True

    # ── requests ──

    def _register(self, parameters: Mapping[str, Any], region: str) -> dict[str, Any]:
        resource_id = str(parameters.get("ResourceId"))
        minimum, maximum = parameters.get("MinCapacity"), parameters.get("MaxCapacity")
        target = self._targets.get((region, resource_id))
        if target is None:
            if minimum is None or maximum is None:
                raise _invalid("MinCapacity and MaxCapacity are required to register a scalable target.")
            if self._desired(resource_id, region) is None:
                raise _invalid(f"ECS service doesn't exist: {resource_id}")
            # The id depends on the service only, so that simulations are reproducible.
            arn = f"arn:aws:application-autoscaling:{region}:{ACCOUNT}:scalable-target/{_identity(resource_id)}"
            target = ScalableTarget(arn, resource_id, minimum, maximum, self._now())
        self._change(target, minimum, maximum, parameters.get("SuspendedState") or {})
        self._targets[(region, resource_id)] = target
        self.advance(self._now())
        return {"ScalableTargetARN": target.arn}

    def _change(
        self, target: ScalableTarget, minimum: int | None, maximum: int | None, flags: Mapping[str, bool]
    ) -> None:
        """Change what is given, and let the desired count be moved into the bounds."""
        low = target.minimum if minimum is None else minimum
        high = target.maximum if maximum is None else maximum
        if not 0 <= low <= high:
            raise _invalid("MinCapacity must not be negative, and MaxCapacity must not be less than MinCapacity.")
        target.minimum, target.maximum = low, high
        target.suspended |= {name: bool(flags[name]) for name in SUSPENSIONS if name in flags}
        target.due = self._moves_at()

    def _move(self, target: ScalableTarget, region: str) -> None:
        """Move the desired count of an active service into the bounds, if it is outside."""
        current = self._desired(target.resource_id, region)
        if current is not None and target.within(current) != current:
            self._set_desired(target.resource_id, target.within(current), region)

    def _describe(self, parameters: Mapping[str, Any], region: str) -> dict[str, Any]:
        wanted = parameters.get("ResourceIds")
        found = [
            target.to_api()
            for (where, resource_id), target in self._targets.items()
            if where == region and (not wanted or resource_id in wanted)
        ]
        start, size = int(parameters.get("NextToken") or 0), int(parameters.get("MaxResults") or _MAX_RESULTS)
        answer: dict[str, Any] = {"ScalableTargets": found[start : start + size]}
        if start + size < len(found):
            answer["NextToken"] = str(start + size)
        return answer

    def _target(self, resource_id: str, region: str) -> ScalableTarget:
        target = self._targets.get((region, resource_id))
        if target is None:
            message = f"No scalable target found for service namespace: ecs, resource ID: {resource_id}, "
            raise AwsError("ObjectNotFoundException", f"{message}scalable dimension: {_DIMENSION}")
        return target

    # ── the service ──

    def _desired(self, resource_id: str, region: str) -> int | None:
        """Return the desired count of a service, or None if there is no such active service."""
        cluster, name = _parts(resource_id)
        try:
            found = self._ecs.handle("DescribeServices", {"cluster": cluster, "services": [name]}, region)["services"]
        except AwsError:
            return None
        return int(found[0]["desiredCount"]) if found and found[0]["status"] == "ACTIVE" else None

    def _set_desired(self, resource_id: str, count: int, region: str) -> None:
        cluster, name = _parts(resource_id)
        self._ecs.handle("UpdateService", {"cluster": cluster, "service": name, "desiredCount": count}, region)


def _parts(resource_id: str) -> tuple[str, str]:
    parts = resource_id.split("/")
    if len(parts) != 3 or parts[0] != "service":
        raise _invalid(f"Unsupported resource id: {resource_id}")
    return parts[1], parts[2]


def _identity(resource_id: str) -> str:
    return hashlib.sha256(resource_id.encode()).hexdigest()[:34]


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)
