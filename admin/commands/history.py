"""Commands that check, shorten and export the histories of containers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from typer import Argument, Option

from admin.commands.options import Context, Json
from admin.doctor import Doctor, Look
from admin.doctor_report import lines_of, print_report, summary
from admin.errors import REFUSED, UNAVAILABLE, AdminError
from admin.export import Format, Rows, Selection, part_of, to_file, to_stdout
from admin.output import as_json, progress, remark, report
from admin.repair import SWEEPS, Repair
from admin.retention import RetentionChange
from admin.values import check_id, check_ids

_WORKERS = 8

app = typer.Typer()


@app.command()
def doctor(
    context: Context,
    ids: Annotated[
        list[str] | None, Argument(help="Ids of the containers to check.", metavar="[ID]...", show_default=False)
    ] = None,
    all: Annotated[bool, Option("--all", help="Check all containers.")] = False,  # noqa: A002
    repair: Annotated[bool, Option("--repair", help="Repair faults that can be repaired safely.")] = False,
    json: Json = False,
) -> None:
    """Check containers against their history, their operations, tasks and services. Prints a line for each fault."""
    if bool(ids) == all:
        raise typer.BadParameter("specify either ids or --all")
    found = context.obj.target()
    examiner = Doctor.of(found)
    wanted = list(examiner.ids()) if all else check_ids(ids or [], "the id")
    present = examiner.present(wanted) if all else None
    seen = _examined(wanted, lambda each: examiner.examine(each, present), silent=json)
    unknown = [identity for identity, look in seen.items() if look is not None and not look.exists]
    faulty = {identity: look for identity, look in seen.items() if look is not None and look.faults}
    after: dict[str, Look | None] = {}
    if repair and faulty:
        after = _repaired(Repair.of(found), examiner, faulty, silent=json)
    busy = [identity for identity, look in {**seen, **after}.items() if look is None]
    lines = [line for identity, look in faulty.items() for line in lines_of(identity, look, after)]
    print_report(lines, json=json)
    for identity in busy:
        remark(f"{identity} kept changing during the check: check it again.")
    # With --all, a container that no longer exists has been unregistered during the check.
    missing = [] if all else unknown
    for identity in missing:
        remark(f"error: The container {identity} does not exist.")
    remark(summary(len(wanted) - len(unknown), len(faulty), lines, repaired=bool(after)))
    if missing or any(not line["repaired"] for line in lines):
        raise typer.Exit(REFUSED)
    if busy:
        raise typer.Exit(UNAVAILABLE)


def _examined(ids: Sequence[str], examine: Callable[[str], Look | None], *, silent: bool) -> dict[str, Look | None]:
    seen: dict[str, Look | None] = {}
    with progress("Checking", len(ids), silent=silent) as step, ThreadPoolExecutor(_WORKERS) as executor:
        for identity, look in zip(ids, executor.map(examine, ids), strict=True):
            # Healthy containers are not kept, to save memory.
            if look is None or look.faults or not look.exists:
                seen[identity] = look
            step()
    return seen


def _repaired(repair: Repair, examiner: Doctor, faulty: dict[str, Look], *, silent: bool) -> dict[str, Look | None]:
    for identity, look in faulty.items():
        repair.repair(identity, look)
    codes = {fault.code for look in faulty.values() for fault in look.faults}
    for kind in dict.fromkeys(kind for code, kind in SWEEPS.items() if code in codes):
        remark(f"Running the {'drift' if kind == 'drift' else 'recovery'} sweep.")
        repair.sweep(kind)
        if kind == "drift" and examiner.awaits_second_look(faulty):
            remark("ECS does not show a task or service: running the drift sweep again in half a minute.")
            examiner.wait_between_looks()
            repair.sweep(kind)
    still = _examined(list(faulty), examiner.examine, silent=silent)
    return {identity: still.get(identity, Look.healthy()) for identity in faulty}


@app.command("apply-retention")
def apply_retention(
    context: Context,
    ids: Annotated[
        list[str] | None, Argument(help="Ids of the containers. Default: all.", metavar="[ID]...", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """Apply HistoryRetentionDays to existing history rows. Safe to repeat, and while the service runs."""
    found = context.obj.target()
    change = RetentionChange.of(found)
    wanted = check_ids(ids or [], "the id") or list(Doctor.of(found).ids())
    with progress("Checking rows", silent=json) as step, ThreadPoolExecutor(_WORKERS) as executor:
        results = dict(zip(wanted, executor.map(lambda each: change.apply(each, step), wanted), strict=True))
    problems = {identity: each.problem for identity, each in results.items() if each.problem}
    for identity, problem in problems.items():
        remark(f"error: the retention was not applied to {identity}: {problem}.")
    rows, changed = (sum(getattr(each, name) for each in results.values()) for name in ("rows", "changed"))
    days = found.history_retention
    if json:
        as_json(
            {"containers": len(wanted), "retention_days": days, "rows": rows, "changed": changed, "failed": problems}
        )
    else:
        kept = f"{days} days" if days else "no limit"
        print(f"{len(wanted)} containers, retention: {kept}: {changed} of {rows} rows changed")
    if problems:
        raise typer.Exit(REFUSED)


@app.command()
def export(
    context: Context,
    id: Annotated[  # noqa: A002
        str | None, Argument(help="Container id, also of an unregistered container.", metavar="[ID]")
    ] = None,
    project: Annotated[str | None, Option(help="Export the rows that were written under this project.")] = None,
    form: Annotated[Format, Option("--format", help="Format of the rows.")] = Format.JSONL,
    output: Annotated[Path | None, Option(help="File to write. Default: stdout.")] = None,
    json: Json = False,
) -> None:
    """Export the history of a container or a project, oldest row first. Repeat the command after a failure."""
    if (id is None) == (project is None):
        raise typer.BadParameter("specify either an id or --project")
    if json and output is None:
        raise typer.BadParameter("--json requires --output, because the rows are written to stdout")
    if id is not None:
        selection = Selection("container_id", check_id(id, "the id"))
    else:
        selection = Selection("project_id", check_id(project or "", "the project"))
    rows = Rows.of(context.obj.target(), selection)
    total = rows.count()
    if not total:
        raise AdminError(f"There are no history rows of {selection.value}.")
    # A bar would be printed between the rows.
    silent = json or (output is None and sys.stdout.isatty())
    with progress("Exporting", total if id is not None else None, silent=silent) as step:
        if output is None:
            remark(f"Exported {to_stdout(rows, form, step)} rows.")
            return
        try:
            count, continued = to_file(rows, selection, form, output, step)
        except (ClientError, BotoCoreError, KeyboardInterrupt):
            remark(f"The file {part_of(output)} is incomplete: repeat the command to continue.")
            raise
    more = "more " if continued else ""
    values = {"file": str(output), "rows": count, "continued": continued}
    report(f"Exported {count} {more}rows to {output}.", values, json=json)
