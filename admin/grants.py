"""Roles, bans and names of projects in the access table, which `longshore.aws.access` reads.

Each change is one repeatable write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longshore.aws.access import ACCOUNT, PROJECTS, name_scope, project_scope
from longshore.domain.roles import Role

from admin.errors import AdminError
from admin.target import Target
from admin.values import check_id, check_name

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_LONGEST = 256


class AccessList:
    """Writes roles and bans to the access table.

    Every method raises AdminError for an invalid user or project, and botocore's errors if DynamoDB fails.
    """

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    @classmethod
    def of(cls, target: Target) -> AccessList:
        return cls(target.dynamodb(), target.access)

    def grant(self, user: str, project: str, role: Role) -> str | None:
        """Set a user's role in a project and return the previous role, or None if there was none."""
        before = self._dynamodb.put_item(
            TableName=self._table,
            Item={**_key(user, project_scope(check_id(project, "the project"))), "role": {"S": role.value}},
            ReturnValues="ALL_OLD",
        ).get("Attributes", {})
        return before["role"]["S"] if "role" in before else None

    def revoke(self, user: str, project: str) -> bool:
        """Remove a user's role in a project. Return whether the user had a role."""
        return self._delete(user, project_scope(check_id(project, "the project")))

    def ban(self, user: str) -> None:
        """Ban a user: all requests are rejected from now on. The user's roles do not change."""
        self._dynamodb.put_item(TableName=self._table, Item={**_key(user, ACCOUNT), "banned": {"BOOL": True}})

    def unban(self, user: str) -> bool:
        """Lift a user's ban. Return whether the user was banned."""
        return self._delete(user, ACCOUNT)

    def _delete(self, user: str, scope: str) -> bool:
        answer = self._dynamodb.delete_item(TableName=self._table, Key=_key(user, scope), ReturnValues="ALL_OLD")
        return "Attributes" in answer


class ProjectNames:
    """Writes the names of projects to the access table. Raises botocore's errors if DynamoDB fails."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    @classmethod
    def of(cls, target: Target) -> ProjectNames:
        return cls(target.dynamodb(), target.access)

    def set(self, project: str, name: str | None) -> str | None:
        """Set the name of a project, or remove it if it is None.

        Returns:
            The previous name, or None if there was none.

        Raises:
            AdminError: The project or the name is invalid.
        """
        scope = name_scope(check_id(project, "the project"))
        key = {"user_id": {"S": PROJECTS}, "scope": {"S": scope}}
        before: Any
        if name is None:
            before = self._dynamodb.delete_item(TableName=self._table, Key=key, ReturnValues="ALL_OLD")
        else:
            item: Any = {**key, "name": {"S": check_name(name)}}
            before = self._dynamodb.put_item(TableName=self._table, Item=item, ReturnValues="ALL_OLD")
        found: str | None = before.get("Attributes", {}).get("name", {}).get("S")
        return found


def _key(user: str, scope: str) -> dict[str, dict[str, str]]:
    if not user.strip() or len(user) > _LONGEST or not user.isprintable() or user != user.strip():
        raise AdminError(f"The user must be the sub claim of a token: 1 to {_LONGEST} printable characters.")
    return {"user_id": {"S": user}, "scope": {"S": scope}}
