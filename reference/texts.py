"""The descriptions and examples of the API reference, from `texts.yaml`. Each of them must be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent


class TextError(Exception):
    """A text is missing or unused. The message names it."""


class Texts:
    """Texts by path, as in `texts("schemas", "Container", "id")`. Records which texts are used."""

    def __init__(self) -> None:
        self._texts = dict(_leaves(read("texts.yaml")))
        self._unused = set(self._texts)

    def __call__(self, *path: str | int) -> str:
        if path not in self._texts:
            raise TextError(f"texts.yaml has no text for {_name(path)}")
        self._unused.discard(path)
        return self._texts[path]

    def check(self) -> None:
        """Raise TextError if a text is unused."""
        if self._unused:
            raise TextError(f"texts.yaml has unused texts: {', '.join(sorted(map(_name, self._unused)))}")


def read(name: str) -> Any:
    """Read a YAML file of this folder."""
    return yaml.safe_load((_FOLDER / name).read_text(encoding="utf-8"))


def _leaves(tree: Mapping[Any, Any], above: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), str(value)


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))
