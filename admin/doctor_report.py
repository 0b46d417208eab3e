"""The report of `doctor`: a line for each fault, and a summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from admin.checks import Code, abridged
from admin.doctor import Look
from admin.output import as_json


def lines_of(identity: str, look: Look, after: dict[str, Look | None]) -> Iterable[dict[str, str | bool]]:
    """Return a line for each fault of a container.

    Args:
        identity: The id of the container.
        look: The container with its faults.
        after: The containers that were repaired as they were found afterwards; None if they kept changing.
    """
    again = after.get(identity)
    is_checked = identity in after and again is not None
    remaining = {fault.code for fault in again.faults} if again is not None else set[Code]()
    for fault in abridged(look.faults):
        repaired = is_checked and fault.code not in remaining
        yield {"id": identity, "code": fault.code.value, "message": fault.message, "repaired": repaired}


def print_report(lines: Sequence[dict[str, str | bool]], *, json: bool) -> None:
    """Print the lines."""
    if json:
        as_json(lines)
        return
    for line in lines:
        print(f"{line['id']} {line['code']} {line['message']}{' (repaired)' if line['repaired'] else ''}")


def summary(checked: int, faulty: int, lines: Sequence[dict[str, str | bool]], *, repaired: bool) -> str:
    """Return how many containers were checked, have faults, and were repaired."""
    remaining = {line["id"] for line in lines if not line["repaired"]}
    counts = f"{checked} checked, {faulty} with faults"
    return f"{counts}, {faulty - len(remaining)} repaired." if repaired else f"{counts}."
