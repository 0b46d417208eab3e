"""The console and the API reference over HTTP: files, headers, conditional requests, compression, and other paths."""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_client import Api
from small_api import Functions, ask

from local import template
from local.gateway import Gateway
from local.stack import LocalStack
from local.template import ROOT

PAGES = ["/console/", "/console/index.html", "/docs/", "/docs/index.html", "/openapi.yaml"]
NOT_FOUND = {"statusCode": 404, "error": "Not Found", "code": "ROUTE_NOT_FOUND", "message": "Route not found"}


@pytest.fixture(scope="module")
def web(stack: LocalStack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=stack.url, timeout=60, headers={"Accept-Encoding": "identity"}) as client:
        yield client


def raw(web: httpx.Client, path: str, accepted: str) -> tuple[str | None, bytes]:
    """Return the content coding and the encoded body of a response."""
    with web.stream("GET", path, headers={"Accept-Encoding": accepted}) as response:
        assert response.status_code == 200
        return response.headers.get("Content-Encoding"), b"".join(response.iter_raw())


def test_the_definition(web: httpx.Client) -> None:
    response = web.get("/openapi.yaml")
    assert response.content == (ROOT / "openapi.yaml").read_bytes()
    assert response.headers["Content-Type"] == "application/yaml; charset=utf-8"


@pytest.mark.parametrize("page", ["/console/", "/docs/"])
def test_a_page_and_everything_that_it_loads(web: httpx.Client, page: str) -> None:
    html = web.get(page)
    assert html.headers["Content-Type"] == "text/html; charset=utf-8"
    links = re.findall(r'\s(?:src|href)="([^"#]*)"', html.text)
    assert len(links) >= 4
    for link in links:
        response = web.get(f"{page}{link}")
        assert response.status_code == 200, link
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Request-Id"]
        # Other origins have no access, except to the definition, which is public.
        assert ("Access-Control-Allow-Origin" in response.headers) == link.endswith("openapi.yaml")
        assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("path", PAGES)
def test_conditional_requests(web: httpx.Client, path: str) -> None:
    first = web.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    again = web.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("ETag", "Cache-Control", "Content-Type", "Content-Security-Policy", "Vary"):
        assert again.headers[name] == first.headers[name]
    assert web.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_head(web: httpx.Client, path: str) -> None:
    head, get = web.head(path), web.get(path)
    assert (head.status_code, head.content) == (200, b"")
    ignored = {"date", "content-length", "x-request-id"}
    expected = {name: value for name, value in get.headers.items() if name not in ignored}
    assert {name: value for name, value in head.headers.items() if name not in ignored} == expected


@pytest.mark.parametrize("path", ["/console", "/docs"])
def test_a_folder_redirects_to_its_page(web: httpx.Client, path: str) -> None:
    response = web.get(path)
    assert (response.status_code, response.headers["Location"]) == (307, f"{path[1:]}/")
    assert web.get(path, follow_redirects=True).url.path == f"{path}/"


@pytest.mark.parametrize(
    "path",
    [
        "/console/nothing.js",
        "/console/app.js",
        "/console/..%2fmanifest.json",
        "/console/..%2f..%2fapp.py",
        "/console/%2e%2e/manifest.json",
        "/console/../manifest.json",
        "/console/%00",
        "/console//index.html",
        "/console/index.html/",
        "/docs/..%5capp.py",
        "/docs/%2fetc%2fpasswd",
        "/openapi.yaml/",
        "/openapi.yaml/x",
        "/openapi.json",
        "/manifest.json",
    ],
)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}])
def test_unknown_paths(stack: LocalStack, path: str, headers: dict[str, str]) -> None:
    with httpx.Client(timeout=60) as client:
        # As given: a URL would be normalised.
        host, port = stack.url.removeprefix("http://").split(":")
        url = httpx.URL(scheme="http", host=host, port=int(port), raw_path=path.encode())
        response = client.get(url, headers=headers)
    assert (response.status_code, response.json()) == (404, NOT_FOUND)
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["X-Request-Id"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/console", "/console/index.html", "/docs/", "/openapi.yaml"])
def test_other_methods(web: httpx.Client, method: str, path: str) -> None:
    response = web.request(method, path, headers={"Origin": "https://example.com"})
    assert (response.status_code, response.json()) == (404, NOT_FOUND)
    assert "Access-Control-Allow-Methods" not in response.headers


# --- Compression ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("deflate", "deflate"),
        ("deflate;q=0.9, gzip;q=0.8", "deflate"),
        ("identity", None),
        ("*", None),
        ("", None),
        ("gzip;q=0", None),
        # API Gateway only considers the coding with the highest priority.
        ("br;q=1.0, gzip;q=0.8", None),
    ],
)
def test_the_gateway_compresses_a_file(web: httpx.Client, accepted: str, coding: str | None) -> None:
    found, body = raw(web, "/openapi.yaml", accepted)
    assert found == coding
    plain = (ROOT / "openapi.yaml").read_bytes()
    decoded = gzip.decompress(body) if found == "gzip" else zlib.decompress(body) if found == "deflate" else body
    assert decoded == plain
    assert (len(body) < len(plain) / 3) is (coding is not None)


def test_small_files_are_not_compressed(web: httpx.Client) -> None:
    (icon,) = set(re.findall(r'src="(icon[^"]+)"', web.get("/console/").text))
    assert raw(web, f"/console/{icon}", "gzip")[0] is None


def test_the_api_responds_with_the_same_json(web: httpx.Client, api: Api) -> None:
    """Bodies of requests and responses are text, compressed or not."""
    headers = {"Authorization": f"Bearer {api.token('owner')}"}
    with web.stream("GET", "/api/v1/containers", headers={**headers, "Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        packed = json.loads(gzip.decompress(b"".join(response.iter_raw())))
    assert packed == web.get("/api/v1/containers", headers=headers).json()
    container = packed["data"]["containers"][0]["id"]
    for accepted in ("gzip", "identity"):
        changed: Any = web.patch(
            f"/api/v1/containers/{container}",
            headers={**headers, "Accept-Encoding": accepted},
            json={"labels": {"accepted": accepted}},
        )
        assert changed.json()["data"]["labels"] == {"accepted": accepted}


# --- The parameter ----------------------------------------------------------------------------------------------------


def test_a_stack_without_the_console_has_no_routes_for_it() -> None:
    stack = template.load(parameters={"ServeConsole": "false"})
    assert "PagesFunction" not in stack.functions
    assert stack.api is not None
    functions = Functions()
    gateway = Gateway(stack.api, functions)
    for path in ("/console", "/console/", "/console/index.html", "/docs", "/docs/x", "/openapi.yaml"):
        for method in ("GET", "HEAD", "OPTIONS"):
            assert json.loads(ask(gateway, method, path).body) == NOT_FOUND
    assert functions.calls == []
