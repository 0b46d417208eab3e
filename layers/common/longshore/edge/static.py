"""Static files with their headers, and conditional requests for them (RFC 9110).

`pages/build.py` writes the files and the manifest. API Gateway compresses the responses.
"""

import json
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Self, TypedDict

from longshore.domain.errors import RouteNotFoundError
from longshore.edge.http import Document, PublicRequest, header_values

MANIFEST = "manifest.json"


class _File(TypedDict):
    """An entry of the manifest: the file, relative to the folder, and the headers of its response."""

    file: str
    headers: dict[str, str]


class StaticFiles:
    """The files that the manifest of a folder lists. Paths that it does not list do not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def beside(cls, module: str) -> Self:
        """Return the files in the folder `site` beside a module, given by its `__file__`."""
        return cls(Path(module).with_name("site"))

    @cached_property
    def _files(self) -> dict[str, _File]:
        # Read on first use: the folder exists only in the built function.
        files: dict[str, _File] = json.loads((self._folder / MANIFEST).read_text(encoding="utf-8"))
        return files

    def get(self, request: PublicRequest) -> Document:
        """Return the response to a GET or HEAD request.

        Raises:
            RouteNotFoundError: There is no file at the path, or the method is another one.
        """
        method, path = request.event["httpMethod"], request.path
        if method not in ("GET", "HEAD"):
            raise RouteNotFoundError
        found = self._files.get(path)
        if found is None:
            return self._redirect(path)
        headers = found["headers"]
        if _matches(header_values(request.event, "If-None-Match"), headers["ETag"]):
            return Document("", headers, HTTPStatus.NOT_MODIFIED)
        if method == "HEAD":
            return Document("", headers)
        return Document((self._folder / found["file"]).read_bytes().decode("utf-8"), headers)

    def _redirect(self, path: str) -> Document:
        """Redirect `/console` to `/console/`, because the links of a page are relative to its folder."""
        if f"{path}/" not in self._files:
            raise RouteNotFoundError
        # The browser resolves this with the URL of the request, which begins with the base path of the API.
        location = f"{path.rpartition('/')[2]}/"
        headers = {"Location": location, "Content-Type": "text/plain", "Cache-Control": "no-cache"}
        return Document("", headers, HTTPStatus.TEMPORARY_REDIRECT)


def _matches(conditions: list[str], etag: str) -> bool:
    """Return whether an If-None-Match header names the entity tag, by weak comparison."""
    named = [tag.strip() for condition in conditions for tag in condition.split(",")]
    return "*" in named or etag.removeprefix("W/") in [tag.removeprefix("W/") for tag in named]
