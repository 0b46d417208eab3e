"""The history as a table, as lines and as CSV."""

import csv
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from longshore_client.cli.render import Output, status_text
from longshore_client.cli.text import NOTHING, escaped, json_text, moment_text
from longshore_client.models import StatusLog, StatusLogsPage

_CSV = (
    "transition_time",
    "created_at",
    "container_id",
    "container_name",
    "from_status",
    "to_status",
    "duration_ms",
    "triggered_by",
    "metadata",
)

_KILLED = 137
_SIGNALS = {_KILLED: "SIGKILL", 134: "SIGABRT", 139: "SIGSEGV", 143: "SIGTERM"}
"""Signals by the exit code of a process that they have ended: 128 and the number of the signal."""


def print_page(output: Output, page: StatusLogsPage) -> None:
    """Print a page of a container's history."""
    if output.as_json:
        output.json(page.raw)
        return
    print_rows(output, page.logs, header=True)
    if output.is_terminal:
        output.show(Text(f"page {page.page} of {page.total_pages}, {page.total} rows", "dim"))


def print_rows(output: Output, rows: Iterable[StatusLog], *, header: bool = False, names: bool = False) -> None:
    """Print rows, aligned with rows printed before. With JSON, each line is a row.

    Args:
        output: The output.
        rows: The rows.
        header: Whether a table has a header.
        names: Whether the containers are shown: the rows belong to several.
    """
    if output.as_json:
        for row in rows:
            output.json(row.raw, indent=None)
    elif output.is_terminal:
        output.show(_table(rows, header=header, names=names))
    else:
        for row in rows:
            output.fields(_fields(row, names=names))


def print_csv(rows: Iterable[StatusLog]) -> None:
    """Print rows as CSV with a header. Each row is printed as soon as it is read."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(_CSV)
    for row in rows:
        metadata = json_text(row.metadata) if row.metadata else ""
        cells = [row.raw.get(name) for name in _CSV[:-1]]
        writer.writerow([*("" if cell is None else _cell(str(cell)) for cell in cells), metadata])
        sys.stdout.flush()


def _cell(text: str) -> str:
    """Escape a cell. A spreadsheet must not take it for a formula."""
    return escaped(f"'{text}" if text.startswith(("=", "+", "-", "@")) else text)


def _table(rows: Iterable[StatusLog], *, header: bool, names: bool) -> Table:
    # Fixed widths, so that rows printed later are aligned with the first rows.
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=header, header_style="bold")
    table.add_column("TIME", width=24, no_wrap=True)
    if names:
        table.add_column("CONTAINER", width=20, overflow="fold")
    for name, width in (("FROM", 7), ("TO", 7), ("TOOK", 8), ("BY", 8)):
        table.add_column(name, width=width, no_wrap=True, justify="right" if name == "TOOK" else "left")
    table.add_column("WHAT", overflow="fold")
    for row in rows:
        time, before, after, took, by, what, *_ = _fields(row, names=names)
        shown = f"{int(took) / 1000:.1f} s" if took != NOTHING else took
        cells = [status_text(before), status_text(after), Text(shown), Text(escaped(by)), Text(escaped(what))]
        container = [Text(escaped(row.container_name or row.container_id))] if names else []
        table.add_row(Text(time), *container, *cells)
    return table


def _fields(row: StatusLog, *, names: bool) -> list[str]:
    took = NOTHING if row.duration_ms is None else str(row.duration_ms)
    fields = [moment_text(row.transition_time), row.from_status or NOTHING, row.to_status, took]
    fields += [row.triggered_by, _what(row)]
    return [*fields, row.container_id, row.container_name or NOTHING] if names else fields


def _what(row: StatusLog) -> str:
    """Return the most important metadata in words."""
    metadata = row.metadata
    words = [
        str(metadata.get("command", "")),
        f"by {metadata['actor']}" if "actor" in metadata else "",
        f"by rule {metadata['rule']}" if "rule" in metadata else "",
        f"superseding {metadata['superseded']}" if "superseded" in metadata else "",
    ]
    parts = [" ".join(word for word in words if word)]
    # For a successful command, the reason adds nothing.
    if "reason" in metadata and ("command" not in metadata or row.to_status == "failed"):
        parts.append(str(metadata["reason"]))
    if "exit_code" in metadata:
        parts.append(exit_text(metadata))
    return ", ".join(part for part in parts if part) or NOTHING


def exit_text(metadata: Mapping[str, Any]) -> str:
    """Return the exit code of a task, with its meaning if a signal has ended the process."""
    code = metadata["exit_code"]
    if code == _KILLED and metadata.get("command") in ("stop", "restart"):
        return f"exit code {code} (killed, because it did not exit within its stop timeout)"
    meaning = _SIGNALS.get(code) if isinstance(code, int) else None
    return f"exit code {code} ({meaning})" if meaning else f"exit code {code}"
