"""The confirmation, the progress and the summary of an operation on several containers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from longshore_client.cli.bulk import Bulk, Outcome
from longshore_client.cli.exits import Exit, Problem, exit_code
from longshore_client.cli.fleet_view import containers_table
from longshore_client.cli.render import Output, error_json, error_text
from longshore_client.cli.text import escaped
from longshore_client.models import Container, Operation

_SHOWN = 50


def confirm(output: Output, operation: Operation, targets: Sequence[Container]) -> None:
    """Show the containers and ask for a confirmation.

    Raises:
        Problem: The user declined, or there is no terminal to ask on.
    """
    count = f"{len(targets)} containers" if len(targets) != 1 else "1 container"
    if not output.can_ask:
        raise Problem(
            "CONFIRMATION_REQUIRED",
            f"{operation} of {count} must be confirmed: run the command on a terminal, or specify --yes",
            data={"containers": [container.id for container in targets]},
        )
    output.err.print(containers_table(targets[:_SHOWN]))
    if len(targets) > _SHOWN:
        output.err.print(Text(f"and {len(targets) - _SHOWN} more", "dim"))
    output.ask(f"{operation} {count}?")


@contextmanager
def progress(output: Output, bulk: Bulk) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal. The value is called after each outcome."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    visible = output.err.is_terminal and not output.as_json
    with Progress(*columns, console=output.err, transient=True, disable=not visible) as bar:
        task = bar.add_task(bulk.operation, total=len(bulk.targets))
        yield lambda: bar.advance(task)


def print_report(output: Output, bulk: Bulk) -> Exit:
    """Print the outcomes and a summary, and return the exit code."""
    failed = [outcome for outcome in bulk.outcomes if outcome.error]
    if output.as_json:
        output.json(report_json(bulk))
    elif output.is_terminal:
        _print_summary(output, bulk, failed)
    else:
        _print_lines(output, bulk, failed)
    return Exit.PARTIAL if failed else Exit.DONE


def report_json(bulk: Bulk) -> dict[str, Any]:
    """Return the outcomes so far as JSON."""
    failed = sum(outcome.error is not None for outcome in bulk.outcomes)
    return {
        "run_id": bulk.run_id,
        "operation": bulk.operation,
        "total": len(bulk.targets),
        "succeeded": len(bulk.outcomes) - failed,
        "failed": failed,
        "results": [_outcome_json(outcome) for outcome in bulk.outcomes],
    }


def interrupted(bulk: Bulk) -> tuple[str, dict[str, Any]]:
    """Return the message after Ctrl-C and the data of its JSON."""
    ended = len(bulk.outcomes)
    continuing = len(bulk.requested) - ended
    message = (
        f"interrupted: of {len(bulk.targets)} operations, {ended} have ended, {continuing} were requested and may "
        f"continue, {len(bulk.targets) - len(bulk.requested)} were not requested; {repeat_hint(bulk.run_id)}"
    )
    return message, report_json(bulk)


def repeat_hint(run_id: str) -> str:
    """Return how to repeat a run safely."""
    return f"to repeat the command without running an operation twice, add --run-id {run_id}"


def _summary(bulk: Bulk) -> str:
    succeeded = sum(outcome.result is not None for outcome in bulk.outcomes)
    accepted = sum(outcome.result is not None and not outcome.result.completed for outcome in bulk.outcomes)
    pending = f", {accepted} of them still pending" if accepted else ""
    return f"{bulk.operation}: {succeeded} of {len(bulk.targets)} containers succeeded{pending}"


def _print_summary(output: Output, bulk: Bulk, failed: Sequence[Outcome]) -> None:
    if failed:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("NAME", "ID", "ERROR"):
            table.add_column(name, overflow="fold", no_wrap=name == "ID")
        for outcome in failed:
            table.add_row(*(Text(escaped(cell)) for cell in _failure(outcome)))
        output.show(table)
    mark = Text("✗ ", "red") if failed else Text("✓ ", "green")
    output.show(mark + Text(_summary(bulk)))
    if _is_repeatable(bulk, failed):
        output.note(repeat_hint(bulk.run_id))


def _print_lines(output: Output, bulk: Bulk, failed: Sequence[Outcome]) -> None:
    for outcome in bulk.outcomes:
        if result := outcome.result:
            output.fields([result.container_id, result.operation, result.status, result.message])
    for outcome in failed:
        name, identity, message = _failure(outcome)
        output.err.print(Text(escaped(f"error: {name} ({identity}): {message}")))
    output.note(_summary(bulk))
    if _is_repeatable(bulk, failed):
        output.note(repeat_hint(bulk.run_id))


def _failure(outcome: Outcome) -> tuple[str, str, str]:
    assert outcome.error is not None
    return outcome.container.name, outcome.container.id, error_text(outcome.error)


def _is_repeatable(bulk: Bulk, failed: Sequence[Outcome]) -> bool:
    """Return whether a repeated run may succeed: an error is temporary, or the run has ended early."""
    return len(bulk.outcomes) < len(bulk.targets) or any(
        outcome.error and exit_code(outcome.error) in (Exit.UNAVAILABLE, Exit.PENDING) for outcome in failed
    )


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    subject = {"container_id": outcome.container.id, "name": outcome.container.name}
    if outcome.error:
        return subject | {"succeeded": False, "error": error_json(outcome.error)}
    assert outcome.result is not None
    return subject | {"succeeded": True, "data": outcome.result.raw}
