"""Builds the files of the function that serves the console and the API reference.

build    app.py                  the handler
         site/manifest.json      the files by their paths below the base path of the API, with their headers
         site/console, site/docs the pages

The files that a page loads have a digest of their content in their names, so browsers never load them again. The pages
and `openapi.yaml` are validated with each use. API Gateway compresses responses, so all files have to be text.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from pages.bundle import bundle
from pages.errors import BuildError

ROOT = Path(__file__).resolve().parent.parent

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".yaml": "application/yaml; charset=utf-8",  # RFC 9512
}
# Further headers are in SECURITY_HEADERS of edge/http.py.
_REFERRER = {"Referrer-Policy": "no-referrer"}
# Pages of other sites cannot load the files of the console.
_PRIVATE = {"Cross-Origin-Resource-Policy": "same-origin"}
# The page of the API reference runs Swagger UI. It has an origin of its own, so that it can neither read what the
# console stores nor call the console. To it, its files are those of another origin; they are public.
_SANDBOX = "sandbox allow-scripts allow-forms allow-downloads allow-popups allow-popups-to-escape-sandbox"
_PUBLIC = {"Cross-Origin-Resource-Policy": "cross-origin"}
# A browser does not show a sandboxed page that has another opener policy. A page of an own origin needs none.
_NO_OPENER_POLICY = {"Cross-Origin-Opener-Policy": "unsafe-none"}
_READABLE = {"Access-Control-Allow-Origin": "*"}
_NO_FRAMES = "frame-ancestors 'none'"
# A page contains its own policy, except frame-ancestors and sandbox, which are only valid in a header.
_POLICY = re.compile(r'<meta\s+http-equiv="Content-Security-Policy"\s+content="([^"]+)"')
_REFERENCE = re.compile(r'(?<=\s)(src|href)="([\w.-]+)"')


def build(target: Path, swagger_ui: Path, more_sources: str = "") -> None:
    """Build the function.

    Args:
        target: The folder to build into. Its folder `site` is replaced.
        swagger_ui: The folder with the published files of Swagger UI.
        more_sources: Source expressions of hosts that the console may call, besides its own host and HTTPS hosts.

    Raises:
        BuildError: A file is missing, or the modules of the console cannot be bundled.
    """
    site = target / "site"
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    shutil.copy(ROOT / "functions" / "pages" / "app.py", target / "app.py")
    docs = ROOT / "pages" / "docs"
    manifest = dict(
        [
            *_page(site / "console", ROOT / "console" / "index.html", _console(), more_sources),
            *_page(site / "docs", docs / "index.html", _reference(docs, swagger_ui), sandboxed=True),
            # Its license requires a copy.
            _file(site / "docs" / "LICENSE.txt", _read(swagger_ui / "LICENSE"), "/docs/LICENSE.txt", _PUBLIC),
            # The page of the API reference loads it with a script.
            _file(site / "openapi.yaml", _read(ROOT / "openapi.yaml"), "/openapi.yaml", _PUBLIC | _READABLE),
        ]
    )
    (site / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _console() -> dict[str, str]:
    """Return the files that the console loads, by name."""
    folder = ROOT / "console"
    return {
        "app.js": bundle(folder / "app.js"),
        **{name: _read(folder / name) for name in ("console.css", "icon.svg")},
    }


def _reference(docs: Path, swagger_ui: Path) -> dict[str, str]:
    """Return the files that the page of the API reference loads, by name."""
    return {
        **{name: _read(swagger_ui / name) for name in ("swagger-ui.css", "swagger-ui-bundle.js")},
        **{name: _read(docs / name) for name in ("docs.css", "docs.js")},
        "icon.svg": _read(ROOT / "console" / "icon.svg"),
    }


def _page(
    folder: Path, source: Path, files: Mapping[str, str], more_sources: str = "", *, sandboxed: bool = False
) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Write a page and the files that it loads, and yield their entries of the manifest.

    Args:
        folder: The folder to write.
        source: The HTML of the page.
        files: The files that the page loads, by name.
        more_sources: Source expressions of further hosts that the page may call.
        sandboxed: Whether the page has an origin of its own instead of that of the API.
    """
    folder.mkdir()
    headers = _PUBLIC if sandboxed else _PRIVATE
    names = {}
    for name, text in files.items():
        stem, _, suffix = name.rpartition(".")
        names[name] = f"{stem}.{_digest(text)}.{suffix}"
        yield _file(folder / names[name], text, f"/{folder.name}/{names[name]}", headers, immutable=True)
    html = _read(source)
    if missing := {name for _, name in _REFERENCE.findall(html)} - names.keys():
        raise BuildError(f"{source}: the build has no {', '.join(sorted(missing))}")
    html = _REFERENCE.sub(lambda reference: f'{reference[1]}="{names[reference[2]]}"', html)
    if more_sources:
        html = html.replace("connect-src ", f"connect-src {more_sources} ", 1)
    policy = _POLICY.search(html)
    if policy is None:
        raise BuildError(f"{source} has no Content-Security-Policy")
    rules = f"{policy[1]}; {_SANDBOX}" if sandboxed else policy[1]
    own = _PRIVATE | _NO_OPENER_POLICY if sandboxed else _PRIVATE
    path, entry = _file(folder / source.name, html, f"/{folder.name}/", own, policy=rules)
    yield path, entry
    yield f"{path}{source.name}", entry


def _file(
    path: Path,
    text: str,
    url: str,
    more: Mapping[str, str],
    *,
    policy: str = "default-src 'none'",
    immutable: bool = False,
) -> tuple[str, Mapping[str, object]]:
    """Write a file, and return its entry of the manifest, with more headers."""
    path.write_bytes(text.encode("utf-8"))
    site = path.parents[url.count("/") - 1]
    headers = {
        "Content-Type": _TYPES[path.suffix],
        "Cache-Control": "public, max-age=31536000, immutable" if immutable else "no-cache",
        # Weak, because API Gateway may compress the response.
        "ETag": f'W/"{_digest(text)}"',
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": f"{policy}; {_NO_FRAMES}",
        **_REFERRER,
        **more,
    }
    return url, {"file": path.relative_to(site).as_posix(), "headers": headers}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def _read(path: Path) -> str:
    if not path.is_file():
        raise BuildError(f"there is no {path}")
    return path.read_bytes().decode("utf-8")
