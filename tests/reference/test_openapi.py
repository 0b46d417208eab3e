"""openapi.yaml matches the code: routes, codes, messages and examples."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from documented import ROOT, Documented, closed, load
from longshore.domain.errors import ErrorCode
from openapi_spec_validator import OpenAPIV31SpecValidator

from local import template
from local.gateway import Gateway
from reference import openapi
from reference.__main__ import PAGES
from reference.catalogue import CATALOGUE
from reference.texts import TextError, Texts

DOCUMENT = load()
STACK = template.load(ROOT / "template.yaml", {})
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    """Return the method, path and definition of every operation of the document."""
    return [
        (method.upper(), path, operation)
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def answers() -> list[tuple[str, int]]:
    """Return the operation id and status of every response of the document."""
    return [
        (operation["operationId"], int(status)) for _, _, operation in operations() for status in operation["responses"]
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path](), "run `make openapi`"


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_routes_are_those_of_the_template() -> None:
    assert STACK.api
    # Outside of this base are the index and the pages, which take no token.
    routes = {
        (method, path)
        for method, path in Gateway(STACK.api, lambda *_: None).routes
        if method != "OPTIONS" and path.startswith(f"{openapi.BASE}/")
    }
    documented = {(method, f"{openapi.BASE}{path}") for method, path, _ in operations()}
    # Each operation has its own function. Another function refuses unknown operations and lists the valid ones.
    every = ("POST", f"{openapi.BASE}/containers/{{id}}/{{operation}}")
    names = DOCUMENT["components"]["schemas"]["Operation"]["enum"]
    assert documented | {("POST", every[1].replace("{operation}", name)) for name in names} == routes
    assert every in documented


@pytest.mark.parametrize(("method", "path", "operation"), operations(), ids=lambda value: str(value)[:40])
def test_path_parameters(method: str, path: str, operation: dict[str, Any]) -> None:
    documented = Documented(DOCUMENT)
    parameters = [documented.resolve(parameter) for parameter in operation["parameters"]]
    assert {p["name"] for p in parameters if p["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
    assert all(p["required"] for p in parameters if p["in"] == "path")


def test_operation_ids_and_security() -> None:
    assert [operation["operationId"] for _, _, operation in operations()] == [
        "listProjects",
        "listProjectContainers",
        "listContainers",
        "getContainer",
        "updateContainer",
        "getStatusLogs",
        "getProjectStatusLogs",
        "keepAlive",
        "listSchedules",
        "getSchedule",
        "saveSchedule",
        "deleteSchedule",
        "manage",
    ]
    (scheme,) = DOCUMENT["components"]["securitySchemes"]
    assert DOCUMENT["security"] == [{scheme: []}]
    assert not any("security" in operation for _, _, operation in operations())


def test_every_error_code_has_all_its_texts() -> None:
    codes = DOCUMENT["x-error-codes"]
    assert list(codes) == [code.value for code in ErrorCode]
    for texts in codes.values():
        assert list(texts) == ["status", "title", "message", "description", "resolution"]
        for name in ("description", "resolution"):
            assert texts[name].endswith("."), texts
        assert not texts["title"].endswith(".")


def test_every_error_code_is_in_a_response_with_its_status() -> None:
    documented = Documented(DOCUMENT)
    found = set()
    for _, _, operation in operations():
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                codes = documented.codes(answer)
                assert {CATALOGUE[ErrorCode(code)].status for code in codes} == {int(status)}
                found |= codes
    assert found == set(ErrorCode)


@pytest.mark.parametrize(("operation", "status"), answers())
def test_every_response_has_valid_examples_of_all_its_codes(operation: str, status: int) -> None:
    documented = Documented(closed(DOCUMENT))
    answer = documented.answer(operation, status)
    examples = documented.examples(answer)
    assert examples
    for name, example in examples.items():
        assert documented.faults(answer, example) == [], name
    assert {example["code"] for example in examples.values() if "code" in example} == documented.codes(answer)


@pytest.mark.parametrize(("operation", "status"), answers())
def test_schemas_refuse_missing_and_additional_properties(operation: str, status: int) -> None:
    """The test above and the tests of actual responses rely on this."""
    documented = Documented(closed(DOCUMENT))
    answer = documented.answer(operation, status)
    for example in documented.examples(answer).values():
        assert documented.faults(answer, {**example, "trace": "x"})
        for key in example.keys() - {"data"}:
            assert documented.faults(answer, {name: value for name, value in example.items() if name != key})
        if isinstance(example.get("data"), dict):
            assert documented.faults(answer, {**example, "data": {**example["data"], "arn": "x"}})
            for key in example["data"]:
                less = {name: value for name, value in example["data"].items() if name != key}
                assert documented.faults(answer, {**example, "data": less}), key


def test_the_messages_of_the_gateway_are_those_of_the_catalogue() -> None:
    assert STACK.api
    usual = {entry.code.value: entry.message for entry in CATALOGUE.values()}
    found = set()
    for response in STACK.api.body["x-amazon-apigateway-gateway-responses"].values():
        body = json.loads(response["responseTemplates"]["application/json"])
        if body["code"].startswith("$context") or body["code"] == ErrorCode.VALIDATION_ERROR:
            continue
        assert body["message"] == usual[body["code"]]
        assert body["statusCode"] == CATALOGUE[ErrorCode(body["code"])].status
        found.add(body["code"])
    assert found >= {ErrorCode.ROUTE_NOT_FOUND, ErrorCode.RATE_LIMITED}
    malformed = DOCUMENT["components"]["examples"]["validation-error-request"]["value"]
    bad_request = STACK.api.body["x-amazon-apigateway-gateway-responses"]["BAD_REQUEST_BODY"]
    assert json.loads(bad_request["responseTemplates"]["application/json"]) == malformed


def test_nothing_internal_is_documented() -> None:
    text = (ROOT / "openapi.yaml").read_text()
    assert not re.search(r"arn:|longshore-|Traceback|boto|pydantic|\.py\b", text)


def test_missing_and_unused_texts_are_errors() -> None:
    texts = Texts()
    with pytest.raises(TextError, match="no text for schemas/Container/colour"):
        texts("schemas", "Container", "colour")
    texts("about")
    with pytest.raises(TextError, match=r"has unused texts: envelope/code, .*schemas/Container/id"):
        texts.check()
