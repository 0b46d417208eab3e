"""The static pages that the local stack serves in addition to the API. A page is served to GET of its exact path."""

from __future__ import annotations

import importlib.util
import mimetypes
from pathlib import Path

from local.gateway import Response
from local.server import Page
from local.template import ROOT

_YAML = "application/yaml"  # RFC 9512
# A page of another site can neither show these pages in a frame nor load their files.
_SECURITY_HEADERS = (
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
)
_TEXT = ("text/", "application/javascript", "application/json", _YAML, "image/svg+xml")

LINKS = {"ReferenceUrl": "/docs", "ConsoleUrl": "/console", "OpenApiUrl": "/openapi.yaml"}
"""The parameters of the template that contain the URLs of the pages."""


def pages() -> dict[str, Page]:
    """Return all static pages of the local stack, by path."""
    return {
        # The files of Swagger UI, which flask-swagger-ui contains (Flask is not used), and the page that loads them.
        **folder(_package("flask_swagger_ui") / "dist", "/docs"),
        **folder(ROOT / "local" / "docs", "/docs"),
        "/openapi.yaml": _page(ROOT / "openapi.yaml", _YAML),
        **folder(ROOT / "console", "/console"),
        # The files refer to each other relative to their folder.
        "/console": _redirect("/console/"),
    }


def folder(root: Path, prefix: str) -> dict[str, Page]:
    """Return a page for each file in a folder, at `{prefix}/{path}`. `index.html` is also served at `prefix`."""
    found: dict[str, Page] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        page = _page(path)
        found[f"{prefix}/{path.relative_to(root).as_posix()}"] = page
        if path == root / "index.html":
            found |= {prefix: page, f"{prefix}/": page}
    return found


def _redirect(to: str) -> Page:
    return lambda: Response(307, [("Location", to), *_SECURITY_HEADERS], b"")


def _page(path: Path, kind: str | None = None) -> Page:
    kind = kind or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if kind.startswith(_TEXT) else ""
    headers = [("Content-Type", f"{kind}{charset}"), ("Cache-Control", "no-cache"), *_SECURITY_HEADERS]
    # The file is read for each request, so that changes are visible while the stack runs.
    return lambda: Response(200, headers, path.read_bytes())


def _package(name: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{name} is not installed", name=name)
    return Path(spec.origin).parent
