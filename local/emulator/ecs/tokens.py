"""clientTokens: what makes a repeat of RunTask start nothing."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

TOKEN_LIFETIME = timedelta(hours=24)


@dataclass
class Token:
    """What a clientToken stands for."""

    used_at: datetime
    fingerprint: str
    task_arns: list[str]
    failures: list[dict[str, str]]


def fingerprint(parameters: dict[str, Any]) -> str:
    """What must be equal in requests with the same clientToken; a cluster's name and its ARN are."""
    same = {name: value for name, value in parameters.items() if name not in ("clientToken", "cluster")}
    return json.dumps(same, sort_keys=True)
