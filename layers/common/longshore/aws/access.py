"""The access table: bans of users, their roles in projects, and the names of projects.

The key is (`user_id`, `scope`). Scope `account` holds `banned`; scope `project#<id>` holds the role in that project.
Reads are consistent, so a ban or a revoked role takes effect with the next request. They begin at the key of `account`:
if the item exists, it is the first one that DynamoDB returns, however many other scopes the user has.

The names of all projects have one `user_id`, `#projects`, and the scopes `name#<id>`. A single Query reads them without
the ids of the projects, at the same time as the user's roles. These scopes hold no roles and no bans.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from longshore.domain.errors import (
    AccountBannedError,
    ContainerNotFoundError,
    ExternalServiceError,
    InsufficientPermissionsError,
    ProjectNotFoundError,
)
from longshore.domain.roles import Role

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_dynamodb.type_defs import QueryOutputTypeDef

ACCOUNT = "account"
ROLES = frozenset(Role)

_PREFETCH = 100
"""The number of a user's items that are read together with the container (about 2 KB). Most users have fewer."""


PROJECTS = "#projects"
"""The `user_id` of the items that hold the names of projects."""

_PROJECT = "project#"
_NAME = "name#"
_NOT_BANNED = {"BOOL": False}


def project_scope(project_id: str) -> str:
    """Return the scope of the item that holds a user's role in the project."""
    return f"{_PROJECT}{project_id}"


def name_scope(project_id: str) -> str:
    """Return the scope of the item that holds the project's name."""
    return f"{_NAME}{project_id}"


class OfProject(Protocol):
    """A container, or attributes of a container, that belong to a project."""

    @property
    def project_id(self) -> str: ...


T = TypeVar("T", bound=OfProject)


class Grants(NamedTuple):
    """A user's ban and roles.

    Attributes:
        user_id: The user.
        banned: Whether the user is banned.
        roles: Roles by scope.
        complete: Whether these are all of the user's roles.
    """

    user_id: str
    banned: bool
    roles: dict[str, str]
    complete: bool

    @property
    def projects(self) -> dict[str, Role]:
        """The user's roles by project id, sorted. A role that this version does not know grants nothing."""
        return {
            scope.removeprefix(_PROJECT): Role(role)
            for scope, role in sorted(self.roles.items())
            if scope.startswith(_PROJECT) and role in ROLES
        }


