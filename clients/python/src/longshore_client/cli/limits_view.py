"""The limits of a container in words: when it is stopped, held, and protected."""

from datetime import datetime, timedelta

from longshore_client.cli.text import NOTHING, duration_text, moment_text
from longshore_client.models import Container

_LIVE = ("running", "paused")


def limit_fields(container: Container) -> dict[str, str]:
    """Return the limits by the names of the API, for programs."""
    return {
        "stop_at": _time(container.stop_at),
        "hold_until": _time(container.hold_until),
        "idle_timeout": NOTHING if container.idle_timeout is None else str(container.idle_timeout),
        "idle_at": _time(container.idle_at),
        "protection": container.protection or NOTHING,
    }


def limit_rows(container: Container, now: datetime) -> dict[str, str]:
    """Return the limits that are set, for people: the name and the description of each."""
    rows: dict[str, str] = {}
    if container.stop_at is not None:
        at = moment_text(container.stop_at)
        live = container.status in _LIVE
        rows["stops"] = f"{_in(container.stop_at, now)}, at {at}" if live else f"at {at} if it is running"
    if container.idle_timeout is not None:
        timeout = duration_text(timedelta(seconds=container.idle_timeout))
        then = "" if container.idle_at is None else f"stops {_in(container.idle_at, now)} unless it is kept alive, "
        rows["idle"] = f"{then}timeout {timeout}"
    if container.hold_until is not None and container.hold_until > now:
        rows["held"] = f"until {moment_text(container.hold_until)}"
    if container.protection is not None:
        rows["protected"] = container.protection
    return rows


def limits_text(container: Container, now: datetime) -> str:
    """Return what limits the container at the moment, in one line."""
    ends = [at for at in (container.stop_at, container.idle_at) if at is not None]
    parts = [f"stops {_in(min(ends), now)}"] if ends and container.status in _LIVE else []
    if container.hold_until is not None and container.hold_until > now:
        parts.append(f"held until {moment_text(container.hold_until)}")
    if container.protection is not None:
        parts.append(f"protected: {container.protection}")
    return ", ".join(parts) or NOTHING


def _time(moment: datetime | None) -> str:
    return NOTHING if moment is None else moment_text(moment)


def _in(moment: datetime, now: datetime) -> str:
    return f"in {duration_text(moment - now)}" if moment > now else "as soon as possible"
