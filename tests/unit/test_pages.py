"""Tests of the build of the console and the API reference."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from local.pages import built
from pages import build as pages_build
from pages.bundle import bundle
from pages.errors import BuildError

SITE = built() / "site"
MANIFEST: dict[str, Any] = json.loads((SITE / "manifest.json").read_text())
PAGES = ["/console/", "/docs/"]
IMMUTABLE = "public, max-age=31536000, immutable"


def text_of(path: str) -> str:
    file: str = MANIFEST[path]["file"]
    return (SITE / file).read_text(encoding="utf-8")


# --- The files --------------------------------------------------------------------------------------------------------


def test_the_package_contains_only_what_is_served() -> None:
    files = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*") if path.is_file()}
    assert files == {entry["file"] for entry in MANIFEST.values()} | {"manifest.json"}
    # Python caches the module if another test of this process has imported it.
    assert {path.name for path in built().iterdir()} - {"__pycache__"} == {"app.py", "site"}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_only_files_of_its_folder_that_never_change(page: str) -> None:
    named = re.findall(r'\s(?:href|src)="([^"#]+)"', text_of(page))
    loaded = [name for name in named if name != "../openapi.yaml"]
    assert len(loaded) >= 4
    for name in loaded:
        entry = MANIFEST[f"{page}{name}"]
        assert entry["headers"]["Cache-Control"] == IMMUTABLE
        digest = re.fullmatch(r"[a-z-]+\.([0-9a-f]{16})\.(?:js|css|svg)", name)
        assert digest is not None, name
        assert entry["headers"]["ETag"] == f'W/"{digest[1]}"'


def test_a_changed_file_has_another_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = copy_of_the_sources(tmp_path)
    monkeypatch.setattr(pages_build, "ROOT", root)
    before = build_copy(root, tmp_path / "a")
    assert build_copy(root, tmp_path / "b") == before
    with (root / "console" / "clock.js").open("a") as module:
        module.write("// changed\n")
    after = build_copy(root, tmp_path / "c")
    changed = {re.sub(r"\.[0-9a-f]{16}\.", ".", path) for path in after.keys() - before.keys()}
    assert changed == {"/console/app.js"}
    assert after["/console/"]["headers"]["ETag"] != before["/console/"]["headers"]["ETag"]


def test_only_files_with_a_digest_are_immutable() -> None:
    others = {path for path, entry in MANIFEST.items() if entry["headers"]["Cache-Control"] != IMMUTABLE}
    pages = {name for page in PAGES for name in (page, f"{page}index.html")}
    assert others == {*pages, "/docs/LICENSE.txt", "/openapi.yaml"}
    assert {MANIFEST[path]["headers"]["Cache-Control"] for path in others} == {"no-cache"}


def test_every_file_has_the_security_headers() -> None:
    for path, entry in MANIFEST.items():
        headers = entry["headers"]
        assert headers["Referrer-Policy"] == "no-referrer", path
        is_public = path in {"/openapi.yaml", "/docs/LICENSE.txt"} or re.fullmatch(r"/docs/.+\.(css|js|svg)", path)
        assert headers["Cross-Origin-Resource-Policy"] == ("cross-origin" if is_public else "same-origin"), path
        assert ("Access-Control-Allow-Origin" in headers) == (path == "/openapi.yaml"), path
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], path
        assert headers["Content-Security-Policy"].startswith("default-src "), path
        assert headers["Vary"] == "Accept-Encoding", path
        assert headers["Content-Type"].endswith("; charset=utf-8"), path


def policy(page: str, manifest: dict[str, Any] = MANIFEST) -> dict[str, str]:
    rules = manifest[page]["headers"]["Content-Security-Policy"].split(";")
    return dict(rule.strip().split(" ", 1) for rule in rules)


def test_only_scripts_of_the_console_run() -> None:
    rules = policy("/console/")
    assert rules["default-src"] == "'self'"
    assert "script-src" not in rules
    assert rules["require-trusted-types-for"] == "'script'"


def test_the_console_calls_only_its_host_and_https(tmp_path: Path) -> None:
    """The base URL of another stack, and the endpoints of the provider, are known only when the console runs."""
    deployed = build_copy(copy_of_the_sources(tmp_path), tmp_path / "target")
    assert policy("/console/", deployed)["connect-src"] == "'self' https:"
    # The local stack allows a provider on this machine.
    assert policy("/console/")["connect-src"] == "http://localhost:* http://127.0.0.1:* 'self' https:"
    assert "sandbox" not in policy("/console/")


def test_the_policy_of_the_reference_forbids_other_hosts() -> None:
    rules = policy("/docs/")
    assert "allow-same-origin" not in rules.pop("sandbox")
    assert rules.pop("img-src") == "'self' data:"
    assert rules.pop("style-src") == "'self' 'unsafe-inline'"
    assert set(rules.values()) == {"'self'", "'none'"}


@pytest.mark.parametrize("name", ["console/console.css", "pages/docs/docs.js", "openapi.yaml", "console/dom.js"])
def test_a_missing_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    root = copy_of_the_sources(tmp_path)
    monkeypatch.setattr(pages_build, "ROOT", root)
    (root / name).unlink()
    with pytest.raises(BuildError, match=Path(name).name):
        build_copy(root, tmp_path / "target")


def test_a_reference_to_a_file_that_is_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = copy_of_the_sources(tmp_path)
    monkeypatch.setattr(pages_build, "ROOT", root)
    page = root / "console" / "index.html"
    page.write_text(page.read_text().replace('src="icon.svg"', 'src="photo.svg"'))
    with pytest.raises(BuildError, match=r"photo\.svg"):
        build_copy(root, tmp_path / "target")


def copy_of_the_sources(folder: Path) -> Path:
    root = folder / "root"
    for name in ("console", "pages/docs", "functions/pages"):
        shutil.copytree(pages_build.ROOT / name, root / name)
    shutil.copy(pages_build.ROOT / "openapi.yaml", root / "openapi.yaml")
    swagger_ui = root / "swagger-ui"
    swagger_ui.mkdir()
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "LICENSE"):
        (swagger_ui / name).write_text(f"/* {name} */")
    return root


def build_copy(root: Path, target: Path) -> dict[str, Any]:
    pages_build.build(target, root / "swagger-ui")
    manifest: dict[str, Any] = json.loads((target / "site" / "manifest.json").read_text())
    return manifest


# --- The bundle -------------------------------------------------------------------------------------------------------

MODULES = {
    "a.js": """import * as shared from "./shared.js";
