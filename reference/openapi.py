"""The OpenAPI document: what each route takes and answers, and the catalogue of errors."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any, Final

import yaml
from longshore.domain.errors import ErrorCode
from longshore.domain.lifecycle import LaunchType, Operation, Status, allowed_operations
from longshore.edge import http

from reference import ROOT, examples
from reference.catalogue import CATALOGUE, Entry
from reference.schemas import ID, SUCCESSES, name_of, query, ref, schemas, success
from reference.texts import Texts

Node = dict[str, Any]

BASE: Final = "/api/v1"
"""Where the paths of the document begin, on whichever server."""

_HEADER: Final = "# Made by `make openapi` from the models, the error classes and reference. Do not edit.\n"
_TAG: Final = "Containers"
_SCHEME: Final = "bearerAuth"
# The answers that are the same whatever is asked for.
_SHARED: Final = {401: "Unauthorized", 404: "NotFound", 429: "TooManyRequests", 500: "ServerError"}
_NOT_FOR_READERS: Final = {
    ErrorCode.INSUFFICIENT_PERMISSIONS,
    ErrorCode.OPERATION_NOT_PERMITTED_ON_EXPIRED,
    ErrorCode.OPERATION_STATE_CONFLICT,
}


def document() -> Node:
    """The whole document, in the order in which it is read. TextError when a text is missing or left over."""
    texts = Texts()
    made = {
        "openapi": "3.1.0",
        "info": {
            "title": "Longshore",
            "version": _version(),
            "summary": "A container lifecycle API for Amazon ECS",
            "description": f"{texts('about')}\n\n{_codes()}",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": _servers(texts),
        "security": [{_SCHEME: []}],
        "tags": [{"name": _TAG, "description": texts("tag")}],
        "paths": _paths(texts),
        "components": {
            "securitySchemes": {
                _SCHEME: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": texts("token")}
            },
            "parameters": _parameters(texts),
            "headers": _headers(texts),
            "responses": {
                name: _errors(texts, [entry for entry in CATALOGUE.values() if entry.status == status])
                for status, name in _SHARED.items()
            },
            "schemas": schemas(texts),
            "examples": {name: own for code in ErrorCode for name, own in examples.errors(code).items()},
        },
        "x-error-codes": {
            entry.code.value: {
                "status": entry.status,
                "title": entry.title,
                "message": entry.message,
                "description": entry.description,
                "resolution": entry.resolution,
            }
            for entry in CATALOGUE.values()
        },
    }
    texts.check()
    return made


def text() -> str:
    """The document as YAML."""
    return _HEADER + yaml.dump(document(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _servers(texts: Texts) -> list[Node]:
    variables = {"api": "abcdefghij", "region": "us-east-1", "stage": "live"}
    return [
        {"url": BASE, "description": texts("servers", "local")},
        {
            "url": f"https://{{api}}.execute-api.{{region}}.amazonaws.com/{{stage}}{BASE}",
            "description": texts("servers", "deployed"),
            "variables": {
                name: {"default": value, "description": texts("servers", name)} for name, value in variables.items()
            },
        },
    ]


def _paths(texts: Texts) -> Node:
    readers = [code for code in ErrorCode if code not in _NOT_FOR_READERS]
    get = _operation(
        texts,
        "getContainer",
        parameters=["ContainerId"],
        successes={"Container": examples.container()},
        errors=readers,
        fault="request",
    )
    get_logs = _operation(
        texts,
        "getStatusLogs",
        parameters=["ContainerId", *(_pascal(name) for name in query())],
        successes={"StatusLogsPage": examples.status_logs()},
        errors=readers,
        fault="query",
    )
    manage = _operation(
        texts,
        "manage",
        parameters=["ContainerId", "Operation", "IdempotencyKey"],
        successes={"OperationCompleted": examples.completed(), "OperationAccepted": examples.accepted()},
        errors=list(ErrorCode),
        fault="operation",
    )
    manage["description"] = manage["description"].replace("{allowed}", _allowed())
    for status in ("200", "202"):
        manage["responses"][status]["links"] = {
            "container": {
                "operationId": get["operationId"],
                "parameters": {"id": "$response.body#/data/container_id"},
                "description": texts("link"),
            }
        }
    return {
        "/containers/{id}": {"get": get},
        "/containers/{id}/status-logs": {"get": get_logs},
        "/containers/{id}/{operation}": {"post": manage},
    }


def _operation(
    texts: Texts,
    name: str,
    *,
    parameters: Sequence[str],
    successes: dict[str, Node],
    errors: Sequence[ErrorCode],
    fault: str,
) -> Node:
    """One operation, by its id.

    `successes` are examples by the schema of their `data`, `errors` the codes that it may answer with, and
    `fault` is which example of a VALIDATION_ERROR is its own.
    """
    answers = {
        SUCCESSES[data]: _answer(texts("operations", name, str(SUCCESSES[data])), success(data), told)
        for data, told in successes.items()
    }
    for status in sorted({CATALOGUE[code].status for code in errors}):
        entries = [CATALOGUE[code] for code in errors if CATALOGUE[code].status == status]
        shared = _SHARED.get(status)
        answers[status] = {"$ref": f"#/components/responses/{shared}"} if shared else _errors(texts, entries, fault)
    return {
        "operationId": name,
        "tags": [_TAG],
        "summary": texts("operations", name, "summary"),
        "description": texts("operations", name, "description"),
        "parameters": [{"$ref": f"#/components/parameters/{parameter}"} for parameter in parameters],
        "responses": {str(status): answer for status, answer in answers.items()},
    }


def _errors(texts: Texts, entries: Sequence[Entry], fault: str = "") -> Node:
    """The answer with one of these errors, which have the same status."""
    (status,) = {entry.status for entry in entries}
    references = {entry.code.value: ref(name_of(entry)) for entry in entries}
    if len(entries) == 1:
        (schema,) = references.values()
    else:
        mapping = {code: reference["$ref"] for code, reference in references.items()}
        schema = {
            "oneOf": list(references.values()),
            "discriminator": {"propertyName": "code", "mapping": mapping},
        }
    told = {
        name: {"$ref": f"#/components/examples/{name}"}
        for entry in entries
        for name in examples.errors(entry.code)
        if entry.code is not ErrorCode.VALIDATION_ERROR or name.endswith(fault)
    }
    lines = [f"- `{entry.code}`: {entry.description} *{entry.resolution}*" for entry in entries]
    description = "\n".join([texts("errors", status), "", *lines])
    return _answer(description, schema, told, *(["Retry-After"] if status == 429 else []))


def _answer(description: str, schema: Node, told: Node, *headers: str) -> Node:
    return {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *headers)},
        "content": {"application/json": {"schema": schema, "examples": told}},
    }


def _parameters(texts: Texts) -> Node:
    own: dict[str, Node] = {
        "ContainerId": {"name": "id", "in": "path", "required": True, "schema": ID, "example": examples.CONTAINER},
        "Operation": {
            "name": "operation",
            "in": "path",
            "required": True,
            "schema": ref("Operation"),
            "example": Operation.START.value,
        },
        "IdempotencyKey": {
            "name": http.IDEMPOTENCY_KEY,
            "in": "header",
            # No example: a reference page would send it with each call that is tried.
            "schema": {"type": "string", "pattern": f"^{http.KEY_FORMAT.pattern}$"},
        },
    }
    own |= {_pascal(name): {"name": name, "in": "query", "schema": schema} for name, schema in query().items()}
    return {
        name: {**parameter, "description": texts("parameters", name).format_map(parameter["schema"])}
        for name, parameter in own.items()
    }


def _headers(texts: Texts) -> Node:
    own: dict[str, Node] = {
        "X-Request-Id": {"schema": {"type": "string", "format": "uuid"}, "example": examples.REQUEST},
        "Retry-After": {"schema": {"type": "integer", "minimum": 0}, "example": 1},
    }
    return {name: {"description": texts("headers", name), "required": True, **header} for name, header in own.items()}


def _codes() -> str:
    rows = [f"| `{entry.code}` | {entry.status} | {entry.title} |" for entry in CATALOGUE.values()]
    return "\n".join(["| code | status | what it is |", "|---|---|---|", *rows])


def _allowed() -> str:
    rows = []
    for status in Status:
        operations = allowed_operations(status, None, LaunchType.EC2)
        rows.append(f"| `{status}` | {', '.join(f'`{operation}`' for operation in operations) or 'nothing'} |")
    return "\n".join(["| status | allowed |", "|---|---|", *rows])


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


class _Dumper(yaml.SafeDumper):
    """Writes every part where it belongs, and text of several lines as it is."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _write_text(dumper: _Dumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _write_text)
