"""Output of the command: for people on a terminal, for programs elsewhere.

A terminal shows tables and colours (no colours with NO_COLOR). A pipe or file receives one line per row, with fields
separated by tabs, without a header and without truncation. `-` is an empty field.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from longshore_client.cli.exits import Exit, Problem, error_code, exit_code
from longshore_client.cli.text import escaped, json_text
from longshore_client.errors import (
    ApiError,
    ContainerProtectedError,
    ExternalServiceError,
    LongshoreError,
    OperationStateConflictError,
    WaitTimeoutError,
)

_COLOURS = {"running": "green", "stopped": "blue", "paused": "yellow", "failed": "red", "expired": "bright_black"}


class Output:
    """Prints results to stdout, and errors and messages to stderr.

    Attributes:
        as_json: Whether results and errors are printed as JSON.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)
        # Lines are wrapped on a terminal only.
        self.err.soft_wrap = not self.err.is_terminal

    @property
    def is_terminal(self) -> bool:
        """Whether results are printed for people."""
        return self.out.is_terminal and not self.as_json

    def show(self, shown: RenderableType) -> None:
        """Print a table or a text on a terminal."""
        self.out.print(shown)

    def fields(self, fields: Sequence[str]) -> None:
        """Print a line of fields separated by tabs."""
        print("\t".join(escaped(field) for field in fields), flush=True)

    def json(self, data: Any, *, indent: int | None = 2) -> None:
        """Print JSON. Without an indent, it is a single line."""
        print(json_text(data, indent=indent), flush=True)

    def error(self, error: LongshoreError, container_id: str | None = None) -> None:
        """Print an error of the client with its resolution and request id, and the container if there are several."""
        if self.as_json:
            self._print_error_json(error_json(error) | ({"container_id": container_id} if container_id else {}))
            return
        message = f"{container_id}: {error_text(error)}" if container_id else error_text(error)
        self._print_error(message, [*_advice(error), *_resolution(error)])
        request_id = getattr(error, "request_id", None)
        if request_id:
            self._print_indented(Text(f"request id: {escaped(request_id)}", "dim"))

    def problem(self, problem: Problem) -> None:
        """Print an error that the command has detected."""
        if self.as_json:
            found = {"code": problem.code, "message": problem.message, "exit_code": int(problem.exit)}
            self._print_error_json(found | dict(problem.data or {}))
        else:
            self._print_error(problem.message, problem.advice)

    def note(self, message: str) -> None:
        """Print a message to stderr."""
        if self.as_json:
            self._print_error_json({"note": message})
        else:
            self.err.print(Text(escaped(message), "dim"))

    def link(self, message: str, url: str) -> None:
        """Print a message to stderr, and a URL in a line that is not wrapped, so that it can be copied."""
        if self.as_json:
            self._print_error_json({"note": message, "url": url})
        else:
            self.err.print(Text(escaped(message)))
            self.err.print(Text(escaped(url)), soft_wrap=True)

    @property
    def can_ask(self) -> bool:
        """Whether there is a terminal to ask the user on."""
        return sys.stdin.isatty() and self.err.is_terminal

    def ask(self, question: str) -> None:
        """Ask for a confirmation. Raise Problem if the user declines."""
        self.err.print(Text(f"{escaped(question)} [y/N] ", "bold"), end="")
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Problem("DECLINED", "not confirmed, so nothing was done", Exit.INTERRUPTED)

    def interrupted(self, message: str, data: Mapping[str, Any]) -> None:
        """Print the message about an interrupted command."""
        if self.as_json:
            found = {"code": "INTERRUPTED", "message": message, "exit_code": int(Exit.INTERRUPTED)}
            self._print_error_json(found | dict(data))
        else:
            self.note(message)

    def _print_error(self, message: str, advice: Sequence[str]) -> None:
        self.err.print(Text("error: ", "bold red") + Text(escaped(message)))
        for line in advice:
            self._print_indented(Text(escaped(line)))

    def _print_error_json(self, data: Mapping[str, Any]) -> None:
        self.err.print(Text(json_text(data)), soft_wrap=True)

    def _print_indented(self, line: Text) -> None:
        self.err.print(Padding(line, (0, 0, 0, 2), expand=False) if self.err.is_terminal else Text("  ") + line)


def error_text(error: LongshoreError) -> str:
    """Return the message of an error with the code of the API."""
    return f"{error} ({error.code})" if isinstance(error, ApiError) else str(error)


def error_json(error: LongshoreError) -> dict[str, Any]:
    """Return an error as JSON. Values that the error does not have are left out."""
    found = {
        "code": error_code(error),
        "message": str(error),
        "exit_code": int(exit_code(error)),
        "status_code": getattr(error, "status_code", None),
        "request_id": getattr(error, "request_id", None),
        "resolution": getattr(error, "resolution", None),
        "data": getattr(error, "data", None),
    }
    return {name: value for name, value in found.items() if value is not None}


def status_text(status: str) -> Text:
    """Return a status in its colour."""
    return Text(escaped(status), _COLOURS.get(status, ""))


def _advice(error: LongshoreError) -> list[str]:
    match error:
        case OperationStateConflictError() if error.status:
            allowed = ", ".join(error.allowed_operations) or "none"
            return [f"The container is {error.status}. Allowed operations: {allowed}."]
        case ContainerProtectedError() if error.protection:
            return [f"Reason of the protection: {error.protection}"]
        case ExternalServiceError() if error.reason:
            return [f"{error.reason}."]
        case WaitTimeoutError():
            return [f"The operation continues. Check its progress: longshore status {error.container.id}"]
        case _:
            return []


def _resolution(error: LongshoreError) -> list[str]:
    return [error.resolution] if isinstance(error, ApiError) and error.resolution else []
