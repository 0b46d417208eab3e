"""The command `longshore`."""

import sys


def main() -> None:
    """Run the command and exit with a code of `exits.Exit`."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError:
        print("longshore: missing packages; run: pip install 'longshore-client[cli]'", file=sys.stderr)
        sys.exit(2)
    # These modules define the subcommands.
    from longshore_client.cli import fleet, history, operations  # noqa: F401
    from longshore_client.cli.app import app

    app(prog_name="longshore")
