"""The reference page of the local stack over HTTP: all its files are served by the same host."""

import re
from collections.abc import Iterator

import httpx
import pytest

from local.stack import LocalStack
from local.template import ROOT


@pytest.fixture
def web(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url) as client:
        yield client


def test_the_definition(web: httpx.Client) -> None:
    response = web.get("/openapi.yaml")
    assert response.content == (ROOT / "openapi.yaml").read_bytes()
    assert response.headers["Content-Type"] == "application/yaml; charset=utf-8"


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/docs/index.html"])
def test_the_page_loads_only_existing_files_of_its_host(web: httpx.Client, path: str) -> None:
    page = web.get(path)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    links = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(links) == 6
    kinds = {
        ".css": {"text/css"},
        ".js": {"text/javascript", "application/javascript"},  # depends on the operating system
        ".png": {"image/png"},
        ".yaml": {"application/yaml"},
    }
    for link in links:
        assert re.match(r"/\w", link), link
        response = web.get(link)
        assert response.status_code == 200, link
        assert response.headers["Content-Type"].split(";")[0] in kinds[link[link.rindex(".") :]]


def test_the_policy_of_the_page_forbids_other_hosts(web: httpx.Client) -> None:
    (policy,) = re.findall(r'content="(default-src[^"]*)"', web.get("/docs").text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("connect-src") == "'self' https:"  # a deployed stack may be called
    assert rules.pop("img-src") == "'self' data:"
    assert rules.pop("style-src") == "'self' 'unsafe-inline'"
    assert set(rules.values()) == {"'self'", "'none'"}
