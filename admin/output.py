"""Output of the commands: tables and JSON on stdout, messages and progress on stderr. Colours on terminals only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from json import dumps
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_COLOURS = {"adopt": "green", "skip": "yellow", "enabled": "green", "disabled": "yellow"}


class Step(Protocol):
    """Advances a progress bar by a number of items."""

    def __call__(self, done: int = 1) -> None: ...


def escaped(text: str) -> str:
    """Return the text with control characters and invisible characters escaped, because users choose names."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def remark(text: str) -> None:
    """Print a message for the operator to stderr, on one line."""
    print(escaped(text), file=sys.stderr, flush=True)


def report(text: str, values: Mapping[str, Any], *, json: bool) -> None:
    """Print the result of a command: a sentence to stderr, or its values to stdout as a JSON object."""
    if json:
        as_json(values)
    else:
        remark(text)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout, or nothing if there are no rows."""
    if not rows:
        return
    rows = [[escaped(cell) for cell in row] for row in rows]
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


def as_json(value: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Print an object or a list of objects to stdout as JSON."""
    print(dumps(value, indent=2))


@contextmanager
def progress(what: str, total: int | None = None, *, silent: bool = False) -> Iterator[Step]:
    """Show a progress bar on stderr if it is a terminal.

    Args:
        what: The text before the bar.
        total: The number of items; None: the bar shows a count only.
        silent: Whether to show nothing, as with `--json`.
    """
    console = Console(file=sys.stderr)
    columns = (SpinnerColumn(), TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=silent or not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def step(done: int = 1) -> None:
            bar.advance(task, done)

        yield step
