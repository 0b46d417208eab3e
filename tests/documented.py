"""An OpenAPI document as the tests need it: what an answer may be, and what is wrong with one."""

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
    """openapi.yaml."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8"))
    return document


def closed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with no property allowed but those that it names: it leaves room for more, our answers do not."""

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
    """What the document says of answers."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._registry: Registry[Any] = Registry().with_resource(_BASE, DRAFT202012.create_resource(document))

    def resolve(self, node: Any) -> Any:
        """The node, or what it refers to."""
        while "$ref" in node:
            found: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def answer(self, operation: str, status: int) -> Any:
        """What an operation, by its id, answers with this status. KeyError."""
        (found,) = [
            own
            for item in self._document["paths"].values()
            for own in item.values()
            if isinstance(own, dict) and own.get("operationId") == operation
        ]
        return self.resolve(found["responses"][str(status)])

    def examples(self, answer: Any) -> dict[str, Any]:
        """The bodies that the answer has as examples."""
        told = self.resolve(answer)["content"]["application/json"]["examples"]
        return {name: self.resolve(example)["value"] for name, example in told.items()}

    def codes(self, answer: Any) -> set[str]:
        """The error codes that the answer may have."""
        schema = self.resolve(answer)["content"]["application/json"]["schema"]
        kinds = [self.resolve(kind) for kind in schema.get("oneOf", [schema])]
        return {kind["properties"]["code"]["const"] for kind in kinds if "code" in kind["properties"]}

    def check(self, operation: str, response: httpx.Response) -> Any:
        """Assert that the operation, by its id, may give this answer; its body."""
        answer = self.answer(operation, response.status_code)
        body = response.json()
        assert self.faults(answer, body) == [], response.text
        assert self.faults_of_headers(answer, response.headers) == []
        assert response.headers["Content-Type"] == "application/json"
        return body

    def faults(self, answer: Any, body: Any) -> list[str]:
        """What is wrong with a body, by the answer's schema."""
        schema = self.resolve(answer)["content"]["application/json"]["schema"]
        return self._faults(schema, body)

    def faults_of_headers(self, answer: Any, headers: Mapping[str, str]) -> list[str]:
        """What is wrong with the headers that the answer has to have. `headers` knows no case."""
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
    """The schema with references into the document instead of into itself."""
    if isinstance(node, dict):
        return {
            key: f"{_BASE}{value}" if key == "$ref" and str(value).startswith("#") else _absolute(value)
            for key, value in node.items()
            if key != "discriminator"
        }
    return [_absolute(value) for value in node] if isinstance(node, list) else node
