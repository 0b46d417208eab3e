"""The files in `.local/stacks`, by which other programs of the same user find the running local stacks.

Each stack has a file named after its port. It contains the stack's secrets, so only its owner can read it.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from local import tokens
from local.naming import REGION

if TYPE_CHECKING:
    from local.stack import LocalStack

_FOLDER = Path(__file__).resolve().parent.parent / ".local" / "stacks"


class StackNotFoundError(Exception):
    """No local stack is running, or several are and none was selected. The message says how to correct it."""


def _folder() -> Path:
    # Tests use another folder, so that they do not interfere with a running stack.
    return Path(os.environ.get("LONGSHORE_STACKS") or _FOLDER)


@contextmanager
def announced(stack: LocalStack) -> Iterator[Path]:
    """Write the file of a stack, and delete it when the context closes unless another stack has replaced it."""
    assert stack.template is not None
    content = {
        "url": stack.url,
        "endpoint_url": stack.emulator.url,
        "dynamodb_url": stack.dynamodb_url,
        "region": REGION,
        "access_key_id": stack.credentials.access_key_id,
        "secret_access_key": stack.credentials.secret_access_key,
        "token_key": tokens.key(),
        "outputs": dict(stack.template.outputs),
        # Lists of values are of no use to the readers.
        "parameters": {name: value for name, value in stack.parameters.items() if isinstance(value, str)},
    }
    path = _folder() / f"{urlsplit(stack.url).port}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, json.dumps(content, indent=2) + "\n")
    try:
        yield path
    finally:
        if _read(path) == content:
            path.unlink()


def find(port: str | None = None) -> dict[str, Any]:
    """Return the content of the file of a running stack.

    Args:
        port: The port of the stack; None selects the only one.

    Raises:
        StackNotFoundError: No such stack is running, or several are and there is no port.
    """
    if port is not None and not (port.isascii() and port.isdecimal()):
        raise StackNotFoundError(f'PORT must be the port of a local stack, not "{port}".')
    read = (_read(path) for path in sorted(_folder().glob("*.json")))
    # A process that was killed leaves its file behind.
    running = {str(urlsplit(found["url"]).port): found for found in read if found is not None and _is_running(found)}
    if port is not None:
        running = {own: found for own, found in running.items() if own == port}
    if not running:
        which = "" if port is None else f" on port {port}"
        raise StackNotFoundError(f"No local stack is running{which}: start it with `make up`.")
    if len(running) > 1:
        ports = ", ".join(running)
        raise StackNotFoundError(f"Several local stacks are running (ports {ports}): select one with PORT.")
    (found,) = running.values()
    return found


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    # The file has its mode before it has content.
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    # Atomic, so that readers never see an incomplete file.
    beside.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    """Return the content of a file, or None if it does not exist or is not readable."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _is_running(found: dict[str, Any]) -> bool:
    return all(_listens(str(found.get(name, ""))) for name in ("url", "endpoint_url", "dynamodb_url"))


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    if parts.hostname is None:
        return False
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname, port), timeout=2):
            return True
    except OSError:
        return False
