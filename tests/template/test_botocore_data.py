"""Tests of the reduction of botocore's data to the operations in use."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore
import botocore.loaders
import botocore.session
import pytest
from builder import botocore_data
from builder.errors import BuildError

from local import template

DATA = Path(botocore.__file__).parent / "data"
LIBRARY = template.ROOT / "layers" / "common" / "longshore"
REGIONS = ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "ap-southeast-7"]


def library() -> list[Path]:
    return [*LIBRARY.rglob("*.py")]


def test_operations_match_the_calls_of_the_library() -> None:
    botocore_data.check_operations(library(), DATA)


def test_a_new_call_stops_the_build(tmp_path: Path) -> None:
    new = tmp_path / "new.py"
    new.write_text("client.batch_write_item(RequestItems={})\n")
    with pytest.raises(BuildError, match="calls dynamodb BatchWriteItem: add it"):
        botocore_data.check_operations([*library(), new], DATA)


def test_an_operation_without_a_call_stops_the_build() -> None:
    sources = [path for path in library() if path.name != "hosts.py"]
    with pytest.raises(BuildError, match="calls no ssm GetCommandInvocation, SendCommand: remove"):
        botocore_data.check_operations(sources, DATA)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ({"ssm": frozenset({"SendCommands"})}, "botocore has no ssm operation SendCommands"),
        ({"sssm": frozenset({"SendCommand"})}, "botocore has no service sssm"),
    ],
)
def test_an_operation_that_botocore_lacks_stops_the_build(
    monkeypatch: pytest.MonkeyPatch, operations: Mapping[str, frozenset[str]], message: str
) -> None:
    monkeypatch.setattr(botocore_data, "OPERATIONS", operations)
    with pytest.raises(BuildError, match=message):
        botocore_data.check_operations(library(), DATA)


def session(data: Path) -> botocore.session.Session:
    made = botocore.session.Session()
    loader = botocore.loaders.Loader(extra_search_paths=[str(data)], include_default_search_paths=False)
    made.register_component("data_loader", loader)
    return made


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """botocore's data, reduced."""
    data = tmp_path_factory.mktemp("layer") / "data"
    data.mkdir()
    for name in (*botocore_data.OPERATIONS, "s3"):
        shutil.copytree(DATA / name, data / name)
    for path in DATA.glob("*.json*"):
        shutil.copy(path, data)
    botocore_data.cut(data)
    return data


def described(shape: Any, seen: frozenset[str] = frozenset()) -> Any:
    """Return a shape with its metadata and members, at any depth."""
    if shape is None or shape.name in seen:
        return shape and shape.name
    seen |= {shape.name}
    parts: dict[str, Any] = {name: described(member, seen) for name, member in getattr(shape, "members", {}).items()}
    for part in ("member", "key", "value"):
        if hasattr(shape, part):
            parts[part] = described(getattr(shape, part), seen)
    return [shape.name, shape.type_name, shape.metadata, shape.serialization, parts]


@pytest.mark.parametrize("service", sorted(botocore_data.OPERATIONS))
def test_operations_keep_their_shapes(cut: Path, service: str) -> None:
    before = session(DATA).get_service_model(service)
    after = session(cut).get_service_model(service)
    assert set(after.operation_names) == botocore_data.OPERATIONS[service]
    assert after.metadata == before.metadata
    for name in after.operation_names:
        was, now = before.operation_model(name), after.operation_model(name)
        assert described(now.input_shape) == described(was.input_shape)
        assert described(now.output_shape) == described(was.output_shape)
        assert [described(shape) for shape in now.error_shapes] == [described(shape) for shape in was.error_shapes]
        assert (now.http, now.idempotent_members) == (was.http, was.idempotent_members)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("service", sorted(botocore_data.OPERATIONS))
def test_endpoints_stay_the_same(cut: Path, service: str, region: str) -> None:
    urls = [session(data).create_client(service, region_name=region).meta.endpoint_url for data in (DATA, cut)]
    assert urls[0] == urls[1]
    assert region in urls[0]


def test_other_services_and_documentation_are_removed(cut: Path) -> None:
    assert session(cut).get_available_services() == sorted(botocore_data.OPERATIONS)
    assert sum(path.stat().st_size for path in cut.rglob("*") if path.is_file()) < 220_000
    assert '"documentation":"' not in "".join(path.read_text() for path in cut.rglob("*.json"))


def test_a_member_named_documentation_remains() -> None:
    model = {
        "metadata": {},
        "operations": {"Get": {"input": {"shape": "In"}, "documentation": "text"}, "Put": {"input": {"shape": "Out"}}},
        "shapes": {
            "In": {"type": "structure", "members": {"shape": {"shape": "Text"}, "documentation": {"shape": "Text"}}},
            "Out": {"type": "structure"},
            "Text": {"type": "string"},
        },
    }
    after = botocore_data.cut_model(model, frozenset({"Get"}))
    assert after["operations"].keys() == {"Get"}
    assert after["shapes"].keys() == {"In", "Text"}
    assert after["shapes"]["In"] == model["shapes"]["In"]


def test_reduced_data_is_json_without_spaces(cut: Path) -> None:
    text = (cut / "partitions.json").read_text()
    assert text == json.dumps(json.loads(text), separators=(",", ":"))
