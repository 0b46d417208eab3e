"""What `layers/common/builder` does to the packages of the layer. A real build is checked in `tests/e2e`."""

import importlib.util
import json
import marshal
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import botocore
import botocore.loaders
import botocore.session
import pytest
import six
from builder import botocore_data, packages, rewrites
from builder.bytecode import compile_all
from builder.errors import BuildError

from local import template

DATA = Path(botocore.__file__).parent / "data"
LIBRARY = template.ROOT / "layers" / "common" / "longshore"
REGIONS = ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "ap-southeast-7"]


# --- which operations -------------------------------------------------------------------------------------------------


def library() -> list[Path]:
    return [*LIBRARY.rglob("*.py")]


def test_the_operations_are_those_that_the_library_calls() -> None:
    botocore_data.check_operations(library(), DATA)


def test_a_call_that_is_new_is_noticed(tmp_path: Path) -> None:
    new = tmp_path / "new.py"
    new.write_text("client.batch_get_item(RequestItems={})\n")
    with pytest.raises(BuildError, match="calls dynamodb BatchGetItem: add it"):
        botocore_data.check_operations([*library(), new], DATA)


def test_a_call_that_is_gone_is_noticed() -> None:
    sources = [path for path in library() if path.name != "hosts.py"]
    with pytest.raises(BuildError, match="calls no ssm GetCommandInvocation, SendCommand: take"):
        botocore_data.check_operations(sources, DATA)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ({"ssm": frozenset({"SendCommands"})}, "botocore has no ssm operation SendCommands"),
        ({"sssm": frozenset({"SendCommand"})}, "botocore has no service sssm"),
    ],
)
def test_what_botocore_does_not_know(
    monkeypatch: pytest.MonkeyPatch, operations: Mapping[str, frozenset[str]], message: str
) -> None:
    monkeypatch.setattr(botocore_data, "OPERATIONS", operations)
    with pytest.raises(BuildError, match=message):
        botocore_data.check_operations(library(), DATA)


# --- what is left of botocore -----------------------------------------------------------------------------------------


def session(data: Path) -> botocore.session.Session:
    made = botocore.session.Session()
    loader = botocore.loaders.Loader(extra_search_paths=[str(data)], include_default_search_paths=False)
    made.register_component("data_loader", loader)
    return made


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """botocore's data, cut."""
    data = tmp_path_factory.mktemp("layer") / "data"
    data.mkdir()
    for name in (*botocore_data.OPERATIONS, "s3"):
        shutil.copytree(DATA / name, data / name)
    for path in DATA.glob("*.json*"):
        shutil.copy(path, data)
    botocore_data.cut(data)
    return data


def described(shape: Any, seen: frozenset[str] = frozenset()) -> Any:
    """A shape with all that it is made of."""
    if shape is None or shape.name in seen:
        return shape and shape.name
    seen |= {shape.name}
    parts: dict[str, Any] = {name: described(member, seen) for name, member in getattr(shape, "members", {}).items()}
    for part in ("member", "key", "value"):
        if hasattr(shape, part):
            parts[part] = described(getattr(shape, part), seen)
    return [shape.name, shape.type_name, shape.metadata, shape.serialization, parts]


@pytest.mark.parametrize("service", sorted(botocore_data.OPERATIONS))
def test_the_operations_are_as_they_were(cut: Path, service: str) -> None:
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
def test_the_endpoints_are_as_they_were(cut: Path, service: str, region: str) -> None:
    urls = [session(data).create_client(service, region_name=region).meta.endpoint_url for data in (DATA, cut)]
    assert urls[0] == urls[1]
    assert region in urls[0]


def test_nothing_else_is_left(cut: Path) -> None:
    assert session(cut).get_available_services() == sorted(botocore_data.OPERATIONS)
    assert sum(path.stat().st_size for path in cut.rglob("*") if path.is_file()) < 200_000
    assert '"documentation":"' not in "".join(path.read_text() for path in cut.rglob("*.json"))


def test_a_member_that_is_called_documentation_stays() -> None:
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


# --- what is left of the packages -------------------------------------------------------------------------------------


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def files_of(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "UNUSED", ("left", "gone"))
    with pytest.raises(BuildError, match="no gone any more"):
        packages.prune(tree(tmp_path, {"left/x.py": ""}))


def test_what_describes_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "UNUSED", ())
    kept = {"METADATA", "licenses/LICENSE", "LICENSE.txt"}
    every = {*kept, "RECORD", "WHEEL", "entry_points.txt", "sboms/it.json"}
    packages.prune(tree(tmp_path, {f"it-1.0.dist-info/{name}": "x" for name in every}))
    assert files_of(tmp_path / "it-1.0.dist-info") == kept


