"""Watching a list of containers."""

import time
from collections.abc import Iterator

from rich.live import Live
from rich.table import Table

from longshore_client.cli.fleet_view import container_fields, containers_table
from longshore_client.cli.render import Output
from longshore_client.cli.targets import Filters
from longshore_client.client import Longshore
from longshore_client.errors import LongshoreError
from longshore_client.models import Container
from longshore_client.retries import is_transient

_POLL = 2.0  # seconds
_SLOWEST = 30.0


def watch(client: Longshore, output: Output, filters: Filters) -> None:
    """Show a list of containers and its changes, without end.

    A terminal shows a table that is updated. A pipe receives a line for each container and each change of a container;
    with JSON, the line is the container. Transient errors are reported once and retried.

    Raises:
        LongshoreError: An error that is not transient.
    """
    if output.is_terminal:
        with Live(Table(), console=output.out, auto_refresh=False, vertical_overflow="crop") as live:
            for containers in _polls(client, output, filters):
                live.update(containers_table(containers), refresh=True)
    else:
        shown: dict[str, Container] = {}
        for containers in _polls(client, output, filters):
            for container in containers:
                if shown.get(container.id) != container:
                    _print_line(output, container)
            shown = {container.id: container for container in containers}


def _polls(client: Longshore, output: Output, filters: Filters) -> Iterator[list[Container]]:
    pause = _POLL
    while True:
        began = time.monotonic()
        try:
            found = list(filters.select(client))
        except LongshoreError as error:
            if not is_transient(error):
                raise
            if pause == _POLL:
                output.note(f"{error}; retrying")
            pause = min(pause * 2, _SLOWEST)
        else:
            pause = _POLL
            yield found
        # Reading a long list takes at most half of the time.
        time.sleep(max(pause, time.monotonic() - began))


def _print_line(output: Output, container: Container) -> None:
    if output.as_json:
        output.json(container.raw, indent=None)
    else:
        output.fields(container_fields(container))
