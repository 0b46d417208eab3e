"""The parameters and scripts of Systems Manager documents."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.emulator.errors import AwsError

# The folder in which the script of the host document stores command numbers.
STATE_FOLDER = "/run/longshore"


@dataclass(frozen=True)
class Script:
    """The POSIX shell script of a document, and its timeout in seconds."""

    text: str
    timeout: float

    def with_state_in(self, folder: Path) -> "Script":
        """Return the script with another state folder than `STATE_FOLDER`."""
        return Script(self.text.replace(STATE_FOLDER, shlex.quote(str(folder))), self.timeout)


def check_parameters(content: dict[str, Any], given: dict[str, list[str]]) -> dict[str, list[str]]:
    """Check the parameters of a command, and add the defaults of the document.

    Args:
        content: A document of schemaVersion 2.2.
        given: The parameters as in SendCommand.

    Raises:
        AwsError: A parameter is not valid (InvalidParameters).
    """
    known: dict[str, Any] = content.get("parameters") or {}
    for name in given:
        if name not in known:
            raise AwsError("InvalidParameters", f"Parameter {name} is not defined in the document.")
    result = {}
    for name, rule in known.items():
        values = given.get(name)
        if values is None:
            if "default" not in rule:
                raise AwsError("InvalidParameters", f"Parameter {name} is required.")
            default = rule["default"]
            values = [str(value) for value in default] if isinstance(default, list) else [str(default)]
        _check_parameter(name, rule, values)
        result[name] = values
    return result


def _check_parameter(name: str, rule: dict[str, Any], values: list[str]) -> None:
    def refuse(why: str) -> AwsError:
        return AwsError("InvalidParameters", f"Parameter {name} {why}.")

    if rule.get("type") != "StringList" and len(values) != 1:
        raise refuse("takes exactly one value")
    if len(values) < int(rule.get("minItems", 0)):
        raise refuse(f"takes at least {rule['minItems']} values")
    if len(values) > int(rule.get("maxItems", len(values))):
        raise refuse(f"takes at most {rule['maxItems']} values")
    allowed, pattern = rule.get("allowedValues"), rule.get("allowedPattern")
    for value in values:
        if allowed is not None and value not in [str(item) for item in allowed]:
            raise refuse("has a value that is not allowed")
        # As in AWS, the pattern may match a part of the value unless it has anchors.
        if pattern is not None and not re.search(pattern, value):
            raise refuse("does not match the allowed pattern")
        if not int(rule.get("minChars", 0)) <= len(value) <= int(rule.get("maxChars", len(value))):
            raise refuse("has a value of a length that is not allowed")


def render(content: dict[str, Any], values: dict[str, list[str]]) -> Script:
    """Return the script of a document's first step, with the parameters substituted as by SSM Agent.

    A String is inserted unchanged, and a StringList as JSON. Source: amazon-ssm-agent, docparser/parameters.
    """
    inputs = content["mainSteps"][0]["inputs"]
    text = "\n".join(inputs["runCommand"])
    for name, rule in content["parameters"].items():
        value = _as_json(values[name]) if rule["type"] == "StringList" else values[name][0]
        # Not re.sub, which would interpret backslashes in the value.
        text = value.join(re.split(r"{{\s*" + re.escape(name) + r"\s*}}", text))
    return Script(text, timeout_of(content))


def timeout_of(content: dict[str, Any]) -> float:
    """Return the timeout of a document's script in seconds."""
    return float(content["mainSteps"][0]["inputs"].get("timeoutSeconds", 3600))


def _as_json(values: list[str]) -> str:
    """Return JSON with the escapes of Go's encoder."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
