"""Client tokens, which make RunTask idempotent."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

TOKEN_LIFETIME = timedelta(hours=24)


@dataclass
class Token:
    """The stored request and tasks of a clientToken."""

    used_at: datetime
    fingerprint: str
    task_arns: list[str]
    failures: list[dict[str, str]]


def fingerprint(parameters: dict[str, Any]) -> str:
    """Return the parts of a request that must be equal for the same clientToken. Cluster names and ARNs are equal."""
    same = {name: value for name, value in parameters.items() if name not in ("clientToken", "cluster")}
    return json.dumps(same, sort_keys=True)
