"""The `python -m admin` commands. Results go to stdout, messages to stderr."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from longshore.domain.errors import ExternalServiceError
from typer import Option

from admin.commands import access, changes, containers, history, schedules, tokens
from admin.commands.options import StackOptions
from admin.errors import REFUSED, UNAVAILABLE, AdminError, explained
from admin.output import remark

app = typer.Typer(
    name="python -m admin",
    help="Administer a Longshore stack with your own AWS credentials.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Without a name, the commands of a group are commands of `app`.
app.add_typer(containers.app)
app.add_typer(changes.app)
app.add_typer(access.app)
app.add_typer(schedules.app, name="schedule")
app.add_typer(history.app)
app.add_typer(tokens.app, name="token")


def main(arguments: Sequence[str]) -> int:
    """Run a command.

    Returns:
        The exit code: 0 success, 1 refused or faults found, 2 usage error, 3 AWS failed.
    """
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
    stack: Annotated[str, Option(help="Name of the deployed stack.")] = "longshore",
    local: Annotated[bool, Option("--local", help="Use the local stack that `make up` serves.")] = False,
    profile: Annotated[str | None, Option(help="AWS profile that provides the credentials.")] = None,
    region: Annotated[str | None, Option(help="AWS region of the stack.")] = None,
) -> None:
    if local and (profile or region):
        raise typer.BadParameter("--local cannot be combined with --profile or --region")
    context.obj = StackOptions(stack, local, profile, region)
