"""Output of the command: for people on a terminal, for programs elsewhere.

A terminal shows tables and colours (no colours with NO_COLOR). A pipe or file receives one line per row, with fields
separated by tabs, without a header and without truncation. `-` is an empty field.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from longshore_client.errors import (
    ApiError,
    ExternalServiceError,
    LongshoreError,
    OperationStateConflictError,
    WaitTimeoutError,
)
from longshore_client.models import Container, OperationResult, StatusLog, StatusLogsPage

_COLOURS = {"running": "green", "stopped": "blue", "paused": "yellow", "failed": "red", "expired": "bright_black"}
_NOTHING = "-"


class Output:
    """Prints results to stdout, and errors and messages to stderr."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)
        # Lines are wrapped on a terminal only.
        self.err.soft_wrap = not self.err.is_terminal

    def result(self, result: OperationResult) -> None:
        """Print the result of an operation."""
        if self._json:
            self._print_json(result.raw)
        elif self.out.is_terminal:
            mark = Text("✓ ", "green") if result.completed else Text("… ", "yellow")
            self.out.print(mark + Text(_clean(result.message)))
            if not result.completed:
                self.out.print(Text(f"  check its progress: longshore status {result.container_id}", "dim"))
        else:
            self._print_fields([result.container_id, result.operation, result.status, result.message])

    def container(self, container: Container) -> None:
        """Print the state of a container."""
        pending = container.pending_operation
        fields = {
            "id": container.id,
            "name": container.name,
            "project": container.project_id,
            "status": container.status,
            "since": _moment(container.status_since),
            "allowed": ",".join(container.allowed_operations) or _NOTHING,
            "pending": f"{pending.operation} since {_moment(pending.started_at)}" if pending else _NOTHING,
        }
        if self._json:
            self._print_json(container.raw)
        elif self.out.is_terminal:
            grid = Table.grid(padding=(0, 2))
            for name, value in fields.items():
                shown = value.replace(",", ", ") if name == "allowed" else value
                grid.add_row(Text(name, "bold"), _status(value) if name == "status" else Text(_clean(shown)))
            self.out.print(grid)
        else:
            for name, value in fields.items():
                self._print_fields([name, value])

    def page(self, page: StatusLogsPage) -> None:
        """Print a page of the history."""
        if self._json:
            self._print_json(page.raw)
            return
        self.rows(page.logs, header=True)
        if self.out.is_terminal:
            pages = f"page {page.page} of {page.total_pages}, {page.total} rows"
            self.out.print(Text(pages, "dim"))

    def rows(self, rows: Iterable[StatusLog], *, header: bool = False) -> None:
        """Print rows of the history, aligned with rows printed before."""
        if self._json:
            for row in rows:
                print(json.dumps(row.raw, ensure_ascii=False), flush=True)
        elif self.out.is_terminal:
            self.out.print(_table(rows, header=header))
        else:
            for row in rows:
                self._print_fields(_fields(row))

    def error(self, error: LongshoreError) -> None:
        """Print an error of the client with its resolution and request id."""
        code = f" ({error.code})" if isinstance(error, ApiError) else ""
        self.err.print(Text("error: ", "bold red") + Text(_clean(f"{error}{code}")))
        for line in _advice(error):
            self._print_indented(Text(_clean(line)))
        request_id = getattr(error, "request_id", None)
        if request_id:
            self._print_indented(Text(f"request id: {_clean(request_id)}", "dim"))

    def problem(self, message: str) -> None:
        """Print an error that occurred before any request."""
        self.err.print(Text("error: ", "bold red") + Text(_clean(message)))

    def note(self, message: str) -> None:
        """Print a message to stderr."""
        self.err.print(Text(_clean(message), "dim"))

    def _print_indented(self, line: Text) -> None:
        self.err.print(Padding(line, (0, 0, 0, 2), expand=False) if self.err.is_terminal else Text("  ") + line)

    @staticmethod
    def _print_fields(fields: Sequence[str]) -> None:
        print("\t".join(_clean(field) for field in fields), flush=True)

    @staticmethod
    def _print_json(data: Mapping[str, Any]) -> None:
        print(json.dumps(data, ensure_ascii=False, indent=2))


def _advice(error: LongshoreError) -> list[str]:
    lines: list[str] = []
    match error:
        case OperationStateConflictError() if error.status:
            allowed = ", ".join(error.allowed_operations) or "none"
            lines.append(f"The container is {error.status}. Allowed operations: {allowed}.")
        case ExternalServiceError() if error.reason:
            lines.append(f"{error.reason}.")
        case WaitTimeoutError():
            lines.append(f"The operation continues. Check its progress: longshore status {error.container.id}")
    if isinstance(error, ApiError) and error.resolution:
        lines.append(error.resolution)
    return lines


def _table(rows: Iterable[StatusLog], *, header: bool) -> Table:
    # Fixed widths, so that rows printed later are aligned with the first rows.
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=header, header_style="bold")
    for name, width in (("TIME", 24), ("FROM", 7), ("TO", 7), ("TOOK", 8), ("BY", 8)):
        table.add_column(name, width=width, no_wrap=True, justify="right" if name == "TOOK" else "left")
    table.add_column("WHAT", overflow="fold")
    for row in rows:
        time, before, after, took, by, what = _fields(row)
        shown = f"{int(took) / 1000:.1f} s" if took != _NOTHING else took
        table.add_row(Text(time), _status(before), _status(after), Text(shown), Text(_clean(by)), Text(_clean(what)))
    return table


def _fields(row: StatusLog) -> list[str]:
    took = _NOTHING if row.duration_ms is None else str(row.duration_ms)
    times = [_moment(row.transition_time), row.from_status or _NOTHING, row.to_status, took]
    return [*times, row.triggered_by, _what(row)]


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
        parts.append(f"exit code {metadata['exit_code']}")
    return ", ".join(part for part in parts if part) or _NOTHING


def _status(status: str) -> Text:
    return Text(_clean(status), _COLOURS.get(status, ""))


def _moment(moment: datetime) -> str:
    """Format a time as the API does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clean(text: str) -> str:
    """Replace control characters, which could move a terminal's cursor or break a line, with spaces."""
    return "".join(character if character.isprintable() else " " for character in text)
