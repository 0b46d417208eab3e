"""The command `longshore`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with a code of `exits.Exit`. The default arguments are those of the process."""
    try:
        import authlib  # noqa: F401
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        print("longshore: missing packages; run: pip install 'longshore-client[cli]'", file=sys.stderr)
        sys.exit(2)
    # These modules define the subcommands.
    from longshore_client.cli import fleet, history, limits, operations, schedules, sign_in  # noqa: F401
    from longshore_client.cli.app import app

    app(arguments, prog_name="longshore")
