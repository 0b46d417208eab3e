"""The commands. Each finds the stack, does one thing, and says what it did; results go to stdout, remarks to stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from longshore.domain.errors import ExternalServiceError
from longshore.domain.lifecycle import LaunchType
from longshore.domain.models import Runtime
from longshore.domain.roles import Role
from typer import Argument, Option

from admin import target
from admin.adoption import Adoption, Candidate, Filter
from admin.checks import Code, shortened
from admin.doctor import Doctor, Look
from admin.errors import REFUSED, UNAVAILABLE, AdminError, explained
from admin.grants import AccessList
from admin.output import as_json, progress, remark, table
from admin.registry import Registration, Registry
from admin.repair import SWEEPS, Repair
from admin.schedules import Listed, Schedules, expression_of, stop_input
from admin.target import Target
from admin.values import check_id, check_ids, new_container_id

_WORKERS = 8

app = typer.Typer(
    name="python -m admin",
    help="Administer a Longshore stack, with your own AWS credentials.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
schedule = typer.Typer(help="Scheduled stops: EventBridge rules of the stack.", no_args_is_help=True)
app.add_typer(schedule, name="schedule")


@dataclass
class Chosen:
    """Which stack the options name. It is looked up once a command needs it."""

    stack: str
    local: bool
    profile: str | None
    region: str | None

    def target(self) -> Target:
        return target.local() if self.local else target.deployed(self.stack, self.profile, self.region)


def main(arguments: Sequence[str]) -> int:
    """Run a command; its exit code: 0 done, 1 refused or faults found, 2 wrong usage, 3 AWS failed."""
    try:
        app(args=list(arguments))
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else REFUSED
    except AdminError as error:
        return _failed(error)
    except (ClientError, BotoCoreError) as error:
        return _failed(explained(error))
    except ExternalServiceError as error:
        remark(f"error: {error.reason}.")
        return UNAVAILABLE
    return 0


def _failed(error: AdminError) -> int:
    remark(f"error: {error}")
    return error.exit_code


@app.callback()
def choose(
    context: typer.Context,
    stack: Annotated[str, Option(help="The deployed stack's name.")] = "longshore",
    local: Annotated[bool, Option("--local", help="The local stack that `make up` serves, instead.")] = False,
    profile: Annotated[str | None, Option(help="The AWS profile to sign with.")] = None,
    region: Annotated[str | None, Option(help="The stack's AWS region.")] = None,
) -> None:
    if local and (profile or region):
        raise typer.BadParameter("--local takes no --profile and no --region")
    context.obj = Chosen(stack, local, profile, region)


Context = typer.Context
Project = Annotated[str, Option(help="The project's id, 24 characters of 0-9a-f.")]


@app.command()
def register(
    context: Context,
    project: Project,
    name: Annotated[str, Option(help="A name for people.")],
    task_definition: Annotated[str, Option(help="Family, family:revision or ARN. A family is its newest revision.")],
    launch_type: Annotated[LaunchType, Option(case_sensitive=False, help="Where its tasks run.")] = LaunchType.EC2,
    cluster: Annotated[str | None, Option(help="The cluster; the stack's, which is the only one it controls.")] = None,
    subnet: Annotated[
        list[str] | None, Option(help="A subnet of its tasks, for network mode awsvpc. Repeatable.")
    ] = None,
    security_group: Annotated[list[str] | None, Option(help="A security group of its tasks. Repeatable.")] = None,
    assign_public_ip: Annotated[
        bool, Option("--assign-public-ip", help="On Fargate, give its tasks a public address.")
    ] = False,
    placement_constraint: Annotated[
        list[str] | None, Option(help="An expression of ECS's cluster query language. Repeatable.")
    ] = None,
    server: Annotated[str | None, Option(help="Bind it to one instance: i-… (or mi-… with EXTERNAL).")] = None,
    id: Annotated[str | None, Option("--id", help="Its id. One is made, unless you repeat a command.")] = None,  # noqa: A002
) -> None:
    """Register a container, as stopped. Prints its id."""
    found = context.obj.target()
    runtime = Runtime(
        cluster=found.checked_cluster(cluster),
        task_definition=task_definition,
        launch_type=launch_type,
        subnets=subnet or [],
        security_groups=security_group or [],
        assign_public_ip=assign_public_ip,
        placement_constraints=placement_constraint or [],
    )
    wanted = Registration(id or new_container_id(), project, name, runtime, server).checked(found)
    new = Registry.of(found).register(wanted)
    remark(f"Registered {name}: it is stopped, and can be started." if new else f"{name} is registered already.")
    print(wanted.id)


@app.command()
def adopt(
    context: Context,
    project: Project,
    cluster: Annotated[str | None, Option(help="The cluster; the stack's, which is the only one it controls.")] = None,
    family: Annotated[str | None, Option(help="Only tasks of this task definition family.")] = None,
    service: Annotated[str | None, Option(help="Only tasks of this ECS service.")] = None,
    started_by: Annotated[str | None, Option(help="Only tasks with this startedBy.")] = None,
    include_services: Annotated[
        bool, Option("--include-services", help="Also tasks of services, which replace a task that is stopped.")
    ] = False,
    yes: Annotated[bool, Option("--yes", help="Do it. Without, only show what would be done.")] = False,
) -> None:
    """Register the running tasks of the cluster, each as a container that is running."""
    found = context.obj.target()
    adoption = Adoption.of(found, found.checked_cluster(cluster), check_id(project, "the project"))
    wanted = Filter(family, service, started_by, include_services)
    if yes:
        _adopt(adoption, wanted)
    else:
        candidates = [each for page in adoption.candidates(wanted) for each in page]
        table(["ACTION", "TASK", "CONTAINER", "TASK DEFINITION", "LAUNCH TYPE", "REMARK"], [*map(_row, candidates)])
        would = sum(candidate.wanted is not None for candidate in candidates)
        remark(f"{would} would be adopted, {len(candidates) - would} skipped. Nothing was changed: add --yes to do it.")


def _row(candidate: Candidate) -> list[str]:
    adopted = candidate.wanted is not None
    said = "; ".join(candidate.notes) if adopted else candidate.skipped or ""
    identity = candidate.container_id if adopted else ""
    return [
        "adopt" if adopted else "skip",
        candidate.task.id,
        identity,
        candidate.task_definition,
        candidate.launch_type,
        said,
    ]


def _adopt(adoption: Adoption, wanted: Filter) -> None:
    adopted = skipped = 0
    failed: dict[str, str] = {}
    with progress("Adopting", adoption.count()) as step:
        for candidates in adoption.candidates(wanted):
            counts = adoption.adopt(candidates, step)
            step(counts.skipped_at_once)
            adopted, skipped, failed = adopted + counts.adopted, skipped + counts.skipped, failed | counts.failed
    for task, reason in failed.items():
        remark(f"error: the task {task} was not adopted: {reason}")
    print(f"{adopted} adopted, {skipped} skipped, {len(failed)} failed")
    if failed:
        raise typer.Exit(UNAVAILABLE)


@app.command()
def grant(
    context: Context,
    user: Annotated[str, Argument(help="The user: the sub of its tokens.")],
    project: Annotated[str, Argument(help="The project's id.")],
    role: Annotated[Role, Argument(help="viewer reads; operator and owner operate too.")],
) -> None:
    """Give a user a role in a project, in place of the one that it has."""
    before = AccessList.of(context.obj.target()).grant(user, project, role)
    remark(f"{user} is {role.value} of {project}" + (f", and was {before}." if before not in (None, role) else "."))


@app.command()
def revoke(
    context: Context,
    user: Annotated[str, Argument(help="The user: the sub of its tokens.")],
    project: Annotated[str, Argument(help="The project's id.")],
) -> None:
    """Take a user's role in a project away."""
    had = AccessList.of(context.obj.target()).revoke(user, project)
    remark(f"{user} has no role in {project} {'any more' if had else '(and had none)'}.")


