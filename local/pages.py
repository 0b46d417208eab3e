"""The function that serves the console and the API reference, built as `sam build` builds it.

The console may also call a provider on this machine. The deployed console calls only its own host and HTTPS hosts.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from local.template import ROOT, Function
from pages.build import build

SOURCE = ROOT / "functions" / "pages"

# An OpenID Connect provider on this machine has no certificate.
_PROVIDERS = "http://localhost:* http://127.0.0.1:*"


def with_pages(functions: Mapping[str, Function]) -> dict[str, Function]:
    """Return the functions with the built code of the function in `SOURCE`."""
    return {
        name: replace(function, code_path=built()) if function.code_path == SOURCE else function
        for name, function in functions.items()
    }


def built() -> Path:
    """Return the folder of the built function. It is built once per process, and removed at its end."""
    return Path(_folder().name)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="longshore-pages-", ignore_cleanup_errors=True)
    build(Path(folder.name), swagger_ui(), _PROVIDERS)
    return folder


def swagger_ui() -> Path:
    """Return the folder with the published files of Swagger UI."""
    # It is not imported, because it would import Flask.
    spec = importlib.util.find_spec("flask_swagger_ui")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("flask_swagger_ui is not installed", name="flask_swagger_ui")
    return Path(spec.origin).parent / "dist"
