"""Helpers of the tests of lists: requests over HTTP, and changes while a list is read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from api_client import Api
from fleet import put
from longshore.domain.models import Container

from local.stack import LocalStack

FLEET, OTHER, UNKNOWN = "aa" * 12, "bb" * 12, "0123456789abcdef01234567"
SIZE = 45  # containers of the project FLEET


def listed(api: Api, project: str | None = FLEET, user: str = "viewer", **query: Any) -> Any:
    """Return `data` of a list that must succeed."""
    path = "/containers" if project is None else f"/projects/{project}/containers"
    response = api.call("GET", path, user, params=query)
    body = response.json()
    assert response.status_code == 200, body
    assert body.keys() == {"statusCode", "message", "data"}
    assert (body["statusCode"], body["message"]) == (200, "Containers retrieved successfully")
    assert body["data"].keys() == {"containers", "pagination"}
    return body["data"]


def ids_of(data: Any) -> list[str]:
    return [container["id"] for container in data["containers"]]


def walk(api: Api, project: str, limit: int, sort_order: str = "asc", cursor: str = "") -> list[list[str]]:
    """Return the ids of all pages by cursor."""
    pages = []
    following: str | None = cursor
    while following is not None:
        data = listed(api, project, limit=limit, sort_order=sort_order, cursor=following)
        assert data["pagination"].keys() == {"limit", "next_cursor"}
        assert data["pagination"]["limit"] == limit
        following = data["pagination"]["next_cursor"]
        pages.append(ids_of(data))
    return pages


@contextmanager
def hooked(event: str, hook: Callable[..., None]) -> Iterator[None]:
    """Call a hook at an event of the functions' DynamoDB client."""
    from longshore.wiring import api_functions

    events = api_functions.dynamodb().meta.events
    events.register(event, hook)
    try:
        yield
    finally:
        events.unregister(event, hook)


@contextmanager
def before_the_items(*changes: Callable[[], object]) -> Iterator[None]:
    """Make changes between the read of the index and the first read of the items."""
    waiting = list(changes)

    def change(**_: Any) -> None:
        while waiting:
            waiting.pop()()

    with hooked("before-call.dynamodb.BatchGetItem", change):
        yield
    assert not waiting, "the function did not read the items"


@contextmanager
def small_pages(stack: LocalStack, table: str, limit: int) -> Iterator[None]:
    """Let each Query of a table return at most `limit` items, as DynamoDB does with 1 MB of items."""

    def restrict(params: dict[str, Any], **_: Any) -> None:
        if params["TableName"] == stack.table_name(table):
            params["Limit"] = limit

    with hooked("provide-client-params.dynamodb.Query", restrict):
        yield


def move(stack: LocalStack, container: Container, project: str) -> None:
    put(stack, [container.model_copy(update={"project_id": project})])


def delete(stack: LocalStack, container: Container) -> None:
    stack.client("dynamodb").delete_item(TableName=stack.table_name("ContainersTable"), Key={"id": {"S": container.id}})
