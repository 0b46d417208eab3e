"""What the layer's modules are in place of what their packages have."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from builder.errors import BuildError

TYPED = ("pydantic_core/core_schema.py",)
"""Modules that describe so many dictionaries to type checkers that it shows in a function's start."""

PATTERNS = (
    "botocore/compat.py",
    "botocore/endpoint_provider.py",
    "botocore/handlers.py",
    "botocore/utils.py",
    "urllib3/util/url.py",
)
"""Modules whose regular expressions take long enough to compile that it shows in a function's start."""

_PRINT_PATTERNS = """
import importlib, re._compiler, sys, types
sys.path.insert(0, sys.argv[1])
module = importlib.import_module(sys.argv[2])
sre = re._compiler._sre
# All that `re` compiles itself before it hands it to the part that is written in C.
re._compiler._sre = types.SimpleNamespace(**{**vars(sre), "compile": lambda *compiled: compiled})
found = {}
for name, value in vars(module).items():
    if isinstance(value, re.Pattern):
        pattern, flags, code, *groups = re._compiler.compile(value.pattern, value.flags)
        found[name] = (pattern, int(flags), [*map(int, code)], *groups)
print((sre.MAGIC, found))
"""


def stand_in(root: Path, standins: Path) -> None:
    """Put modules of `standins` in the place of those that they stand for, and take away what only these used.

    A package that has a stand-in for its `__init__` keeps the modules that others import from it, and no other.
    """
    new = sorted(path.relative_to(standins) for path in standins.rglob("*.py"))
    for path in new:
        if not (root / path).is_file():
            raise BuildError(f"there is no {path} any more for {standins.name}/{path} to stand in for")
    names = {module_name(path): _defined(standins / path) for path in new}
    needed: set[str] = set()
    for source in root.rglob("*.py"):
        path = source.relative_to(root)
        for module, name in _imported(source, module_name(path), is_package=path.name == "__init__.py"):
            inside = any(f"{module_name(path)}.".startswith(f"{package}.") for package in names)
            if inside or module not in names or name in names[module]:
                continue
            if not _is_module(root, f"{module}.{name}"):
                raise BuildError(f"{path} imports {name} of {module}, which its stand-in does not have")
            needed.add(f"{module}.{name}")
    for package in [path.parent for path in new if path.name == "__init__.py"]:
        for path in (root / package).rglob("*.py"):
            if path.relative_to(root) not in new and module_name(path.relative_to(root)) not in needed:
                path.unlink()
        for folder in sorted((path for path in (root / package).rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
    shutil.copytree(standins, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def untype(root: Path) -> None:
    """Make a plain dictionary of every TypedDict in TYPED: it is one when the program runs."""
    for name in TYPED:
        tree, typed = ast.parse((root / name).read_text(encoding="utf-8")), {"TypedDict"}
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and typed & {ast.unparse(base) for base in node.bases}:
                typed.add(node.name)
                node.bases, node.keywords, node.body = [ast.Name("dict")], [], [ast.Pass()]
        if len(typed) == 1:
            raise BuildError(f"{name} has no TypedDict any more: look at TYPED in builder/rewrites.py")
        (root / name).write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")


def precompile(root: Path) -> None:
    """Write the regular expressions in PATTERNS as `re` compiles them: reading that takes a hundredth of the time.

    It is good for all releases of the functions' Python, as .pyc files are. Another Python would compile them itself.
    """
    for name in PATTERNS:
        # In a process of its own: what is imported here must not be the layer's.
        command = [sys.executable, "-I", "-B", "-c", _PRINT_PATTERNS, str(root), module_name(Path(name))]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            raise BuildError(f"{name} cannot be imported: {ran.stderr}")
        magic, compiled = ast.literal_eval(ran.stdout)
        tree = ast.parse((root / name).read_text(encoding="utf-8"))
        calls = {}
        for node in tree.body:
            match node:
                case ast.Assign([ast.Name(pattern)], ast.Call(ast.Attribute(ast.Name("re"), "compile"))):
                    calls[pattern] = node
        if not calls:
            raise BuildError(f"{name} compiles no regular expression any more: look at PATTERNS in builder/rewrites.py")
        for pattern, node in calls.items():
            made = f"_sre.compile{compiled[pattern]!r} if _sre.MAGIC == {magic} else {ast.unparse(node.value)}"
            node.value = ast.parse(made, mode="eval").body
        first = next(iter(calls.values()))
        tree.body.insert(tree.body.index(first), ast.Import([ast.alias("_sre")]))
        (root / name).write_text(ast.unparse(ast.fix_missing_locations(tree)), encoding="utf-8")


def module_name(path: Path) -> str:
    """`botocore.docs` for `botocore/docs/__init__.py`."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def _is_module(root: Path, name: str) -> bool:
    path = root.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _defined(source: Path) -> set[str]:
    """The names that a module has once it is imported."""
    names: set[str] = set()
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def _imported(source: Path, module: str, *, is_package: bool) -> Iterator[tuple[str, str]]:
    """What a module imports by `from`, anywhere in it: the module that it comes from, and the name."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]
                origin = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield origin, alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                package, _, name = alias.name.rpartition(".")
                yield package, name
