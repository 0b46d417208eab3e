"""Changes of a container, as keyword arguments of the clients and as JSON bodies of the API."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

from longshore_client._filters import time_text
from longshore_client.models import Operation

_BEGINNING: tuple[Operation, ...] = ("start", "restart", "resume")


class Limits(TypedDict, total=False):
    """Limits of a container that `update` changes. None removes a limit. Limits that are not given are not changed.

    Attributes:
        stop_at: The time at which the container is stopped, with a time zone. Requires the role `operator`.
        hold_until: The time until which schedules skip the container, with a time zone. Requires the role `operator`.
        idle_timeout: The seconds after which the running container is stopped unless it is kept alive, 300 to 604,800.
            Requires the role `operator`.
        protection: The reason for which stop, force-stop, restart and pause are refused, 1 to 256 characters. Requires
            the role `owner`.
        desired_count: The number of tasks of a service that a start restores, at least 1. It cannot be removed, and no
            other value can be changed with it. Requires the role `owner`.
    """

    stop_at: datetime | None
    hold_until: datetime | None
    idle_timeout: int | None
    protection: str | None
    desired_count: int


def change_body(name: str | None, labels: Mapping[str, str] | None, limits: Limits) -> dict[str, Any]:
    """Return the JSON body of a change. Raise ValueError if a time has no time zone."""
    body: dict[str, Any] = {}
    if name is not None:
        body["name"] = name
    if labels is not None:
        body["labels"] = dict(labels) or None
    if "stop_at" in limits:
        body["stop_at"] = time_text(limits["stop_at"])
    if "hold_until" in limits:
        body["hold_until"] = time_text(limits["hold_until"])
    if "idle_timeout" in limits:
        body["idle_timeout"] = limits["idle_timeout"]
    if "desired_count" in limits:
        body["desired_count"] = limits["desired_count"]
    if "protection" in limits:
        reason = limits["protection"]
        body["protection"] = None if reason is None else {"reason": reason}
    return body


def operation_body(operation: Operation, stop_at: datetime | None) -> dict[str, Any] | None:
    """Return the JSON body of an operation, or None for no body.

    Raises:
        ValueError: The time has no time zone, or the operation does not accept one.
    """
    if stop_at is None:
        return None
    if operation not in _BEGINNING:
        raise ValueError(f"{operation} does not accept stop_at, only {', '.join(_BEGINNING)}")
    return {"stop_at": time_text(stop_at)}