class Access:
    """Reads the access table."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def grants(self, user_id: str) -> Grants:
        """Read the user's ban and first roles with one Query, which does not need the container's project.

        Raises:
            ExternalServiceError: DynamoDB failed.
        """
        return _grants(user_id, [self._query_grants(user_id, Limit=_PREFETCH)])

    def all_grants(self, user_id: str) -> Grants:
        """Read the user's ban and all roles. One Query reads 1 MB, which is thousands of roles.

        Raises:
            ExternalServiceError: DynamoDB failed.
        """
        return _grants(user_id, self._all_pages(partial(self._query_grants, user_id)))

    def project_names(self) -> dict[str, str]:
        """Read the names of all projects that have a name, by project id. One Query reads 1 MB: thousands of names.

        Raises:
            ExternalServiceError: DynamoDB failed.
        """
        return {
            item["scope"]["S"].removeprefix(_NAME): item["name"]["S"]
            for answer in self._all_pages(partial(self._query, "user_id = :user", {":user": {"S": PROJECTS}}))
            for item in answer["Items"]
            if item["scope"]["S"].startswith(_NAME) and "S" in item.get("name", {})
        }

    def admit(self, grants: Grants, container: T | None, *, needs: Role) -> T:
        """Return the container if the user has the needed role, or a higher one, in its project.

        A user with more than a hundred projects takes one more read.

        Args:
            grants: The user's grants.
            container: The container, or attributes of it; None if it does not exist.
            needs: The role that the request needs.

        Raises:
            AccountBannedError: The user is banned.
            ContainerNotFoundError: The container does not exist, or the user is not a member of its project.
            InsufficientPermissionsError: The user's role does not permit the request.
            ExternalServiceError: DynamoDB failed.
        """
        if grants.banned:
            raise AccountBannedError
        if container is None:
            raise ContainerNotFoundError
        role = self._role(grants, project_scope(container.project_id))
        if role is None:
            raise ContainerNotFoundError
        if not role.includes(needs):
            raise InsufficientPermissionsError
        return container

    def admit_to_list(self, grants: Grants, project_id: str | None = None) -> dict[str, Role]:
        """Return the roles in the projects whose containers the user may list, by project id.

        Args:
            grants: All grants of the user.
            project_id: The project to list; None for all projects of the user.

        Raises:
            AccountBannedError: The user is banned.
            ProjectNotFoundError: The user is not a member of the project.
        """
        if grants.banned:
            raise AccountBannedError
        roles = grants.projects
        if project_id is None:
            return roles
        if project_id not in roles:
            raise ProjectNotFoundError
        return {project_id: roles[project_id]}

    def admit_to_project(self, grants: Grants, project_id: str, *, needs: Role = Role.VIEWER) -> None:
        """Check that the user has the needed role, or a higher one, in the project.

        With grants that are not complete, a user with more than a hundred projects takes one more read.

        Raises:
            AccountBannedError: The user is banned.
            ProjectNotFoundError: The project does not exist, or the user is not a member of it.
            InsufficientPermissionsError: The user's role does not permit the request.
            ExternalServiceError: DynamoDB failed.
        """
        if grants.banned:
            raise AccountBannedError
        role = self._role(grants, project_scope(project_id))
        if role is None:
            raise ProjectNotFoundError
        if not role.includes(needs):
            raise InsufficientPermissionsError

    def _query_grants(self, user_id: str, **options: Any) -> "QueryOutputTypeDef":
        """Read items of a user, from `account` on. No role has a scope before it."""
        return self._query(
            "user_id = :user AND #scope >= :account",
            {":user": {"S": user_id}, ":account": {"S": ACCOUNT}},
            ExpressionAttributeNames={"#scope": "scope"},
            **options,
        )

    def _all_pages(self, read: "Callable[..., QueryOutputTypeDef]") -> "list[QueryOutputTypeDef]":
        answers = [read()]
        while "LastEvaluatedKey" in answers[-1]:
            answers.append(read(ExclusiveStartKey=answers[-1]["LastEvaluatedKey"]))
        return answers

    def _query(self, condition: str, values: dict[str, Any], **options: Any) -> "QueryOutputTypeDef":
        try:
            return self._dynamodb.query(
                TableName=self._table,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=values,
                ConsistentRead=True,
                **options,
            )
        except (ClientError, BotoCoreError) as error:
            raise ExternalServiceError("The database failed") from error

    def _role(self, grants: Grants, scope: str) -> Role | None:
        role = grants.roles.get(scope)
        if role is None and not grants.complete:
            try:
                answer = self._dynamodb.get_item(
                    TableName=self._table,
                    Key={"user_id": {"S": grants.user_id}, "scope": {"S": scope}},
                    ConsistentRead=True,
                )
            except (ClientError, BotoCoreError) as error:
                raise ExternalServiceError("The database failed") from error
            role = answer.get("Item", {}).get("role", {}).get("S")
        # A role that this version does not know grants nothing.
        return Role(role) if role in ROLES else None


def _grants(user_id: str, answers: "Sequence[QueryOutputTypeDef]") -> Grants:
    banned, roles = False, {}
    for item in (item for answer in answers for item in answer["Items"]):
        scope = item["scope"]["S"]
        if scope == ACCOUNT:
            # A value of another type also counts as a ban.
            banned = item.get("banned", _NOT_BANNED) != _NOT_BANNED
        if "role" in item:
            roles[scope] = item["role"]["S"]
    return Grants(user_id, banned, roles, complete="LastEvaluatedKey" not in answers[-1])
