"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def bar(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Iterate over the items, and show a progress bar if stderr is a terminal.

    Args:
        items: The items.
        description: The text in front of the bar.
        total: The number of items, if `items` has no length.
    """
    console = Console(stderr=True)
    return track(items, description, total=total, console=console, transient=True, disable=not console.is_terminal)
