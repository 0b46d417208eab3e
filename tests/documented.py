"""Validation of responses against an OpenAPI document."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

ROOT = Path(__file__).parents[1]

_BASE = "urn:document"


def load() -> dict[str, Any]:
    """Return the content of openapi.yaml."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    return document


def closed(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document without additional properties, which it allows but responses of the API do not have."""

    def close(node: Any) -> None:
        if isinstance(node, dict):
            if "properties" in node and node.get("type") == "object":
                node.setdefault("additionalProperties", False)
            for value in node.values():
                close(value)
        elif isinstance(node, list):
            for value in node:
                close(value)

    own = copy.deepcopy(dict(document))
    close(own["components"]["schemas"])
    close(own["components"]["responses"])
    close(own["paths"])
    return own


class Documented:
    """The responses of an OpenAPI document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._registry: Registry[Any] = Registry().with_resource(_BASE, DRAFT202012.create_resource(document))

    def resolve(self, node: Any) -> Any:
        """Return the node, or the target of its reference."""
        while "$ref" in node:
            found: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def answer(self, operation: str, status: int) -> Any:
        """Return the response of an operation with this status.

        Args:
            operation: The operationId.
            status: The HTTP status.

        Raises:
            KeyError: The operation has no response with this status.
        """
        (found,) = [
            own
            for item in self._document["paths"].values()
            for own in item.values()
            if isinstance(own, dict) and own.get("operationId") == operation
        ]
        return self.resolve(found["responses"][str(status)])

    def examples(self, answer: Any) -> dict[str, Any]:
        """Return the bodies of the response's examples, by name."""
        examples = self.resolve(answer)["content"]["application/json"]["examples"]
        return {name: self.resolve(example)["value"] for name, example in examples.items()}

    def codes(self, answer: Any) -> set[str]:
        """Return the possible error codes of the response."""
        schema = self.resolve(answer)["content"]["application/json"]["schema"]
        kinds = [self.resolve(kind) for kind in schema.get("oneOf", [schema])]
        return {kind["properties"]["code"]["const"] for kind in kinds if "code" in kind["properties"]}

    def check(self, operation: str, response: httpx.Response) -> Any:
        """Check that the operation, given by its operationId, documents this response. Returns the body."""
        answer = self.answer(operation, response.status_code)
        body = response.json()
        assert self.faults(answer, body) == [], response.text
        assert self.faults_of_headers(answer, response.headers) == []
        assert response.headers["Content-Type"] == "application/json"
        return body

    def faults(self, answer: Any, body: Any) -> list[str]:
        """Return the violations of the response's schema in a body."""
        schema = self.resolve(answer)["content"]["application/json"]["schema"]
        return self._faults(schema, body)

    def faults_of_headers(self, answer: Any, headers: Mapping[str, str]) -> list[str]:
        """Return the violations of the response's headers. `headers` must be case-insensitive."""
        found = []
        for name, own in self.resolve(answer)["headers"].items():
            header = self.resolve(own)
            if name not in headers:
                found += [f"{name} is missing"] if header["required"] else []
                continue
            value: Any = headers[name]
            found += self._faults(header["schema"], int(value) if header["schema"]["type"] == "integer" else value)
        return found

    def _faults(self, schema: Any, value: Any) -> list[str]:
        absolute = _absolute(schema)
        validator = OAS31Validator(absolute, registry=self._registry, format_checker=oas31_format_checker)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def _absolute(node: Any) -> Any:
    """Return the schema with absolute references to the document."""
    if isinstance(node, dict):
        return {
            key: f"{_BASE}{value}" if key == "$ref" and str(value).startswith("#") else _absolute(value)
            for key, value in node.items()
            if key != "discriminator"
        }
    return [_absolute(value) for value in node] if isinstance(node, list) else node
