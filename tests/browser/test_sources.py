"""The TypeScript compiler checks the console's modules: JSDoc types are correct, and nothing is unused.

The console contains the library oauth4webapi as published.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
from browser.npm import NpmUnavailableError, package

CONSOLE = Path(__file__).parents[2] / "console"
OPTIONS = "--noEmit --allowJs --checkJs --strict --noUnusedLocals --noUnusedParameters --target es2023 --module esnext"


@pytest.fixture(scope="module")
def oauth4webapi() -> Path:
    try:
        return package("oauth4webapi", "3.8.8")
    except NpmUnavailableError as missing:
        pytest.skip(str(missing))


def test_the_library_is_unchanged(oauth4webapi: Path) -> None:
    """It begins with its license, which requires a copy."""
    license_, published = ((oauth4webapi / path).read_text() for path in ("LICENSE.md", "build/index.js"))
    assert (CONSOLE / "oauth4webapi.js").read_text() == f"/*!\noauth4webapi 3.8.8\n\n{license_}*/\n{published}"


@pytest.fixture(scope="module")
def compiler() -> list[str]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing: the TypeScript compiler runs on it")
    try:
        tsc = package("typescript", "5.9.3") / "bin" / "tsc"
    except NpmUnavailableError as missing:
        pytest.skip(str(missing))
    return [node, str(tsc), *OPTIONS.split(), "--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable"]


def test_types(compiler: list[str], oauth4webapi: Path, tmp_path: Path) -> None:
    """The only error is in a faulty module, which shows that the check works."""
    console = shutil.copytree(CONSOLE, tmp_path / "console")
    library = console / "oauth4webapi.js"
    shutil.copy(oauth4webapi / "build" / "index.d.ts", library.with_suffix(".d.ts"))
    modules = sorted(str(path) for path in console.glob("*.js") if path != library)
    assert len(modules) > 10
    faulty = tmp_path / "faulty.js"
    faulty.write_text("/** @param {string} text */\nexport function f(text) {\n  return text.missing;\n}\n")
    checked = subprocess.run([*compiler, *modules, faulty.name], capture_output=True, text=True, cwd=tmp_path)
    assert checked.stdout.splitlines() == [
        "faulty.js(3,15): error TS2339: Property 'missing' does not exist on type 'string'."
    ]