import { B, double as twice } from "./b.js";
const local = "a";
export class App {}
console.log(local, twice(shared.ONE), new B().name, shared.count());
""",
    "b.js": """import {
  ONE,
  count,
} from "./shared.js";
const local = "b";
export class B { name = local; }
export async function later() {}
export function double(value) { count(); return value + ONE; }
""",
    "shared.js": """let calls = 0;
export const ONE = 1;
export function count() { return ++calls; }
""",
}


def write(folder: Path, modules: dict[str, str]) -> Path:
    for name, source in modules.items():
        (folder / name).write_text(source)
    return folder / "a.js"


def test_a_bundle_does_what_its_modules_do(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing: it runs the bundle")
    entry = write(tmp_path, MODULES)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "bundle.js").write_text(bundle(entry))
    for name in ("a.js", "bundle.js"):
        ran = subprocess.run([node, name], cwd=tmp_path, capture_output=True, text=True)
        assert (ran.stdout, ran.stderr) == ("a 2 b 2\n", ""), name


def test_each_module_is_in_the_bundle_once(tmp_path: Path) -> None:
    text = bundle(write(tmp_path, MODULES))
    assert re.findall(r"^const (\$\w+) = ", text, re.MULTILINE) == ["$shared", "$b", "$a"]
    assert not re.search(r"^(?:import|export)\b", text, re.MULTILINE)


@pytest.mark.parametrize(
    "statement",
    [
        'import "./shared.js";',
        'import shared from "./shared.js";',
        'import { ONE } from "shared";',
        'import { ONE } from "https://example.com/shared.js";',
        "export let calls = 0;",
        "export default App;",
        "export { App };",
        'export * from "./shared.js";',
    ],
)
def test_an_unsupported_statement(tmp_path: Path, statement: str) -> None:
    with pytest.raises(BuildError, match=re.escape(statement[:20])):
        bundle(write(tmp_path, {**MODULES, "a.js": f"const x = 1;\n{statement}\n"}))


def test_circular_imports(tmp_path: Path) -> None:
    modules = {"a.js": 'import { b } from "./b.js";\n', "b.js": 'import { a } from "./a.js";\n'}
    with pytest.raises(BuildError, match="a -> b -> a"):
        bundle(write(tmp_path, modules))


def test_a_missing_module(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"a: there is no b\.js"):
        bundle(write(tmp_path, {"a.js": 'import { b } from "./b.js";\n'}))
