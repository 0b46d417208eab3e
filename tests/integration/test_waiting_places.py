"""Tests of the limit of requests that wait for a container: more are answered 429, and all other requests succeed."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from api_client import Api
from conftest import PARAMETERS, QUICK, database_url
from httpx import Response
from longshore.aws.waiting import ITEM
from settling import eventually

from local.emulator import Credentials
from local.seed import Seeder
from local.stack import LocalStack

pytestmark = pytest.mark.databases("moto", "real")

PLACES = 3
# The functions share four executions. An authorizer ends before the function of its request begins.
QUOTA = PLACES + 1


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[LocalStack]:
    with LocalStack(
        port=0,
        dynamodb=database_url(request.param),
        credentials=Credentials.random(),
        parameters=PARAMETERS | {"WaitConcurrency": str(PLACES)},
        emulator_options=QUICK,
        events=False,
        concurrency=QUOTA,
    ) as local:
        yield local


@pytest.fixture
def container(seeder: Seeder, fresh_id: str) -> str:
    seeder.add(fresh_id, ["stopped"])
    return fresh_id


def leases(stack: LocalStack) -> set[str]:
    """Return the leases of the places that are taken."""
    table, key = stack.table_name("IdempotencyTable"), {"id": {"S": ITEM}}
    item = stack.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
    return set(item.get("leases", {}).get("SS", []))


@contextmanager
def all_places_taken(stack: LocalStack, api: Api, container: str) -> Iterator[None]:
    """Let requests wait until the container fails."""
    responses: list[Response] = []
    path = f"/containers/{container}?wait_for=failed&timeout=25"
    threads = [threading.Thread(target=lambda: responses.append(api.call("GET", path))) for _ in range(PLACES)]
    for thread in threads:
        before = leases(stack)
        thread.start()
        eventually(partial(lambda before: leases(stack) > before, before))
    try:
        yield
    finally:
        table, key = stack.table_name("ContainersTable"), {"id": {"S": container}}
        stack.client("dynamodb").update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET #status = :failed",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":failed": {"S": "failed"}},
        )
        for thread in threads:
            thread.join()
    assert [response.json()["data"]["status"] for response in responses] == ["failed"] * PLACES


def rate_limited(response: Response) -> None:
    body: dict[str, Any] = {"statusCode": 429, "error": "Too Many Requests", "code": "RATE_LIMITED"}
    assert (response.status_code, response.json()) == (429, body | {"message": "Too many requests"})
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["X-Request-Id"]
    assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]


def test_more_requests_than_places(stack: LocalStack, api: Api, container: str) -> None:
    with all_places_taken(stack, api, container):
        for _ in range(5):
            rate_limited(api.call("GET", f"/containers/{container}?wait_for=failed&timeout=25"))
            # All other requests are answered, also those whose wait is over at once.
            for path in ("", "?wait_for=settled", "?wait_for=stopped"):
                assert api.call("GET", f"/containers/{container}{path}").status_code == 200
            assert api.logs(container).status_code == 200
            assert api.call("GET", "/projects").status_code == 200
    assert leases(stack) == set()


def test_who_may_not_wait_takes_no_place(stack: LocalStack, api: Api, container: str) -> None:
    path = f"/containers/{container}?wait_for=failed&timeout=25"
    for user in ("stranger", "banned"):
        assert api.call("GET", path, user).status_code in (403, 404)
    assert leases(stack) == set()
    with all_places_taken(stack, api, container):
        assert api.call("GET", path, "stranger").json()["code"] == "CONTAINER_NOT_FOUND"


def test_a_timeout_gives_the_place_back(stack: LocalStack, api: Api, container: str) -> None:
    for _ in range(PLACES + 1):
        assert api.call("GET", f"/containers/{container}?wait_for=failed&timeout=1").status_code == 200
    assert leases(stack) == set()


@pytest.mark.databases("moto")
def test_an_error_gives_the_place_back(stack: LocalStack, api: Api, container: str) -> None:
    second = iter([False, True])
    fault: dict[str, Any] = {"error": "AccessDeniedException", "status": 400, "match": lambda _: next(second)}
    stack.emulator.faults.add("dynamodb", "Query", **fault)
    assert api.call("GET", f"/containers/{container}?wait_for=failed&timeout=1").status_code == 500
    assert leases(stack) == set()


def test_places_of_functions_that_crashed_expire(stack: LocalStack, api: Api, container: str) -> None:
    now = int(time.time())
    crashed = {f"{now - 1} aa", f"{now - 900} bb", f"{now + 900} cc"}
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("IdempotencyTable"),
        Key={"id": {"S": ITEM}},
        UpdateExpression="SET leases = :leases",
        ExpressionAttributeValues={":leases": {"SS": sorted(crashed)}},
    )
    assert api.call("GET", f"/containers/{container}?wait_for=failed&timeout=1").status_code == 200
    assert leases(stack) == {f"{now + 900} cc"}
    full = {f"{now + 900 + number} dd" for number in range(PLACES)}
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("IdempotencyTable"),
        Key={"id": {"S": ITEM}},
        UpdateExpression="SET leases = :leases",
        ExpressionAttributeValues={":leases": {"SS": sorted(full)}},
    )
    rate_limited(api.call("GET", f"/containers/{container}?wait_for=failed&timeout=1"))
    assert leases(stack) == full
    stack.client("dynamodb").delete_item(TableName=stack.table_name("IdempotencyTable"), Key={"id": {"S": ITEM}})


@pytest.mark.databases("moto")
def test_a_lost_reply_does_not_take_two_places(stack: LocalStack, api: Api, container: str) -> None:
    """botocore repeats the write of the lease, also if it took the last place."""
    now = int(time.time())
    stack.client("dynamodb").update_item(
        TableName=stack.table_name("IdempotencyTable"),
        Key={"id": {"S": ITEM}},
        UpdateExpression="SET leases = :leases",
        ExpressionAttributeValues={":leases": {"SS": [f"{now + 900 + number} dd" for number in range(PLACES - 1)]}},
    )
    stack.emulator.faults.add("dynamodb", "UpdateItem", "InternalServerError", status=500, after_effect=True)
    assert api.call("GET", f"/containers/{container}?wait_for=failed&timeout=1").status_code == 200
    assert len(leases(stack)) == PLACES - 1
    stack.client("dynamodb").delete_item(TableName=stack.table_name("IdempotencyTable"), Key={"id": {"S": ITEM}})
