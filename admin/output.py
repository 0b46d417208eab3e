"""Output of the commands: tables and JSON on stdout, messages and progress on stderr. Colours on terminals only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_COLOURS = {"adopt": "green", "skip": "yellow", "enabled": "green", "disabled": "yellow"}


class Step(Protocol):
    """Advances a progress bar by a number of items."""

    def __call__(self, done: int = 1) -> None: ...


def remark(text: str) -> None:
    """Print a message for the operator to stderr."""
    print(text, file=sys.stderr, flush=True)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout, or nothing if there are no rows."""
    if not rows:
        return
    console = Console(file=sys.stdout)
    if console.is_terminal:
        drawn = Table(*headers, box=None, pad_edge=False, header_style="bold")
        for row in rows:
            drawn.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
        console.print(drawn)
        return
    widths = [max(len(row[column]) for row in [headers, *rows]) for column in range(len(headers))]
    for row in [headers, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def as_json(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows to stdout as a JSON array."""
    print(json.dumps(list(rows), indent=2))


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Step]:
    """Show a progress bar on stderr if it is a terminal. Without a total, the bar shows a count only."""
    console = Console(file=sys.stderr)
    columns = (SpinnerColumn(), TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def step(done: int = 1) -> None:
            bar.advance(task, done)

        yield step
