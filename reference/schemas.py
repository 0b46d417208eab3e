"""JSON Schemas of requests and responses, generated from the library's models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from longshore.domain import bodies, changes, listing, pages, project_pages, schedules, timetable
from longshore.domain.clock import to_text
from longshore.domain.errors import ErrorCode
from longshore.domain.lifecycle import Operation
from longshore.domain.models import Outcome
from longshore.domain.parameters import LARGEST_INTEGER
from longshore.domain.pending import PendingOperation
from longshore.domain.schedule_models import DeletedSchedule, Schedules, ScheduleView
from longshore.domain.views import ContainersPage, ContainerView, Projects, ProjectStatusLogsPage, StatusLogsPage
from longshore.edge import http
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema

from reference.catalogue import CATALOGUE, Entry
from reference.texts import Texts

Schema = dict[str, Any]

ID: Final[Schema] = {"type": "string", "pattern": f"^{http.ID_FORMAT.pattern}$"}
TIME: Final[Schema] = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
}
SUCCESSES: Final = {
    "Container": 200,
    "ContainersPage": 200,
    "Projects": 200,
    "StatusLogsPage": 200,
    "ProjectStatusLogsPage": 200,
    "Schedule": 200,
    "Schedules": 200,
    "DeletedSchedule": 200,
    "OperationCompleted": 200,
    "OperationAccepted": 202,
}
"""The status codes of successful responses, by the schema of their `data`."""

_FUTURE: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_PRINTABLE: Final = r"^[^\u0000-\u001f\u007f-\u009f]*$"
_REF: Final = "#/components/schemas/{model}"
_IDS: Final = {"id", "container_id", "project_id"}
# The metadata of history rows that is not plain text.
_METADATA: Final[dict[str, Schema]] = {
    "command": {"$ref": _REF.format(model="Operation")},
    "superseded": {"$ref": _REF.format(model="Operation")},
    "exit_code": {"type": "integer"},
    "rolling": {"type": "boolean"},
    **{name: {"type": "integer"} for name in ("desired_count", "running_count", "count_before", "count_after")},
    "observed_at": TIME,
}
_TEXTS_OF_METADATA: Final = (
    "actor",
    "request_id",
    "operation_id",
    "task_id",
    "reason",
    "stop_code",
    "rule",
    "kill_refused",
)


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, which also recognizes values that `to_text` serializes as times."""

    def ser_schema(self, schema: Any) -> JsonSchemaValue | None:
        return dict(TIME) if schema.get("function") is to_text else super().ser_schema(schema)


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": _REF.format(model=name)}


def query() -> dict[str, Schema]:
    """Return the query parameters of a container's status-logs, by name."""
    default = pages.StatusLogsQuery()
    return {
        "page": _integer(default.page, LARGEST_INTEGER),
        "limit": _integer(default.limit, pages.LARGEST_LIMIT),
        "sort_by": _choice(default.sort_by, pages.SORT_COLUMNS),
        "sort_order": _choice(default.sort_order, pages.SORT_ORDERS),
        **_filters("to_status", "from_status"),
    }


def project_query() -> dict[str, Schema]:
    """Return the query parameters of a project's status-logs, by name."""
    default = project_pages.ProjectLogsQuery("")
    return {
        "limit": _integer(default.limit, pages.LARGEST_LIMIT),
        "cursor": {"type": "string"},
        "sort_order": _choice(default.sort_order, pages.SORT_ORDERS),
        **_filters("to_status"),
        "triggered_by": ref("Trigger"),
        "actor": {"type": "string", "minLength": 1, "maxLength": project_pages.LONGEST_ACTOR},
        "container_id": ID,
    }


def _integer(default: int, largest: int) -> Schema:
    return {"default": default, "minimum": 1, "maximum": largest, "type": "integer"}


def _choice(default: str, choices: Sequence[str]) -> Schema:
    return {"default": default, "enum": list(choices), "type": "string"}


def _filters(*statuses: str) -> dict[str, Schema]:
    times = {name: {"type": "string", "format": "date-time"} for name in ("from", "to")}
    return times | {name: ref("Status") for name in statuses}


def list_query() -> dict[str, Schema]:
    """Return the query parameters of the lists of containers, by name, except `page`."""
    default = listing.ContainersQuery()
    return {
        "limit": {"default": default.limit, "minimum": 1, "maximum": listing.LARGEST_LIMIT, "type": "integer"},
        "sort_by": {"default": default.sort_by, "enum": list(listing.SORT_COLUMNS), "type": "string"},
        "sort_order": {"default": default.sort_order, "enum": list(listing.SORT_ORDERS), "type": "string"},
        "status": {"type": "array", "minItems": 1, "items": ref("Status")},
        "name": {"type": "string"},
        "label": {"type": "array", "items": {"type": "string", "pattern": f"^{listing.LABEL_FORMAT.pattern}$"}},
        "cursor": {"type": "string"},
    }


