"""Roles and bans: what `longshore.aws.access` reads. Each is one write that is safe to repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from longshore.aws.access import ACCOUNT, project_scope
from longshore.domain.roles import Role

from admin.errors import AdminError
from admin.target import Target
from admin.values import check_id

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient

_LONGEST = 256


class AccessList:
    """The access table, for writing. Every method raises AdminError for values that cannot be, and AWS's errors."""

    def __init__(self, dynamodb: DynamoDBClient, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    @classmethod
    def of(cls, target: Target) -> AccessList:
        return cls(target.dynamodb(), target.access)

    def grant(self, user: str, project: str, role: Role) -> str | None:
        """Give a user a role in a project, in place of the one that it had, which is returned."""
        before = self._dynamodb.put_item(
            TableName=self._table,
            Item={**_key(user, project_scope(check_id(project, "the project"))), "role": {"S": role.value}},
            ReturnValues="ALL_OLD",
        ).get("Attributes", {})
        return before["role"]["S"] if "role" in before else None

    def revoke(self, user: str, project: str) -> bool:
        """Take a user's role in a project away. Whether there was one."""
        return self._delete(user, project_scope(check_id(project, "the project")))

    def ban(self, user: str) -> None:
        """Refuse whatever a user asks for, from the next request on. Its roles stay as they are."""
        self._dynamodb.put_item(TableName=self._table, Item={**_key(user, ACCOUNT), "banned": {"BOOL": True}})

    def unban(self, user: str) -> bool:
        """Whether the user was banned."""
        return self._delete(user, ACCOUNT)

    def _delete(self, user: str, scope: str) -> bool:
        answer = self._dynamodb.delete_item(TableName=self._table, Key=_key(user, scope), ReturnValues="ALL_OLD")
        return "Attributes" in answer


def _key(user: str, scope: str) -> dict[str, dict[str, str]]:
    if not user.strip() or len(user) > _LONGEST or not user.isprintable() or user != user.strip():
        raise AdminError(f"The user must be the token's sub: 1 to {_LONGEST} printable characters.")
    return {"user_id": {"S": user}, "scope": {"S": scope}}