@app.command()
def ban(context: Context, user: Annotated[str, Argument(help="The user: the sub of its tokens.")]) -> None:
    """Refuse whatever a user asks for, from the next request on."""
    AccessList.of(context.obj.target()).ban(user)
    remark(f"{user} is banned.")


@app.command()
def unban(context: Context, user: Annotated[str, Argument(help="The user: the sub of its tokens.")]) -> None:
    """Lift a ban. The user's roles are as they were."""
    was = AccessList.of(context.obj.target()).unban(user)
    remark(f"{user} is not banned {'any more' if was else '(and was not)'}.")


Name = Annotated[str, Argument(help="The schedule's name. The history names it as `rule`.")]
Json = Annotated[bool, Option("--json", help="As JSON.")]


@schedule.command("list")
def schedule_list(context: Context, json: Json = False) -> None:
    """List the stack's scheduled stops, and when each comes next (UTC)."""
    found = Schedules.of(context.obj.target()).all()
    if json:
        as_json([each.as_json() for each in found])
    else:
        table(["NAME", "WHEN", "STOPS", "STATE", "NEXT"], [_listed(each) for each in found])
    old = sum(each.ours and each.what is not None and not each.passes_time for each in found)
    if old:
        remark(f"{old} schedules do not pass their scheduled time: run `schedule migrate`.")


