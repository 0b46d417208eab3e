"""Schedules as a table, as lines and as JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from longshore_client.cli.render import Output
from longshore_client.cli.text import NOTHING, duration_text, escaped, labels_text, moment_text
from longshore_client.models import Schedule


def print_schedules(output: Output, schedules: Sequence[Schedule]) -> None:
    """Print a list of schedules."""
    if output.as_json:
        output.json({"schedules": [schedule.raw for schedule in schedules]})
    elif output.is_terminal:
        output.show(_table(schedules))
    else:
        for schedule in schedules:
            output.fields(
                [
                    schedule.name,
                    schedule.operation,
                    schedule.expression,
                    schedule.timezone,
                    _state(schedule),
                    _next(schedule),
                    _targets(schedule),
                    schedule.created_by,
                ]
            )


def print_schedule(output: Output, schedule: Schedule) -> None:
    """Print a schedule."""
    fields = {
        "name": schedule.name,
        "operation": schedule.operation,
        "expression": schedule.expression,
        "timezone": schedule.timezone,
        "targets": _targets(schedule),
        "state": _state(schedule),
        "next": ",".join(moment_text(run) for run in schedule.next_runs) or NOTHING,
        "saved": moment_text(schedule.updated_at),
        "by": schedule.created_by,
    }
    if output.as_json:
        output.json(schedule.raw)
    elif output.is_terminal:
        grid = Table.grid(padding=(0, 2))
        for name, value in fields.items():
            lines = (_runs(schedule) or [NOTHING]) if name == "next" else [value]
            grid.add_row(Text(name, "bold"), Text("\n".join(map(escaped, lines))))
        output.show(grid)
    else:
        for name, value in fields.items():
            output.fields([name, value])


def print_deleted(output: Output, name: str) -> None:
    """Print that a schedule does not exist any more."""
    if output.as_json:
        output.json({"name": name})
    elif output.is_terminal:
        output.show(Text("✓ ", "green") + Text(escaped(f"Schedule {name} deleted")))
    else:
        output.fields([name, "deleted"])


def _table(schedules: Sequence[Schedule]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("NAME", "OPERATION", "TIMES", "NEXT RUN", "TARGETS", "BY"):
        table.add_column(name, overflow="fold")
    for schedule in schedules:
        times = f"{schedule.expression} {schedule.timezone}"
        following = next(iter(_runs(schedule)), NOTHING if schedule.enabled else "paused")
        cells = (schedule.name, schedule.operation, times, following, _targets(schedule), schedule.created_by)
        table.add_row(*(Text(escaped(cell)) for cell in cells))
    return table


def _runs(schedule: Schedule) -> list[str]:
    """Return the next runs for people: the time, and how long it is until then."""
    now = datetime.now(UTC)
    return [f"{moment_text(run)} (in {duration_text(run - now)})" for run in schedule.next_runs]


def _next(schedule: Schedule) -> str:
    return moment_text(schedule.next_runs[0]) if schedule.next_runs else NOTHING


def _state(schedule: Schedule) -> str:
    return "enabled" if schedule.enabled else "paused"


def _targets(schedule: Schedule) -> str:
    """Return the targets in one word: `all`, labels, or ids separated by commas."""
    found = schedule.targets
    if "labels" in found:
        return labels_text(found["labels"])
    return ",".join(found["container_ids"]) if "container_ids" in found else "all"
