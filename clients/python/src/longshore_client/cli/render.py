"""What the command prints: for people on a terminal, for programs elsewhere.

A terminal gets tables and colours (none with NO_COLOR). A pipe or a file gets one line per row, tab-separated, without
a header, with `-` for nothing, and nothing cut short.
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
    """Prints answers to stdout, and what is said about them to stderr."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)
        # Only a terminal has a width to keep to.
        self.err.soft_wrap = not self.err.is_terminal

    def result(self, result: OperationResult) -> None:
        """The answer to an operation."""
        if self._json:
            self._print_json(result.raw)
        elif self.out.is_terminal:
            mark = Text("✓ ", "green") if result.completed else Text("… ", "yellow")
            self.out.print(mark + Text(_clean(result.message)))
            if not result.completed:
                self.out.print(Text(f"  longshore status {result.container_id} shows when it is over", "dim"))
        else:
            self._print_fields([result.container_id, result.operation, result.status, result.message])

    def container(self, container: Container) -> None:
        """A container as it is now."""
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
        """A page of the history."""
        if self._json:
            self._print_json(page.raw)
            return
        self.rows(page.logs, header=True)
        if self.out.is_terminal:
            pages = f"page {page.page} of {page.total_pages}, {page.total} rows"
            self.out.print(Text(pages, "dim"))

    def rows(self, rows: Iterable[StatusLog], *, header: bool = False) -> None:
        """Rows of the history, below those that were printed before."""
        if self._json:
            for row in rows:
                print(json.dumps(row.raw, ensure_ascii=False), flush=True)
        elif self.out.is_terminal:
            self.out.print(_table(rows, header=header))
        else:
            for row in rows:
                self._print_fields(_fields(row))

    def error(self, error: LongshoreError) -> None:
        """What went wrong, what to do about it, and the id under which the service's logs know it."""
        code = f" ({error.code})" if isinstance(error, ApiError) else ""
        self.err.print(Text("error: ", "bold red") + Text(_clean(f"{error}{code}")))
        for line in _advice(error):
            self._print_indented(Text(_clean(line)))
        request_id = getattr(error, "request_id", None)
        if request_id:
            self._print_indented(Text(f"request id: {_clean(request_id)}", "dim"))

    def problem(self, message: str) -> None:
        """What went wrong before anything was asked of the API."""
        self.err.print(Text("error: ", "bold red") + Text(_clean(message)))

    def note(self, message: str) -> None:
        """Something to know, on stderr."""
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
            allowed = ", ".join(error.allowed_operations) or "nothing"
            lines.append(f"It is {error.status}; allowed now: {allowed}.")
        case ExternalServiceError() if error.reason:
            lines.append(f"{error.reason}.")
        case WaitTimeoutError():
            lines.append(f"It goes on by itself: longshore status {error.container.id} shows when it is over.")
    if isinstance(error, ApiError) and error.resolution:
        lines.append(error.resolution)
    return lines


def _table(rows: Iterable[StatusLog], *, header: bool) -> Table:
    # Fixed widths, so that rows that come later stand below the first.
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
    """The metadata that people ask for, in words."""
    metadata = row.metadata
    words = [
        str(metadata.get("command", "")),
        f"by {metadata['actor']}" if "actor" in metadata else "",
        f"by rule {metadata['rule']}" if "rule" in metadata else "",
        f"in place of {metadata['superseded']}" if "superseded" in metadata else "",
    ]
    told = [" ".join(word for word in words if word)]
    # What a command has done needs no other reason than the command.
    if "reason" in metadata and ("command" not in metadata or row.to_status == "failed"):
        told.append(str(metadata["reason"]))
    if "exit_code" in metadata:
        told.append(f"exit code {metadata['exit_code']}")
    return ", ".join(part for part in told if part) or _NOTHING


def _status(status: str) -> Text:
    return Text(_clean(status), _COLOURS.get(status, ""))


def _moment(moment: datetime) -> str:
    """As the API writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _clean(text: str) -> str:
    """The text without what would move a terminal's cursor or break a line."""
    return "".join(character if character.isprintable() else " " for character in text)
