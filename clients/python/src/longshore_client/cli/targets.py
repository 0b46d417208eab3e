"""Containers and projects that the command line names: by id, by name or by filters."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from longshore_client.cli.config import ConfigurationError, settings
from longshore_client.cli.exits import Exit, Problem
from longshore_client.cli.text import parse_label
from longshore_client.client import Longshore
from longshore_client.errors import LongshoreError
from longshore_client.models import Container, ContainerSortBy, Project, SortOrder
from longshore_client.retries import Retries

_CONCURRENCY = 8
_SIMILAR = 5


class StatusName(StrEnum):
    """The statuses of a container."""

    STOPPED = "stopped"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters of a list of containers, as given on the command line.

    Attributes:
        project_id: The id of the project, or None for all projects.
        statuses: A container matches if it has any of these statuses. Empty: every container matches.
        name: A part of the name, or None.
        labels: Labels that must all match, each as `key:value` or `key`.
        sort_by: The sort field.
        sort_order: The sort order.
    """

    project_id: str | None = None
    statuses: Sequence[StatusName] = ()
    name: str | None = None
    labels: Sequence[str] = ()
    sort_by: ContainerSortBy = "name"
    sort_order: SortOrder = "asc"

    def select(self, client: Longshore) -> Iterator[Container]:
        """Iterate over the containers that match.

        Raises:
            Problem: A label's key is given twice.
            LongshoreError: The API returned an error or did not respond.
        """
        labels = dict(parse_label(label) for label in self.labels)
        if len(labels) < len(self.labels):
            raise Problem("USAGE", "--label: each key may be given once")
        return client.api.containers.iter(
            self.project_id,
            status=[status.value for status in self.statuses] or None,
            name=self.name,
            labels=labels,
            sort_by=self.sort_by,
            sort_order=self.sort_order,
        )


def project_id(client: Longshore, text: str | None) -> str | None:
    """Return the id of a project that is given by its id or name. Return None for None.

    Raises:
        Problem: No project or several projects have this name.
        LongshoreError: The API returned an error or did not respond.
    """
    if text is None or _is_id(text):
        return text
    found = [project for project in client.api.projects.get_all() if project.name == text]
    if len(found) == 1:
        return found[0].id
    if not found:
        raise Problem("UNKNOWN_PROJECT", f"you are not a member of a project named {text}", Exit.FORBIDDEN)
    lines = [f"{project.id}  {project.role}" for project in found]
    raise _ambiguous("AMBIGUOUS_PROJECT", f"{len(found)} projects are named {text}: specify the id", lines, found)


def container_id(client: Longshore, text: str, project: str | None = None) -> str:
    """Return the id of a container that is given by its id or name.

    Args:
        client: The client.
        text: An id, which is not looked up, or a name.
        project: The id of the project in which the name is looked up. Default: all projects.

    Raises:
        Problem: No container or several containers have this name.
        LongshoreError: The API returned an error or did not respond.
    """
    return text if _is_id(text) else _by_name(client, text, project).id


def containers(client: Longshore, texts: Sequence[str], project: str | None = None) -> list[Container]:
    """Return the containers that are given by ids and names, each once. Raises the errors of `container_id`."""
    with ThreadPoolExecutor(_CONCURRENCY) as pool:
        found = pool.map(partial(_container, client, project), dict.fromkeys(texts))
        return list({container.id: container for container in found}.values())


def complete_container(incomplete: str) -> list[str]:
    """Return the names that begin with a text, for the completion of the shell."""
    try:
        found = settings(None, None)
        with Longshore(found.url, found.token, timeout=3, retries=Retries(attempts=1)) as client:
            page = client.api.containers.get_page(name=incomplete or None, limit=100)
    except (ConfigurationError, LongshoreError, ValueError):
        return []
    names = {container.name for container in page.containers}
    return sorted(name for name in names if name.startswith(incomplete) and name.isprintable())


def _container(client: Longshore, project: str | None, text: str) -> Container:
    return client.api.containers.get(text) if _is_id(text) else _by_name(client, text, project)


def _by_name(client: Longshore, text: str, project: str | None) -> Container:
    similar = list(client.api.containers.iter(project, name=text))
    found = [container for container in similar if container.name == text]
    if len(found) == 1:
        return found[0]
    if not found:
        advice = [f"similar name: {each.name}  {each.id}" for each in similar[:_SIMILAR]]
        raise Problem(
            "UNKNOWN_CONTAINER",
            f"no container that you may read is named {text}",
            Exit.FORBIDDEN,
            advice=advice or ["An id consists of 24 characters of 0-9 and a-f. List the containers: longshore ls"],
        )
    lines = [f"{each.id}  {each.status}  project {each.project_id}" for each in found]
    message = f"{len(found)} containers are named {text}: specify the id, or the project with --project"
    raise _ambiguous("AMBIGUOUS_CONTAINER", message, lines, found)


def _ambiguous(code: str, message: str, lines: list[str], found: Sequence[Container | Project]) -> Problem:
    return Problem(code, message, advice=lines, data={"candidates": [each.raw for each in found]})


def _is_id(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{24}", text) is not None
