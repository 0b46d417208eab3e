"""Tests of static files: headers, conditional requests, and paths that do not exist."""

import json
from pathlib import Path
from typing import Any

import pytest
from longshore.edge.http import SECURITY_HEADERS, Answer, Document, PublicRequest, public_endpoint
from longshore.edge.static import StaticFiles
from unit.http_calls import CONTEXT, Log, body_of

pytestmark = pytest.mark.usefixtures("function_environment")

HEADERS = {"Content-Type": "text/html; charset=utf-8", "ETag": 'W/"0123"', "Cache-Control": "no-cache"}


@pytest.fixture
def files(tmp_path: Path) -> StaticFiles:
    site = tmp_path / "site"
    (site / "console").mkdir(parents=True)
    (site / "console" / "index.html").write_text("<p>é", encoding="utf-8")
    (tmp_path / "app.py").write_text("secret")
    entry = {"file": "console/index.html", "headers": HEADERS}
    manifest = {"/console/": entry, "/console/index.html": entry}
    (site / "manifest.json").write_text(json.dumps(manifest))
    return StaticFiles(site)


def proxied(
    rest: str | None = None, *, method: str = "GET", slash: bool = False, etag: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the event of a request for `/console`, or for a path below it."""
    path = "/console" if rest is None else f"/console/{rest}"
    return {
        "resource": "/console" if rest is None else "/console/{path+}",
        "path": f"{path}/" if slash else path,
        "httpMethod": method,
        "multiValueHeaders": {"If-None-Match": list(etag)} if etag else {},
        "pathParameters": None if rest is None else {"path": rest},
        "requestContext": {"requestId": "request-1", "path": f"/live{path}"},
    }


def ask(files: StaticFiles, event: dict[str, Any]) -> dict[str, Any]:
    return public_endpoint(files.get)(event, CONTEXT)


def test_a_file_has_the_headers_of_the_manifest(files: StaticFiles, log: Log) -> None:
    for event in (proxied(slash=True), proxied("index.html")):
        response = ask(files, event)
        assert (response["statusCode"], response["body"]) == (200, "<p>é")
        assert response["headers"] == {**SECURITY_HEADERS, **HEADERS, "X-Request-Id": "request-1"}
        assert response["isBase64Encoded"] is False
    assert [(line["status"], line["code"]) for line in log.lines if line["message"] == "request answered"] == [
        (200, "OK"),
        (200, "OK"),
    ]


def test_head_has_the_same_headers_and_no_body(files: StaticFiles) -> None:
    response = ask(files, proxied("index.html", method="HEAD"))
    assert (response["statusCode"], response["body"]) == (200, "")
    assert response["headers"] == {**SECURITY_HEADERS, **HEADERS, "X-Request-Id": "request-1"}


@pytest.mark.parametrize("etag", ['W/"0123"', '"0123"', "*", '"x", W/"0123"', ("a", '"0123"')])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_known_entity_tag(files: StaticFiles, etag: str | tuple[str, ...], method: str) -> None:
    given = (etag,) if isinstance(etag, str) else etag
    response = ask(files, proxied("index.html", method=method, etag=given))
    assert (response["statusCode"], response["body"]) == (304, "")
    # A browser replaces the headers of its copy with these.
    assert response["headers"] == {**SECURITY_HEADERS, **HEADERS, "X-Request-Id": "request-1"}


@pytest.mark.parametrize("etag", ['W/"01234"', '"012"', "0123", '""', "W/*"])
def test_another_entity_tag(files: StaticFiles, etag: str) -> None:
    assert ask(files, proxied("index.html", etag=(etag,)))["statusCode"] == 200


def test_a_folder_without_a_slash_redirects_below_any_base_path(files: StaticFiles) -> None:
    response = ask(files, proxied())
    assert (response["statusCode"], response["headers"]["Location"]) == (307, "console/")


@pytest.mark.parametrize(
    "rest",
    [
        "nothing.js",
        "../app.py",
        "../../app.py",
        "..%2fapp.py",
        "..\\app.py",
        "%2e%2e/app.py",
        "/etc/passwd",
        "//console/index.html",
        "index.html/",
        "./index.html",
        "INDEX.HTML",
        "index.html\0",
        "manifest.json",
        "../manifest.json",
        "é",
    ],
)
def test_a_path_that_the_manifest_does_not_list(files: StaticFiles, rest: str) -> None:
    response = ask(files, proxied(rest))
    assert response["statusCode"] == 404
    assert body_of(response) == {
        "statusCode": 404,
        "error": "Not Found",
        "code": "ROUTE_NOT_FOUND",
        "message": "Route not found",
    }
    assert response["headers"]["Content-Type"] == "application/json"
    assert response["headers"]["X-Request-Id"] == "request-1"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_other_methods(files: StaticFiles, method: str) -> None:
    assert body_of(ask(files, proxied("index.html", method=method)))["code"] == "ROUTE_NOT_FOUND"


def test_a_missing_manifest_is_an_error(tmp_path: Path) -> None:
    def handler(request: PublicRequest) -> Document:
        return StaticFiles(tmp_path).get(request)

    response = public_endpoint(handler)(proxied("index.html"), CONTEXT)
    assert (response["statusCode"], body_of(response)["code"]) == (500, "INTERNAL_SERVER_ERROR")


@pytest.mark.parametrize(
    ("resource", "path", "base"),
    [
        ("/", "/live/", "/live"),
        ("/", "/live", "/live"),
        ("/", "/", ""),
        ("/api/v1", "/live/api/v1", "/live"),
        ("/api/v1", "/live/api/v1/", "/live"),
        ("/api/v1", "/api/v1", ""),
        ("/api/v1", "/tools/longshore/api/v1", "/tools/longshore"),
    ],
)
def test_the_base_path(resource: str, path: str, base: str) -> None:
    def handler(request: PublicRequest) -> Answer:
        return Answer("Fine", {"base": request.base_path})

    event = {"resource": resource, "path": path, "requestContext": {"requestId": "r", "path": path}}
    assert body_of(public_endpoint(handler)(event, CONTEXT))["data"] == {"base": base}