def schemas(texts: Texts) -> dict[str, Schema]:
    """Return all schemas of the document, by name."""
    found = {name: _described(texts, name, schema) for name, schema in _data().items()}
    found |= {name_of(entry): _error(texts, entry) for entry in CATALOGUE.values()}
    return found | {_name_of_success(data): _success(texts, status, data) for data, status in SUCCESSES.items()}


def success(data: str) -> Schema:
    """Return a reference to the envelope of a successful response with this data."""
    return ref(_name_of_success(data))


def name_of(entry: Entry) -> str:
    """Return the name of an error's schema, such as `MissingToken` for MISSING_TOKEN."""
    return "".join(word.capitalize() for word in entry.code.split("_"))


def _name_of_success(data: str) -> str:
    return f"{data}Answer"


def _success(texts: Texts, status: int, data: str) -> Schema:
    envelope = _envelope(texts, statusCode={"const": status}, message={"type": "string"}, data=ref(data))
    return {"description": texts("success"), **envelope}


def _error(texts: Texts, entry: Entry) -> Schema:
    data: dict[str, Schema] = {}
    match entry.code:
        case ErrorCode.VALIDATION_ERROR:
            data = {"data": {"type": "array", "minItems": 1, "items": ref("Fault")}}
        case ErrorCode.CONTAINER_PROTECTED:
            data = {"data": ref("ProtectionConflict")}
        case ErrorCode.OPERATION_STATE_CONFLICT:
            data = {"data": ref("StateConflict")}
        case ErrorCode.EXTERNAL_SERVICE_ERROR:
            data = {"data": ref("ExternalServiceReason")}
    envelope = _envelope(
        texts,
        statusCode={"const": entry.status},
        error={"const": entry.phrase},
        code={"const": entry.code.value},
        message={"type": "string"},
        **data,
    )
    if entry.code is ErrorCode.VALIDATION_ERROR:
        # Errors that are detected before the parameters are parsed have no `data`.
        envelope["required"].remove("data")
    return {"title": entry.title, "description": f"{entry.description}\n\n{entry.resolution}", **envelope}


def _data() -> dict[str, Schema]:
    """Return the schemas of the envelopes' content, without descriptions."""
    own = _of_models()
    outcome, pending, container = own.pop("Outcome"), own.pop("PendingOperation"), own.pop("ContainerView")
    for part in ("Launch", "GivenUp", "HostCommand", "ServiceChange", "Idempotency"):
        del own[part]  # of a pending operation, and not returned
    schedule = own.pop("ScheduleView")
    schedule["properties"]["targets"] = ref("Targets")
    own["Schedules"]["properties"]["schedules"] = {"type": "array", "items": ref("Schedule")}
    operation = _part(outcome, "operation", "container_id", "project_id", "message", "status")
    succeeded = _object(error={"const": False}, **operation["properties"])
    refused = _object(error={"const": True}, **operation["properties"])
    conflict = {"allowed_operations": container["properties"]["allowed_operations"]}
    nothing_or_pending = _nullable(ref("PendingOperation"))
    conflict["pending_operation"] = nothing_or_pending
    # Changes that the state does not allow return the same data as operations.
    requested = {"type": "string", "enum": [*(each.value for each in Operation), "keep-alive", "protect", "update"]}
    changed = _object(**{**refused["properties"], "operation": requested})
    container["properties"]["pending_operation"] = nothing_or_pending
    own["ContainersPage"]["properties"]["containers"] = {"type": "array", "items": ref("Container")}
    for rows in ("StatusLog", "ProjectStatusLog"):
        own[rows]["properties"]["metadata"] = _nullable(ref("StatusLogMetadata"))
    metadata = {name: {"type": "string"} for name in _TEXTS_OF_METADATA} | _METADATA
    return {
        "Container": container,
        "ContainerChange": _container_change(),
        "OperationOptions": {"type": "object", "properties": {"stop_at": _FUTURE}},
        **own,
        "Schedule": schedule,
        "ScheduleSettings": _schedule_settings(),
        "Targets": _targets(),
        "PendingOperation": _part(pending, "operation", "started_at", "triggered_by"),
        "StatusLogMetadata": {"type": "object", "properties": metadata, "additionalProperties": True},
        "OperationCompleted": succeeded,
        "OperationAccepted": _with(succeeded, pending_operation=ref("PendingOperation")),
        "StateConflict": _with(changed, **conflict),
        "ProtectionConflict": _with(refused, **conflict, protection=ref("Protection")),
        "ExternalServiceReason": _object(reason={"type": "string"}),
        "Fault": _object(instancePath={"type": "string"}, message={"type": "string"}),
    }