# --- stand-ins --------------------------------------------------------------------------------------------------------

STANDINS = LIBRARY.parent / "standins"


@pytest.fixture(scope="module")
def stood_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages that have stand-ins, with what they need, as the build leaves them before it compiles."""
    root = tmp_path_factory.mktemp("stood-in")
    have_stand_ins = sorted(path.name for path in STANDINS.iterdir() if path.is_dir())
    for package in [*have_stand_ins, "pydantic_core", "dateutil", "jmespath"]:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        ignored = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(Path(spec.origin).parent, root / package, ignore=ignored)
    shutil.copy(six.__file__, root)
    rewrites.stand_in(root, STANDINS)
    rewrites.untype(root)
    rewrites.precompile(root)
    return root


def test_clients_and_models_work_with_the_stand_ins(stood_in: Path) -> None:
    script = f"""if True:
        import sys
        import botocore
        botocore.__path__.append({str(DATA.parent)!r})
        import botocore.session
        session = botocore.session.get_session()
        session.get_component("data_loader").search_paths.append({str(DATA)!r})
        client = session.create_client("dynamodb", region_name="eu-central-1")
        assert client.get_item.__doc__ == ""
        assert client.can_paginate("query") and client.get_paginator("query") and client.get_waiter("table_exists")
        import pydantic
        class Model(pydantic.BaseModel):
            number: int
            other: "Model | None" = None
        assert Model(number="1", other={{"number": 2}}).other.number == 2
        from pydantic_core import core_schema
        assert core_schema.IntSchema.__bases__ == core_schema.BeforeValidatorFunctionSchema.__bases__ == (dict,)
        assert core_schema.int_schema(ge=1) == {{"type": "int", "ge": 1}}
        folders = ({str(stood_in)!r},)
        assert {{botocore.docs.__file__, pydantic.plugin.__file__}} <= {{m.__file__ for m in sys.modules.values()
            if getattr(m, "__file__", None) and m.__file__.startswith(folders)}}
        print(sorted({{"importlib.metadata", "html.parser", "botocore.docs.bcdoc"}} & set(sys.modules)))
    """
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={"PYTHONPATH": str(stood_in), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_what_only_the_replaced_modules_used_is_gone(stood_in: Path) -> None:
    assert sorted(path.name for path in (stood_in / "botocore" / "docs").iterdir()) == [
        "__init__.py",
        "docstring.py",
        "utils.py",
    ]
    assert sorted(path.name for path in (stood_in / "urllib3" / "http2").iterdir()) == ["__init__.py", "probe.py"]


@pytest.mark.parametrize(
    "imports",
    [
        "from package.part import Gone",
        "from .part import Gone",
        "from . import part, other\nfrom .part import Known, Gone",
        "def later():\n    from package.part import Gone",
        "import package.part.Gone",
    ],
)
def test_a_name_that_a_stand_in_lacks_is_noticed(tmp_path: Path, imports: str) -> None:
    root = tree(
        tmp_path / "root",
        {"package/__init__.py": "", "package/user.py": imports, "package/part.py": "Known = Gone = 1"},
    )
    standins = tree(tmp_path / "standins", {"package/part.py": "Known = 1"})
    with pytest.raises(BuildError, match=r"package/user\.py imports Gone of package\.part"):
        rewrites.stand_in(root, standins)


def test_precompiled_patterns_are_what_would_have_been_compiled(stood_in: Path) -> None:
    modules = [rewrites.module_name(Path(name)) for name in rewrites.PATTERNS]
    script = f"""if True:
        import importlib, re
        compiled, compile_it = set(), re._compiler.compile
        def watched(pattern, flags=0):
            compiled.add(pattern)
            return compile_it(pattern, flags)
        re._compiler.compile = watched
        modules = [importlib.import_module(name) for name in {modules!r}]
        assert all(module.__file__.startswith({str(stood_in)!r}) for module in modules)
        patterns = [value for module in modules for value in vars(module).values() if isinstance(value, re.Pattern)]
        assert compiled and not compiled & {{pattern.pattern for pattern in patterns}}
        for pattern in patterns:
            fresh = re.compile(pattern.pattern, pattern.flags)
            assert pattern == fresh and pattern.groupindex == fresh.groupindex and pattern.groups == fresh.groups
        from urllib3.util import parse_url
        print(len(patterns), *parse_url("https://[fe80::1%25en1]:8443/a%7eb?c=d#e"))
    """
    command = [sys.executable, "-W", "error", "-c", script]
    environment = {"PYTHONPATH": str(stood_in), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.stderr == ""
    count, *url = ran.stdout.split()
    assert int(count) >= 22
    assert url == ["https", "None", "[fe80::1%en1]", "8443", "/a%7Eb", "c=d", "e"]


def test_another_python_compiles_its_patterns_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrites, "PATTERNS", ("module.py",))
    source = "import re\nNAME = re.compile('(?P<first>[a-z]+)-(é*)', re.IGNORECASE)\n"
    rewrites.precompile(tree(tmp_path, {"module.py": source}))
    rewritten = (tmp_path / "module.py").read_text()
    magic = re.search(r"_sre\.MAGIC == (\d+)", rewritten)
    assert magic
    for text in (rewritten, rewritten.replace(magic[1], "1")):
        module: dict[str, Any] = {}
        exec(text, module)
        assert module["NAME"] == re.compile("(?P<first>[a-z]+)-(é*)", re.IGNORECASE)
        assert module["NAME"].fullmatch("Ab-É").groupdict() == {"first": "Ab"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import re\n", r"module\.py compiles no regular expression any more"),
        ("import gone\n", r"module\.py cannot be imported: .*No module named 'gone'"),
    ],
)
def test_nothing_to_precompile_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    monkeypatch.setattr(rewrites, "PATTERNS", ("module.py",))
    with pytest.raises(BuildError, match=f"(?s){message}"):
        rewrites.precompile(tree(tmp_path, {"module.py": source}))


def test_nothing_to_untype_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrites, "TYPED", ("module.py",))
    with pytest.raises(BuildError, match=r"module\.py has no TypedDict any more"):
        rewrites.untype(tree(tmp_path, {"module.py": "class A(dict):\n    a: int\n"}))


def test_a_stand_in_for_nothing_is_noticed(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", {"package/__init__.py": ""})
    standins = tree(tmp_path / "standins", {"package/part.py": ""})
    with pytest.raises(BuildError, match=r"there is no package/part\.py any more"):
        rewrites.stand_in(root, standins)


def test_modules_are_compiled_for_where_they_will_be(tmp_path: Path) -> None:
    source = "def f():\n    return 1\n"
    root = tree(tmp_path, {f"python/{name}": source for name in ("longshore/a.py", "it/__init__.py", "single.py")})
    compile_all(root)
    tag = sys.implementation.cache_tag
    library = f"python/longshore/__pycache__/a.{tag}.pyc"
    assert files_of(root) == {"python/longshore/a.py", library, "python/it/__init__.pyc", "python/single.pyc"}
    for path, name in ((library, "longshore/a.py"), ("python/it/__init__.pyc", "it/__init__.py")):
        compiled = (root / path).read_bytes()
        assert compiled[:4] == importlib.util.MAGIC_NUMBER
        # PEP 552: by a hash of the source, which is not to be checked.
        assert int.from_bytes(compiled[4:8], "little") == 0b01
        assert marshal.loads(compiled[16:]).co_filename == f"/opt/python/{name}"


def test_an_extension_module_without_its_symbols_still_loads(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("_cffi_backend")
    assert spec is not None
    assert spec.origin is not None
    module = Path(spec.origin)
    copy = Path(shutil.copy(module, tmp_path))
    packages.drop_symbols(tmp_path)
    image = copy.read_bytes()
    assert (image[0x28:0x30], image[0x3A:0x40]) == (bytes(8), bytes(6)), "the table of sections is gone"
    assert 0 < len(image) < module.stat().st_size
    load = (
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('_cffi_backend', {str(copy)!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "print(module.__file__, module.sizeof(module.new_primitive_type('int')))\n"
    )
    ran = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == (f"{copy} 4\n", "")


def test_what_is_no_extension_module_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=re.escape("it.so is no 64-bit ELF")):
        packages.drop_symbols(tree(tmp_path, {"it.so": "MZ"}))


def test_every_package_is_pinned() -> None:
    lines = (LIBRARY.parent / "requirements.txt").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert requirements
    assert [line for line in requirements if not re.fullmatch(r"[\w-]+(\[\w+\])?==[\w.]+", line)] == []


def test_cut_data_is_json_without_spaces(cut: Path) -> None:
    text = (cut / "partitions.json").read_text()
    assert text == json.dumps(json.loads(text), separators=(",", ":"))
