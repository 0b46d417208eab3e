"""EventBridge input transformers: values of an event, inserted into a JSON template.

As documented in https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html:
- A placeholder outside of quotes is replaced by its value as JSON, so a string gets quotes.
- A placeholder inside quotes is replaced by its value as text, without escaping. Objects and lists lose their quotes.
- A placeholder whose value is missing in the event is removed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from local.template import TemplateError

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PATH = re.compile(r"\$((?:\.[A-Za-z0-9_/-]+|\[[0-9]+\])*)")
_STEP = re.compile(r"\.([A-Za-z0-9_/-]+)|\[([0-9]+)\]")
# A token of a template: an escaped character of a string, a quote, or a placeholder.
_TOKEN = re.compile(r"\\.|\"|<([A-Za-z0-9_.-]+)>", re.DOTALL)
_PREDEFINED = {
    "aws.events.rule-arn",
    "aws.events.rule-name",
    "aws.events.event",
    "aws.events.event.json",
    "aws.events.event.ingestion-time",
}
_LONGEST_TEMPLATE = 8192
_MOST_PATHS = 100


class TransformError(Exception):
    """The transformed event is not JSON and cannot be delivered."""


class _Missing:
    """The value of a path that is missing in the event."""


_MISSING = _Missing()

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class InputTransformer:
    """An InputTransformer: the path of each variable, as keys and list indices, and the template."""

    paths: Mapping[str, Path]
    template: str

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> InputTransformer:
        """Parse the InputTransformer of a target.

        Raises:
            TemplateError: EventBridge would reject it, or it uses an unsupported syntax (wildcards).
        """
        template = properties["InputTemplate"]
        given = properties.get("InputPathsMap", {})
        if len(template) > _LONGEST_TEMPLATE or len(given) > _MOST_PATHS:
            raise TemplateError("an InputTransformer has a template of at most 8192 characters and at most 100 paths")
        made = cls({name: _path(name, path) for name, path in given.items()}, template)
        names = {match[1] for match in _TOKEN.finditer(template) if match[1]}
        if unknown := sorted(names - given.keys() - _PREDEFINED):
            raise TemplateError(f"the InputTemplate names {', '.join(unknown)}, which the InputPathsMap does not have")
        try:
            json.loads(made._filled(lambda _: None))
        except ValueError:
            raise TemplateError("a target's InputTemplate is not JSON") from None
        return made

    def apply(self, event: Mapping[str, Any], rule_arn: str) -> Any:
        """Transform an event.

        Raises:
            TransformError: The result is not JSON, because a value is missing or contains quotes.
        """
        predefined = {
            "aws.events.rule-arn": rule_arn,
            "aws.events.rule-name": rule_arn.rpartition("/")[2],
            "aws.events.event": {key: value for key, value in event.items() if key != "detail"},
            "aws.events.event.json": dict(event),
            "aws.events.event.ingestion-time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        filled = self._filled(lambda name: predefined[name] if name in predefined else _found(event, self.paths[name]))
        try:
            return json.loads(filled)
        except ValueError as error:
            raise TransformError(f"the transformed event is not JSON: {filled}") from error

    def _filled(self, value_of: Callable[[str], Any]) -> str:
        quoted = False

        def replaced(match: re.Match[str]) -> str:
            nonlocal quoted
            if match[0] == '"':
                quoted = not quoted
            if not match[1]:
                return match[0]
            value = value_of(match[1])
            return _text(value) if quoted else _json(value)

        return _TOKEN.sub(replaced, self.template)


def _path(name: str, path: str) -> Path:
    match = _PATH.fullmatch(path)
    if not _NAME.fullmatch(name) or name.upper().startswith("AWS"):
        raise TemplateError(f"{name} is not a name for a variable of an InputTransformer")
    if match is None:
        raise TemplateError(f"the path {path} is not supported locally")
    return tuple(int(index) if index else key for key, index in _STEP.findall(match[1]))


def _found(event: Any, path: Path) -> Any:
    value = event
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return value


def _json(value: Any) -> str:
    return "" if value is _MISSING else json.dumps(value, separators=(",", ":"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value).replace('"', "")
