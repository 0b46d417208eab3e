"""Options that several commands have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from typer import Argument, Option

from admin import target
from admin.target import Target


@dataclass
class StackOptions:
    """The options that select the stack."""

    stack: str
    local: bool
    profile: str | None
    region: str | None

    def target(self) -> Target:
        """Find the stack. Raise AdminError if it does not exist."""
        return target.local() if self.local else target.deployed(self.stack, self.profile, self.region)


Context = typer.Context
Project = Annotated[str, Option(help="Project id: 24 characters of 0-9a-f.")]
ProjectArgument = Annotated[str, Argument(help="Project id: 24 characters of 0-9a-f.", metavar="PROJECT")]
User = Annotated[str, Argument(help="User: the sub claim of the user's tokens.")]
Id = Annotated[str, Argument(help="Container id.", metavar="ID")]
Cluster = Annotated[str | None, Option(help="Name or ARN of a cluster of the stack. Needed if it has several.")]
CapacityProviders = Annotated[
    list[str] | None,
    Option(
        metavar="NAME[:WEIGHT[:BASE]]",
        help="Capacity provider, instead of a launch type. The default weight is 1. Repeatable.",
    ),
]
Json = Annotated[bool, Option("--json", help="Print JSON.")]
