"""Progress bars on a terminal; elsewhere nothing but what the parts say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(items: Iterable[T], what: str, unit: str, total: int | None = None) -> Iterable[T]:
    """The items, with a bar that goes along with them."""
    shown: Iterable[T] = tqdm(
        items, desc=what, unit=f" {unit}s", unit_scale=total is not None and total > 10_000, total=total, disable=None
    )
    return shown
