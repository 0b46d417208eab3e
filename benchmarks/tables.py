"""Tables and numbers as the pages in `docs/` show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose columns are numbers, except for the first."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose columns are text."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ms(seconds: float) -> str:
    """Return a time given in seconds."""
    return f"{seconds * 1000:,.1f} ms" if seconds >= 0.001 else f"{seconds * 1e6:,.0f} µs"


def ratio(spread: Mapping[str, float]) -> str:
    """Return the median of a ratio."""
    return f"{spread['median']:.2f}"


def around(spread: Mapping[str, float]) -> str:
    """Return the quartiles of a ratio."""
    return f"{spread['low']:.2f} to {spread['high']:.2f}"