def _container_change() -> Schema:
    """Return the schema of the body of PATCH /containers/{id}."""
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": changes.LONGEST_NAME, "pattern": _PRINTABLE},
            "labels": _labels("object", "null"),
            "stop_at": _FUTURE,
            "hold_until": _FUTURE,
            "idle_timeout": {
                "type": ["integer", "null"],
                "minimum": changes.SHORTEST_IDLE_TIMEOUT,
                "maximum": changes.LONGEST_IDLE_TIMEOUT,
            },
            "desired_count": {"type": "integer", "minimum": 1, "maximum": changes.LARGEST_COUNT},
            "protection": {
                "type": ["object", "null"],
                "required": ["reason"],
                "additionalProperties": False,
                "properties": {
                    "reason": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": changes.LONGEST_REASON,
                        "pattern": _PRINTABLE,
                    }
                },
            },
        },
    }


def _labels(*types: str) -> Schema:
    return {
        "type": list(types) if len(types) > 1 else types[0],
        "maxProperties": bodies.MOST_LABELS,
        "propertyNames": {"pattern": f"^{bodies.LABEL_KEY.pattern}$"},
        "additionalProperties": {"type": "string", "maxLength": bodies.LONGEST_LABEL, "pattern": _PRINTABLE},
    }


def _schedule_settings() -> Schema:
    """Return the schema of the body of PUT /projects/{project_id}/schedules/{name}."""
    return {
        "type": "object",
        "required": ["operation", "expression", "targets"],
        "additionalProperties": False,
        "properties": {
            "operation": ref("Operation"),
            "expression": {
                "type": "string",
                "maxLength": timetable.LONGEST_EXPRESSION,
                "pattern": r"^(at|cron|rate)\(.+\)$",
            },
            "timezone": {"type": "string", "maxLength": timetable.LONGEST_ZONE, "default": "UTC"},
            "targets": ref("Targets"),
            "enabled": {"type": "boolean", "default": True},
        },
    }


def _targets() -> Schema:
    """Return the schema of the targets of a schedule."""
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {
            "all": {"const": True},
            "labels": _labels("object") | {"minProperties": 1},
            "container_ids": {"type": "array", "minItems": 1, "maxItems": schedules.MOST_CONTAINERS, "items": ID},
        },
    }


def _of_models() -> dict[str, Schema]:
    """Return the serialization schemas of the models, without internal ones."""
    mode: JsonSchemaMode = "serialization"
    shown = (
        ContainerView,
        ContainersPage,
        Projects,
        StatusLogsPage,
        ProjectStatusLogsPage,
        Outcome,
        PendingOperation,
        ScheduleView,
        Schedules,
        DeletedSchedule,
    )
    models = [(model, mode) for model in shown]
    found = models_json_schema(models, ref_template=_REF, schema_generator=_Generator)[1]["$defs"]
    return {name: _plain(schema) for name, schema in found.items() if name not in {"OutcomeKind", "Step"}}


def _plain(schema: Schema) -> Schema:
    if "properties" not in schema:
        return {"type": schema["type"], "enum": schema["enum"]}
    return _object(**{name: _plain_property(name, own) for name, own in schema["properties"].items()})


def _plain_property(name: str, schema: Schema) -> Schema:
    """Return a property without title and default. Integers are never negative."""
    if name in _IDS:
        return dict(ID)
    own = {key: value for key, value in schema.items() if key not in {"title", "default"}}
    match own:
        case {"anyOf": [{"type": "integer"}, {"type": "null"}]}:
            return {"type": ["integer", "null"], "minimum": 0}
        case {"type": "integer"}:
            return {"type": "integer", "minimum": 0}
    return own


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _part(schema: Schema, *names: str) -> Schema:
    return _object(**{name: schema["properties"][name] for name in names})


def _with(schema: Schema, **more: Schema) -> Schema:
    return _object(**schema["properties"], **more)


def _envelope(texts: Texts, **properties: Schema) -> Schema:
    return _object(**{name: {**own, "description": texts("envelope", name)} for name, own in properties.items()})


def _described(texts: Texts, name: str, schema: Schema) -> Schema:
    described = {"description": texts("schemas", name, "is"), **schema}
    if "properties" in schema:
        described["properties"] = {
            key: {**own, "description": texts("schemas", name, key)} for key, own in schema["properties"].items()
        }
    return described
