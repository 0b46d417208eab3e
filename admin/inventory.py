"""Lists of the containers, members, bans and projects of a stack. Each list reads a whole table, consistently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from longshore.aws.access import ACCOUNT, PROJECTS, name_scope, project_scope
from longshore.domain.models import Container
from longshore.domain.views import ContainerView

from admin.checks import container_of
from admin.items import plain
from admin.target import Target

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_PROJECT_SCOPE = project_scope("")
_NAME_SCOPE = name_scope("")

Item = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """A user's role in a project. A role that the API does not know grants nothing."""

    user: str
    project_id: str
    role: str


class Inventory:
    """Reads the tables. Every method raises botocore's errors if DynamoDB fails."""

    def __init__(self, dynamodb: DynamoDBClient, *, containers: str, access: str) -> None:
        self._dynamodb = dynamodb
        self._containers = containers
        self._access = access

    @classmethod
    def of(cls, target: Target) -> Inventory:
        """Create the inventory of a stack."""
        return cls(target.dynamodb(), containers=target.containers, access=target.access)

    def containers(self, project_id: str | None = None, status: str | None = None) -> list[dict[str, Any]]:
        """Return the containers in the order of project, name and id.

        Args:
            project_id: Only containers of this project.
            status: Only containers with this status.

        Returns:
            JSON values: what the API returns, the cluster, and the names of the capacity providers.
            A container whose item is damaged has `status` null and the readable values.
        """
        found = [
            _view(item)
            for item in self._scan(self._containers)
            if project_id in (None, item.get("project_id")) and status in (None, item.get("status"))
        ]
        return sorted(found, key=lambda each: [str(each[name]) for name in ("project_id", "name", "id")])

    def members(self, project_id: str | None = None, user: str | None = None) -> list[Member]:
        """Return the roles of users in projects, in the order of project and user."""
        found = [
            Member(item["user_id"], item["scope"].removeprefix(_PROJECT_SCOPE), str(item["role"]))
            for item in self._scan(self._access)
            if item["scope"].startswith(_PROJECT_SCOPE) and "role" in item
        ]
        wanted = [each for each in found if project_id in (None, each.project_id) and user in (None, each.user)]
        return sorted(wanted, key=lambda each: (each.project_id, each.user))

    def bans(self) -> list[str]:
        """Return the banned users in alphabetical order."""
        # As for the API, every value but false counts as a ban.
        return sorted(
            item["user_id"]
            for item in self._scan(self._access)
            if item["scope"] == ACCOUNT and item.get("banned", False) is not False
        )

    def projects(self) -> list[dict[str, Any]]:
        """Return all projects that have a name, containers or members, in the order of name and id."""
        names: dict[str, str] = {}
        members: Counter[str] = Counter()
        for item in self._scan(self._access):
            if item["user_id"] == PROJECTS and item["scope"].startswith(_NAME_SCOPE):
                names[item["scope"].removeprefix(_NAME_SCOPE)] = str(item.get("name", ""))
            elif item["scope"].startswith(_PROJECT_SCOPE) and "role" in item:
                members[item["scope"].removeprefix(_PROJECT_SCOPE)] += 1
        containers = Counter(str(item.get("project_id")) for item in self._scan(self._containers, "project_id"))
        ids = names.keys() | members.keys() | containers.keys()
        return [
            {"id": each, "name": names.get(each), "containers": containers[each], "members": members[each]}
            for each in sorted(ids, key=lambda each: (names.get(each) is None, names.get(each, ""), each))
        ]

    def _scan(self, table: str, attribute: str | None = None) -> Iterator[Item]:
        only: Any = {"ProjectionExpression": attribute} if attribute else {}
        for page in self._dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True, **only):
            yield from map(plain, page["Items"])


def _view(item: Item) -> dict[str, Any]:
    container = container_of(item)
    if isinstance(container, Container):
        providers = [provider.name for provider in container.runtime.capacity_providers]
        view = ContainerView.of(container).model_dump(mode="json")
        return view | {"cluster": container.runtime.cluster, "capacity_providers": providers}
    readable = {name: value for name, value in item.items() if name in ContainerView.model_fields}
    unknown = dict.fromkeys((*ContainerView.model_fields, "cluster", "capacity_providers"))
    return unknown | readable | {"status": None}
