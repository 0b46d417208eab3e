"""A bundle of JavaScript modules: one file instead of one request for each module.

Each request for a file may start an execution environment of the function, and a browser requests all modules of a page
at once.

Only these forms of import and export are supported, at the beginning of a line:

    import { a, b as c } from "./module.js";
    import * as module from "./module.js";
    export function, export async function, export class, export const
"""

import re
from pathlib import Path

from pages.errors import BuildError

_IMPORT = re.compile(r'^import\s+(?:\*\s+as\s+(\w+)|\{([^}]*)\})\s+from\s+"\./([\w-]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def bundle(entry: Path) -> str:
    """Return a module that does the same as the entry module with all modules that it imports.

    Each module becomes a function that returns what the module exports. A module comes after those that it imports.

    Raises:
        BuildError: A module does not exist, imports itself, or has an import or export that is not supported.
    """
    written: dict[str, str] = {}
    _add(entry.parent, entry.stem, written, ())
    return "".join(written.values())


def _add(folder: Path, name: str, written: dict[str, str], importers: tuple[str, ...]) -> None:
    if name in importers:
        raise BuildError(f"circular imports: {' -> '.join([*importers, name])}")
    if name in written:
        return
    path = folder / f"{name}.js"
    if not path.is_file():
        raise BuildError(f"{importers[-1] if importers else folder}: there is no {path.name}")
    source = path.read_text(encoding="utf-8")
    for _, _, imported in _IMPORT.findall(source):
        _add(folder, imported, written, (*importers, name))
    exported = _EXPORT.findall(source)
    body = _EXPORT.sub("", _IMPORT.sub(_constants, source))
    if unsupported := _OTHER.search(body):
        raise BuildError(f"{path.name}: not supported by pages/bundle.py: {unsupported[0]}")
    written[name] = f"const {_variable(name)} = (() => {{\n{body}\nreturn {{ {', '.join(exported)} }};\n}})();\n"


def _constants(statement: re.Match[str]) -> str:
    """Return the declaration that replaces an import."""
    namespace, names, module = statement.groups()
    pattern = namespace or f"{{{names.replace(' as ', ': ')}}}"
    return f"const {pattern} = {_variable(module)};"


def _variable(module: str) -> str:
    return f"${module.replace('-', '_')}"
