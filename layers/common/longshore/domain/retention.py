"""Retention of histories: which rows readers show, and when DynamoDB may delete the others. Pure.

    transition_time         floor passes the row      expires_at
           |------ retention ------|------ a day ------|  DynamoDB deletes the row within days, in any order
              readers show the row  no reader shows it

The floor of a container's history is the latest of: now minus the retention of the stack; now minus the shortest
retention with which a row that is still shown was written (`history_retention` of the container's item); and
`history_floor` of the item, which an administrator's command stores when it lengthens the retention. All rows from the
floor on exist.

Reading a page needs no pydantic: this module must not import the models, which take a third of a cold start.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from longshore.domain.clock import to_text
from longshore.domain.times import EARLIEST

MARGIN = timedelta(days=1)
"""How long after the floor has passed a row DynamoDB may delete it. Longer than clocks differ and requests last."""

SHORTEST = 7
"""The shortest retention in days. Much longer than an operation, its rows' delay and an Idempotency-Key can matter."""


def oldest(now: datetime, *retentions: int | None) -> str:
    """Return the earliest time that the shortest of some retentions covers.

    Args:
        now: The current time (UTC).
        retentions: Retentions in days. 0 and None keep everything.
    """
    limits = [each for each in retentions if each]
    return to_text(now - timedelta(days=min(limits))) if limits else EARLIEST


def floor_of(item: Mapping[str, Any], now: datetime, retention: int) -> str:
    """Return the earliest time of the rows of a container that readers show.

    Args:
        item: The container's item as plain values.
        now: The current time (UTC).
        retention: The retention of the stack in days; 0 keeps everything.
    """
    stored = item.get("history_floor") or {}
    return max(oldest(now, retention, item.get("history_retention")), str(stored.get("at", EARLIEST)))


def expiry(transition_time: datetime, retention: int) -> int:
    """Return when DynamoDB may delete a row, in seconds since 1970.

    Args:
        transition_time: The time of the row.
        retention: The retention in days, at least 1.
    """
    return -int(-(transition_time + timedelta(days=retention) + MARGIN).timestamp() // 1)


def shorter(stored: int | None, retention: int) -> int | None:
    """Return the shorter of an item's retention and the retention of the stack in days; None keeps everything."""
    return min([each for each in (stored, retention) if each], default=None)
