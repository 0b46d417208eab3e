"""`.local/stack.json`: how other programs on this machine find the local stack that is running."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.environment import CREDENTIALS
from local.naming import REGION

if TYPE_CHECKING:
    from local.stack import LocalStack

_FILE = Path(__file__).resolve().parent.parent / ".local" / "stack.json"


def _file() -> Path:
    # Tests have one of their own, and leave that of a stack that is running alone.
    return Path(os.environ.get("LONGSHORE_STACK_FILE") or _FILE)


@contextmanager
def announced(stack: LocalStack) -> Iterator[None]:
    """While open, the file says where the stack is. One that was started later has the file to itself."""
    path = _file()
    assert stack.template is not None
    content = {
        "url": stack.url,
        "endpoint_url": stack.emulator.url,
        "dynamodb_url": stack.dynamodb_url,
        "region": REGION,
        # They open nothing anywhere, but DynamoDB Local keeps what belongs to each apart.
        "access_key_id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "secret_access_key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        "outputs": dict(stack.template.outputs),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    # At once, so that nobody reads half of it.
    beside.replace(path)
    try:
        yield
    finally:
        if read() == content:
            path.unlink()


def read() -> dict[str, Any] | None:
    """What the file says; None when there is none, or none that can be read."""
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