def _listed(each: Listed) -> list[str]:
    match each.what:
        case None:
            what = "nothing: add it again"
        case {"project_id": str(project)}:
            what = f"project {project}"
        case {"container_ids": list(ids)}:
            what = " ".join(map(str, ids))
        case _:
            what = "all"
    following = each.next_at.strftime("%Y-%m-%d %H:%M") if each.next_at else "-"
    return [each.name, each.expression, what, "enabled" if each.enabled else "disabled", following]


@schedule.command("add")
def schedule_add(
    context: Context,
    name: Name,
    cron: Annotated[str | None, Option(help="'minutes hours day month weekday year', in UTC.")] = None,
    rate: Annotated[str | None, Option(help="'12 hours'.")] = None,
    all: Annotated[bool, Option("--all", help="Stop all that runs.")] = False,  # noqa: A002
    project: Annotated[str | None, Option(help="Stop what runs in this project.")] = None,
    container: Annotated[list[str] | None, Option(help="Stop this container. Repeatable.")] = None,
    disabled: Annotated[bool, Option("--disabled", help="Make it, but do not let it come.")] = False,
    replace: Annotated[bool, Option("--replace", help="Change the schedule that has this name.")] = False,
) -> None:
    """Add a scheduled stop. Safe to repeat."""
    expression = expression_of(cron, rate)
    stops = stop_input(project, container or [], everything=all)
    made = Schedules.of(context.obj.target()).add(name, expression, stops, enabled=not disabled, replace=replace)
    state = "disabled" if disabled else f"next at {made.next_at:%Y-%m-%d %H:%M} UTC" if made.next_at else "enabled"
    remark(f"Schedule {name}: {expression}, {state}.")


@schedule.command("migrate")
def schedule_migrate(context: Context) -> None:
    """Make the schedules that an older version added pass their scheduled time. Safe to repeat."""
    changed, refused = Schedules.of(context.obj.target()).migrate()
    for name in changed:
        remark(f"Migrated the schedule {name}.")
    for name, reason in refused.items():
        remark(f"error: the schedule {name} was not migrated: {reason}.")
    remark(f"{len(changed)} migrated, {len(refused)} not.")
    if refused:
        raise typer.Exit(REFUSED)


@schedule.command("remove")
def schedule_remove(context: Context, name: Name) -> None:
    """Remove a scheduled stop that was added."""
    Schedules.of(context.obj.target()).remove(name)
    remark(f"Removed the schedule {name}.")


