"""The texts of `texts.yaml`, each of which has to be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent


class TextError(Exception):
    """A text is missing, or is told of nothing; the message says which."""


class Texts:
    """`texts("schemas", "Container", "id")`, and what has not been asked for. TextError for what is not there."""

    def __init__(self) -> None:
        self._texts = dict(_leaves(read("texts.yaml")))
        self._unused = set(self._texts)

    def __call__(self, *path: str | int) -> str:
        if path not in self._texts:
            raise TextError(f"texts.yaml has no text for {_name(path)}")
        self._unused.discard(path)
        return self._texts[path]

    def check(self) -> None:
        """TextError when a text is left over."""
        if self._unused:
            raise TextError(f"texts.yaml tells of what there is not: {', '.join(sorted(map(_name, self._unused)))}")


def read(name: str) -> Any:
    """A file of this folder."""
    return yaml.safe_load((_FOLDER / name).read_text(encoding="utf-8"))


def _leaves(tree: Mapping[Any, Any], above: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), str(value)


def _name(path: tuple[Any, ...]) -> str:
    return "/".join(map(str, path))
