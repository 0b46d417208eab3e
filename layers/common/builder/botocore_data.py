"""Reduction of botocore's data to the services and operations in use."""

import ast
import gzip
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from builder.errors import BuildError

OPERATIONS: Mapping[str, frozenset[str]] = {
    "application-autoscaling": frozenset({"DescribeScalableTargets", "RegisterScalableTarget"}),
    "dynamodb": frozenset({"BatchGetItem", "GetItem", "PutItem", "Query", "Scan", "TransactWriteItems", "UpdateItem"}),
    "ecs": frozenset(
        {
            "DescribeContainerInstances",
            "DescribeServices",
            "DescribeTasks",
            "ListServiceDeployments",
            "ListServices",
            "ListTasks",
            "RunTask",
            "StopTask",
            "UpdateService",
        }
    ),
    "events": frozenset({"PutEvents"}),
    "lambda": frozenset({"Invoke"}),
    "scheduler": frozenset({"CreateSchedule", "DeleteSchedule", "GetSchedule", "ListSchedules", "UpdateSchedule"}),
    "secretsmanager": frozenset({"GetSecretValue"}),
    "sqs": frozenset({"SendMessage"}),
    "ssm": frozenset({"GetCommandInvocation", "SendCommand"}),
}
"""The AWS operations that the library calls, by their names in botocore's models."""

_LIST = "OPERATIONS in builder/botocore_data.py"


def check_operations(sources: list[Path], data: Path) -> None:
    """Check that OPERATIONS are the operations that the sources call, and that botocore has them.

    An attribute with the name of an operation of one of these services counts as a call.

    Args:
        sources: The library's modules.
        data: botocore's `data` folder.

    Raises:
        BuildError: OPERATIONS has to be changed.
    """
    called = _called(sources)
    for service, wanted in OPERATIONS.items():
        known = _read(_newest(data, service) / "service-2")["operations"].keys()
        if missing := sorted(wanted - known):
            raise BuildError(f"botocore has no {service} operation {', '.join(missing)}: look at {_LIST}")
        used = {operation for operation in known if snake_case(operation) in called}
        if missing := sorted(used - wanted):
            raise BuildError(f"the library calls {service} {', '.join(missing)}: add it to {_LIST}")
        if idle := sorted(wanted - used):
            raise BuildError(f"the library calls no {service} {', '.join(idle)}: remove it from {_LIST}")


def _called(sources: list[Path]) -> set[str]:
    nodes = (node for source in sources for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def snake_case(operation: str) -> str:
    """Return the name of a client's method for an operation whose name contains no abbreviation."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()


def cut(data: Path) -> None:
    """Reduce botocore's `data` folder to the services in OPERATIONS, and their models to these operations."""
    models = {Path(name): _read(data / name) for name in ("partitions", "sdk-default-configuration", "_retry")}
    prefixes = set()
    for service, operations in OPERATIONS.items():
        newest = _newest(data, service)
        folder = Path(service, newest.name)
        model = _read(newest / "service-2")
        prefixes.add(model["metadata"]["endpointPrefix"])
        models[folder / "service-2"] = cut_model(model, operations)
        models[folder / "endpoint-rule-set-1"] = _read(newest / "endpoint-rule-set-1")
        for extras in newest.glob("service-2.*-extras.json"):
            models[folder / extras.stem] = _read(newest / extras.stem)
    models[Path("endpoints")] = cut_endpoints(_read(data / "endpoints"), prefixes)
    shutil.rmtree(data)
    for name, model in models.items():
        path = data / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(_undocumented(model), separators=(",", ":")), encoding="utf-8")


def cut_model(model: Any, operations: frozenset[str]) -> Any:
    """Return a service's model with only these operations and the shapes that they reach."""
    kept = {name: operation for name, operation in model["operations"].items() if name in operations}
    shapes: dict[str, Any] = {}
    reached = list(_shape_names(kept))
    while reached:
        name = reached.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            reached += _shape_names(shapes[name])
    ordered = {name: shape for name, shape in model["shapes"].items() if name in shapes}
    return {**model, "operations": kept, "shapes": ordered}


def cut_endpoints(endpoints: Any, services: set[str]) -> Any:
    """Return the endpoints of these services only. All partitions and regions remain."""
    partitions = [
        {**partition, "services": {name: at for name, at in partition["services"].items() if name in services}}
        for partition in endpoints["partitions"]
    ]
    return {**endpoints, "partitions": partitions}


def _shape_names(node: Any) -> Iterator[str]:
    """Yield the names in `{"shape": NAME}` at any depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "shape" and isinstance(value, str):
                yield value
            else:
                yield from _shape_names(value)
    elif isinstance(node, list):
        for item in node:
            yield from _shape_names(item)


def _undocumented(node: Any) -> Any:
    """Return the model without its documentation texts. A member with the name `documentation` remains."""
    if isinstance(node, dict):
        items = node.items()
        return {k: _undocumented(v) for k, v in items if not (k == "documentation" and isinstance(v, str))}
    return [_undocumented(item) for item in node] if isinstance(node, list) else node


def _newest(data: Path, service: str) -> Path:
    """Return the folder of a service's latest API version, which is the version that botocore uses."""
    versions = sorted(path.parent for path in data.glob(f"{service}/*/service-2.json*"))
    if not versions:
        raise BuildError(f"botocore has no service {service}: look at {_LIST}")
    return versions[-1]


def _read(path: Path) -> Any:
    """Read a file of botocore's data, compressed or not, by its path without the extension."""
    plain = path.with_name(f"{path.name}.json")
    if plain.is_file():
        return json.loads(plain.read_bytes())
    return json.loads(gzip.decompress(path.with_name(f"{path.name}.json.gz").read_bytes()))