@app.command()
def doctor(
    context: Context,
    ids: Annotated[
        list[str] | None, Argument(help="The containers' ids.", metavar="[ID]...", show_default=False)
    ] = None,
    all: Annotated[bool, Option("--all", help="Every container.")] = False,  # noqa: A002
    repair: Annotated[bool, Option("--repair", help="Mend what can be mended safely.")] = False,
    json: Json = False,
) -> None:
    """Check that containers, their history, their operations and their tasks agree. Prints a line for each fault."""
    if bool(ids) == all:
        raise typer.BadParameter("give either ids or --all")
    found = context.obj.target()
    looked = Doctor.of(found)
    wanted = list(looked.ids()) if all else check_ids(ids or [], "the id")
    tasks = looked.tasks(found.cluster) if all else None
    seen = _examined(wanted, lambda each: looked.examine(each, tasks))
    faulty = {identity: look for identity, look in seen.items() if look is not None and look.faults}
    after: dict[str, Look | None] = {}
    if repair and faulty:
        after = _repaired(Repair.of(found), looked, faulty)
    busy = [identity for identity, look in {**seen, **after}.items() if look is None]
    lines = [line for identity, look in faulty.items() for line in _lines(identity, look, after)]
    _report(lines, json=json)
    for identity in busy:
        remark(f"{identity} changed at every look: check it again.")
    remark(_summary(len(wanted), len(faulty), lines, repaired=bool(after)))
    if any(not line["repaired"] for line in lines):
        raise typer.Exit(REFUSED)
    if busy:
        raise typer.Exit(UNAVAILABLE)


def _examined(ids: Sequence[str], examine: Callable[[str], Look | None]) -> dict[str, Look | None]:
    seen: dict[str, Look | None] = {}
    with progress("Checking", len(ids)) as step, ThreadPoolExecutor(_WORKERS) as executor:
        for identity, look in zip(ids, executor.map(examine, ids), strict=True):
            # Of those that are well nothing is kept.
            if look is None or look.faults:
                seen[identity] = look
            step()
    return seen


def _repaired(repair: Repair, looked: Doctor, faulty: dict[str, Look]) -> dict[str, Look | None]:
    for identity, look in faulty.items():
        repair.mend(identity, look)
    codes = {fault.code for look in faulty.values() for fault in look.faults}
    for kind in dict.fromkeys(kind for code, kind in SWEEPS.items() if code in codes):
        remark(f"Waiting for a sweep of {'pending operations' if kind == 'operations' else 'tasks'}.")
        repair.sweep(kind)
        if kind == "drift" and looked.awaits_second_look(faulty):
            remark("ECS does not show a task: waiting for a second sweep half a minute later.")
            looked.wait_between_looks()
            repair.sweep(kind)
    return _examined_again(list(faulty), looked)


def _examined_again(ids: Sequence[str], looked: Doctor) -> dict[str, Look | None]:
    still = _examined(ids, looked.examine)
    return {identity: still.get(identity, Look.well()) for identity in ids}


def _lines(identity: str, look: Look, after: dict[str, Look | None]) -> Iterable[dict[str, str | bool]]:
    again = after.get(identity)
    mended = identity in after and again is not None
    left = {fault.code for fault in again.faults} if again is not None else set[Code]()
    for fault in shortened(look.faults):
        repaired = mended and fault.code not in left
        yield {"id": identity, "code": fault.code.value, "message": fault.message, "repaired": repaired}


def _report(lines: Sequence[dict[str, str | bool]], *, json: bool) -> None:
    if json:
        as_json(lines)
        return
    for line in lines:
        print(f"{line['id']} {line['code']} {line['message']}{' (repaired)' if line['repaired'] else ''}")


def _summary(checked: int, faulty: int, lines: Sequence[dict[str, str | bool]], *, repaired: bool) -> str:
    left = {line["id"] for line in lines if not line["repaired"]}
    said = f"{checked} checked, {faulty} with faults"
    return f"{said}, {faulty - len(left)} repaired." if repaired else f"{said}."
