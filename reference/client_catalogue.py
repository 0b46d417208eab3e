"""The client's `_catalogue.py`: what it tells its users to do about each error."""

from __future__ import annotations

import json

from reference.catalogue import CATALOGUE

_HEAD = '''\
# ruff: noqa: E501
"""What to do about each error. Made by `make openapi` from the catalogue of errors: do not edit."""

RESOLUTIONS: dict[str, str] = {
'''


def text() -> str:
    """The module."""
    # JSON's strings are Python's too.
    entries = (f"    {json.dumps(entry.code)}: {json.dumps(entry.resolution)},\n" for entry in CATALOGUE.values())
    return "".join([_HEAD, *entries, "}\n"])
