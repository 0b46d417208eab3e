"""`.local/stack.json`, by which other programs on this machine find the running local stack."""

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
    # Tests use another file, so that they do not interfere with a running stack.
    return Path(os.environ.get("LONGSHORE_STACK_FILE") or _FILE)


@contextmanager
def announced(stack: LocalStack) -> Iterator[None]:
    """Write the file, and delete it when the context closes unless another stack has replaced it."""
    path = _file()
    assert stack.template is not None
    content = {
        "url": stack.url,
        "endpoint_url": stack.emulator.url,
        "dynamodb_url": stack.dynamodb_url,
        "region": REGION,
        # No AWS account accepts them, but DynamoDB Local can separate data by credentials.
        "access_key_id": CREDENTIALS["AWS_ACCESS_KEY_ID"],
        "secret_access_key": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        "outputs": dict(stack.template.outputs),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    # Atomic, so that readers never see an incomplete file.
    beside.replace(path)
    try:
        yield
    finally:
        if read() == content:
            path.unlink()


def read() -> dict[str, Any] | None:
    """Return the content of the file, or None if it does not exist or is not readable."""
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
