"""The reference page in Chromium: it loads without errors and only from this host, and it can send requests."""

import pytest
from api_client import Api
from browser.docs_page import DocsPage
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from local.seed import Seeder, container_id
from local.stack import LocalStack

LONG = container_id(17)


@pytest.fixture
def docs(tab: WebDriver, stack: LocalStack) -> DocsPage:
    tab.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": stack.url, "storageTypes": "all"})
    return DocsPage(tab, stack.url).open()


def test_it_shows_every_operation_and_uses_no_other_host(docs: DocsPage, stack: LocalStack) -> None:
    assert docs.operations == [
        "GET /containers/{id}",
        "GET /containers/{id}/status-logs",
        "GET /projects/{project_id}/status-logs",
        "POST /containers/{id}/{operation}",
    ]
    for operation in ("getContainer", "getStatusLogs", "getProjectStatusLogs", "manage"):
        block = docs.expand(operation)
        statuses = [cell.text for cell in block.find_elements(By.CSS_SELECTOR, "tr.response > .response-col_status")]
        assert statuses == [
            "200",
            *(["202"] if operation == "manage" else []),
            "400",
            "401",
            "403",
            "404",
            "429",
            "500",
        ]
        assert "Could not" not in block.text
    assert docs.faults == []
    assert docs.hosts == {stack.url}


def test_calls_with_a_token(docs: DocsPage, api: Api, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped"])
    docs.authorize(api.token("operator"))
    block = docs.expand("manage")
    status, body = docs.execute(block, id=fresh_id, operation="restart")
    assert (status, body["data"]["operation"], body["data"]["status"]) == (200, "restart", "running")
    status, body = docs.execute(docs.expand("getStatusLogs"), id=LONG, limit="2", page="3", sort_by="to_status")
    assert (status, body["data"]["pagination"]) == (200, {"total": 1000, "page": 3, "limit": 2, "totalPages": 500})


def test_a_conflict(docs: DocsPage, api: Api, refusals: set[int | str]) -> None:
    refusals.add(400)
    docs.authorize(api.token("operator"))
    status, body = docs.execute(docs.expand("manage"), id=container_id(12), operation="resume")
    assert (status, body["message"]) == (400, "Container is already running")


def test_a_call_without_a_token(docs: DocsPage, refusals: set[int | str]) -> None:
    refusals.add(401)
    status, body = docs.execute(docs.expand("getContainer"), id=LONG)
    assert (status, body["code"]) == (401, "MISSING_TOKEN")
