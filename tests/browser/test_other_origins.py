"""A web page of another origin, in Chromium, can neither find nor read nor change the local stack.

Each test first shows that the same script succeeds on a server without protection.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from api_client import Api
from browser.open_server import OpenServer
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By

from local.seed import container_id
from local.stack import LocalStack

# Chromium resolves this name to 127.0.0.1 (tests/browser/conftest.py), as after DNS rebinding.
REBOUND = "rebound.example"

# Returns for each URL whether a server responds. The page cannot read the responses.
SCAN = """
const [urls, done] = arguments;
const responds = url => fetch(url, {mode: "no-cors"}).then(() => true, () => false);
Promise.all(urls.map(responds)).then(done);
"""
# Sends a simple request, which needs no preflight: it has an effect even if the page cannot read the response.
POST = """
const [url, body, done] = arguments;
const headers = {"Content-Type": "application/x-www-form-urlencoded"};
fetch(url, {method: "POST", mode: "no-cors", headers, body}).then(() => done("sent"), () => done("failed"));
"""
# Calls an AWS API like a program, and returns the status and the response, or the error.
CALL = """
const [url, service, target, body, done] = arguments;
const scope = `longshorelocal/20250101/us-east-1/${service}/aws4_request`;
const headers = {
  "Authorization": `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=${"0".repeat(64)}`,
  "Content-Type": "application/x-amz-json-1.1",
  "X-Amz-Target": target,
};
fetch(url, {method: "POST", headers, body}).then(
  async response => done([response.status, await response.text()]),
  error => done([0, String(error)]),
);
"""


@pytest.fixture
def page(tab: WebDriver, other: OpenServer, refusals: set[int | str]) -> WebDriver:
    """A page of another origin and another site than the stack."""
    refusals |= {403, "net::ERR_FAILED", "ERR_BLOCKED_BY_RESPONSE", "ERR_CONNECTION_REFUSED", "CORS policy"}
    tab.get(f"http://localhost:{other.port}/")
    return tab


def state(stack: LocalStack) -> list[Any]:
    """Return what the scripts try to change."""
    return [
        stack.client("sns").list_topics()["Topics"],
        sorted(stack.client("ecs").list_task_definitions()["taskDefinitionArns"]),
        sorted(stack.client("dynamodb").list_tables()["TableNames"]),
        len(stack.emulator.ecs.tasks()),
    ]


def test_a_scan_does_not_find_the_emulator(page: WebDriver, stack: LocalStack, other: OpenServer) -> None:
    with socket.socket() as closed:
        # Bound without listening, so that no other program uses the port.
        closed.bind(("127.0.0.1", 0))
        silent = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        urls = [other.url, stack.emulator.url, f"{stack.emulator.url}/moto-api/", silent]
        found = page.execute_async_script(SCAN, urls)
    assert found == [True, False, False, False]


def test_a_simple_post_has_no_effect(page: WebDriver, stack: LocalStack, other: OpenServer) -> None:
    create = "Action=CreateTopic&Name=evil&Version=2010-03-31"
    assert page.execute_async_script(POST, other.url, create) == "sent"
    assert other.requests[-1] == ("POST", f"127.0.0.1:{other.port}", create)
    before = state(stack)
    for path, body in (
        ("/", create),
        ("/moto-api/reset", ""),
        ("/2015-03-31/functions/longshore-Start/invocations", "{}"),
    ):
        assert page.execute_async_script(POST, stack.emulator.url + path, body) == "failed"
    assert state(stack) == before


def test_a_call_like_that_of_a_program_has_no_effect(page: WebDriver, stack: LocalStack, other: OpenServer) -> None:
    assert page.execute_async_script(CALL, other.url, "ecs", "x.ListClusters", "{}")[0] == 200
    before = state(stack)
    for host in (stack.emulator.url, f"http://localhost:{stack.emulator.port}"):
        for call in calls(stack):
            assert page.execute_async_script(CALL, host, *call)[0] == 0
    assert state(stack) == before


def test_a_rebound_page_has_no_effect(page: WebDriver, stack: LocalStack, other: OpenServer) -> None:
    """To the browser, the page and the emulator are the same origin, so that the page can read the response."""
    page.get(f"http://{REBOUND}:{other.port}/")
    assert page.execute_async_script(CALL, "/", "ecs", "x.ListClusters", "{}")[0] == 200
    page.get(f"http://{REBOUND}:{stack.emulator.port}/")
    before = state(stack)
    for call in calls(stack):
        status, text = page.execute_async_script(CALL, "/", *call)
        assert (status, json.loads(text)["__type"].rpartition("#")[2]) == (403, "AccessDeniedException")
    assert state(stack) == before


def test_a_rebound_page_is_not_served_by_the_gateway(
    page: WebDriver, stack: LocalStack, refusals: set[int | str]
) -> None:
    # Chromium ignores the header of a page that is neither HTTPS nor on localhost, and logs that.
    refusals |= {404, "Cross-Origin-Opener-Policy header has been ignored"}
    page.get(f"{stack.url}/docs")
    assert page.find_elements(By.ID, "reference")
    port = stack.url.rpartition(":")[2]
    page.get(f"http://{REBOUND}:{port}/docs")
    assert not page.find_elements(By.ID, "reference")
    assert "ROUTE_NOT_FOUND" in page.page_source


def test_the_api_needs_a_token_of_this_run(
    page: WebDriver, stack: LocalStack, api: Api, refusals: set[int | str]
) -> None:
    refusals.add(401)
    before = api.get(container_id(11)).json()
    url = f"{stack.url}/api/v1/containers/{container_id(11)}/start"
    assert page.execute_async_script(POST, url, "") == "sent"
    assert api.get(container_id(11)).json() == before


@pytest.mark.parametrize("path", ["docs", "console/"])
def test_no_page_shows_ours_in_a_frame(
    page: WebDriver, stack: LocalStack, other: OpenServer, refusals: set[int | str], path: str
) -> None:
    refusals.add("frame-ancestors")
    assert "A page" in framed(page, other.url)
    assert framed(page, f"{stack.url}/{path}") == ""


def framed(page: WebDriver, url: str) -> str:
    """Show a URL in a frame, and return the text that the frame shows."""
    page.execute_async_script(
        "const [url, done] = arguments; const frame = document.createElement('iframe');"
        "frame.onload = done; frame.src = url; document.body.replaceChildren(frame);",
        url,
    )
    page.switch_to.frame(0)
    text = page.find_element(By.TAG_NAME, "body").text
    page.switch_to.default_content()
    return text


def calls(stack: LocalStack) -> list[tuple[str, str, str]]:
    """Return a call that reads the secret of the tokens, and calls that change something."""
    assert stack.template is not None
    (secret,) = stack.template.of_type("AWS::SecretsManager::Secret")
    definition = {"family": "evil", "containerDefinitions": [{"name": "app", "image": "busybox", "memory": 64}]}
    task = {"cluster": stack.parameters["ClusterName"], "taskDefinition": "web"}
    table = {"TableName": stack.table_name("ContainersTable")}
    return [
        (
            "secretsmanager",
            "secretsmanager.GetSecretValue",
            json.dumps({"SecretId": stack.template.physical_name(secret)}),
        ),
        ("ecs", "AmazonEC2ContainerServiceV20141113.RegisterTaskDefinition", json.dumps(definition)),
        ("ecs", "AmazonEC2ContainerServiceV20141113.RunTask", json.dumps(task)),
        ("dynamodb", "DynamoDB_20120810.DeleteTable", json.dumps(table)),
    ]
