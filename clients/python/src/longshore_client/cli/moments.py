"""Options that state a time in the future: `--for` and `--until`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from longshore_client.cli.text import parse_duration

For = Annotated[
    str | None,
    typer.Option("--for", metavar="DURATION", help="How long, from now on: such as 90s, 30m, 2h or 3d."),
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Until this time (RFC 3339).")]


def moment_of(duration: str | None, until: str | None) -> datetime | None:
    """Return the time that the options state, or None if both are missing.

    Raises:
        BadParameter: Both are given, or one is malformed.
    """
    if duration is not None and until is not None:
        raise typer.BadParameter("--for and --until cannot be combined")
    if duration is not None:
        try:
            return datetime.now(UTC) + parse_duration(duration)
        except (ValueError, OverflowError) as error:
            raise typer.BadParameter(f"--for {error}") from error
    return None if until is None else _time(until)


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter("--until must be a time with an offset, such as 2026-03-02T09:00:00Z")
    return moment
