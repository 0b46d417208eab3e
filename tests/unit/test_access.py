"""Tests of bans: a user counts as banned unless `banned` is absent or the boolean false."""

from __future__ import annotations

from typing import Any

import pytest
from longshore.aws.access import ACCOUNT, Access
from longshore.domain.errors import AccountBannedError
from longshore.domain.roles import Role


class Table:
    """An access table with one item per user: the `account` item."""

    def __init__(self, item: dict[str, Any]) -> None:
        self._item = item

    def query(self, **_: Any) -> dict[str, Any]:
        return {"Items": [{"user_id": {"S": "ada"}, "scope": {"S": ACCOUNT}} | self._item]}


def access(item: dict[str, Any]) -> Access:
    table: Any = Table(item)
    return Access(table, "access")


@pytest.mark.parametrize("item", [{}, {"banned": {"BOOL": False}}, {"note": {"S": "banned"}}], ids=str)
def test_not_banned(item: dict[str, Any]) -> None:
    assert access(item).grants("ada").banned is False


@pytest.mark.parametrize(
    "value",
    [
        {"BOOL": True},
        {"NULL": True},
        {"S": "true"},
        {"S": "false"},
        {"S": ""},
        {"N": "1"},
        {"N": "0"},
        {"L": []},
        {"M": {}},
    ],
    ids=str,
)
def test_banned(value: dict[str, Any]) -> None:
    read = access({"banned": value})
    grants = read.grants("ada")
    with pytest.raises(AccountBannedError):
        read.admit(grants, None, needs=Role.VIEWER)


def test_names_of_projects_on_several_pages() -> None:
    """Items without a name, and items of other scopes, are left out."""
    key: dict[str, Any] = {"user_id": {"S": "#projects"}}
    pages: dict[str, Any] = {
        "first": {"Items": [key | {"scope": {"S": "name#a"}, "name": {"S": "Shop"}}], "LastEvaluatedKey": "second"},
        "second": {"Items": [key | {"scope": {"S": "name#b"}}, key | {"scope": {"S": "account"}, "name": {"S": "x"}}]},
    }

    class Paged:
        def query(self, **request: Any) -> Any:
            assert request["ExpressionAttributeValues"] == {":user": {"S": "#projects"}}
            return pages[request.get("ExclusiveStartKey", "first")]

    table: Any = Paged()
    assert Access(table, "access").project_names() == {"a": "Shop"}
