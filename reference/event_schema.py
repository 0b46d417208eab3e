"""The JSON Schema of `detail` of the events that a stack publishes: docs/status-change.schema.json."""

from __future__ import annotations

import json
from typing import Any, Final

from longshore.domain.status_changes import DETAIL_TYPE, StatusChange

from reference.schemas import ID, Schema, schemas
from reference.texts import Texts

_OWN: Final[dict[str, Schema]] = {
    "project_id": {**ID, "description": "The project that the container was in when the status changed."},
    "container_name": {
        "type": ["string", "null"],
        "description": "The name of the container when the event was published. Null if it was deleted or moved to"
        " another project.",
    },
    "labels": {
        "type": "object",
        "additionalProperties": {"type": "string"},
        "description": "The labels of the container when the event was published. Empty if the name is null.",
    },
    "seq": {
        "type": "integer",
        "minimum": 1,
        "description": "The number of the status change in the history of the container, without gaps. Order the events"
        " of a container by it.",
    },
}
"""The properties that rows of the API do not have."""


def schema() -> Schema:
    """Return the schema. The properties of a row are those of the API."""
    found = schemas(Texts())
    properties = {**found["StatusLog"]["properties"], **_OWN}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": DETAIL_TYPE,
        "description": "A change of the status of a container. Further properties may be added.",
        "type": "object",
        "required": list(properties),
        "properties": {name: properties[name] for name in StatusChange.model_fields},
    }
    parts = {name: found[name] for name in ("Operation", "Status", "StatusLogMetadata", "Trigger")}
    local: Schema = _local({**document, "$defs": parts})
    return local


def _local(node: Any) -> Any:
    """Return a part of the schema whose references lead into the schema, instead of openapi.yaml."""
    if isinstance(node, dict):
        return {name: _local(value) for name, value in node.items()}
    if isinstance(node, list):
        return [_local(item) for item in node]
    return node.replace("#/components/schemas/", "#/$defs/") if isinstance(node, str) else node


def text() -> str:
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
