"""The static pages that the local stack serves beside the API. A page is an answer to a GET of its exact path."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from local.gateway import Response
from local.server import Page

_TEXT = ("text/", "application/javascript", "application/json", "image/svg+xml")


def folder(root: Path, prefix: str) -> dict[str, Page]:
    """A page for each file below a folder, at `{prefix}/{its path}`; an `index.html` is at `prefix` too."""
    found: dict[str, Page] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        page = _page(path)
        found[f"{prefix}/{path.relative_to(root).as_posix()}"] = page
        if path == root / "index.html":
            found |= {prefix: page, f"{prefix}/": page}
    return found


def _page(path: Path) -> Page:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    charset = "; charset=utf-8" if kind.startswith(_TEXT) else ""
    headers = [("Content-Type", f"{kind}{charset}"), ("Cache-Control", "no-cache")]
    # Read at each request, so that a page can be worked on while the stack runs.
    return lambda: Response(200, headers, path.read_bytes())
