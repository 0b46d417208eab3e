"""The commands `python -m admin token`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from typer import Argument, Option

from admin import tokens
from admin.output import remark

app = typer.Typer(help="Create tokens for stacks that use HS256.", no_args_is_help=True)


# Without a callback, Typer would make the only command the group itself.
@app.callback()
def group() -> None:
    """Create tokens for stacks that use HS256."""


@app.command()
def mint(
    context: typer.Context,
    user: Annotated[str, Argument(help="User: the sub claim of the token.")],
    lifetime: Annotated[str, Option("--lifetime", help="Lifetime: 30m, 8h or 7d. At most 90d.")] = "1h",
) -> None:
    """Print a token of a user. It cannot be revoked: `ban` refuses all tokens of a user."""
    minted = tokens.mint(context.obj.target(), user, lifetime)
    print(minted.token)
    expires = datetime.fromtimestamp(minted.expires_at, UTC).isoformat().replace("+00:00", "Z")
    remark(f"Token of {user}, which expires at {expires}.")
