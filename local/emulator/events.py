"""Events that PutEvents has accepted, as rules and targets receive them."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from local.naming import ACCOUNT_ID, REGION


def accepted(request: Mapping[str, Any], response: bytes) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the events of a call of PutEvents that the response accepts, each with the name of its bus."""
    results = json.loads(response or b"{}").get("Entries", [])
    for entry, result in zip(request.get("Entries", []), results, strict=False):
        if "EventId" in result:
            # The bus may be given by its ARN.
            yield _event(entry, result["EventId"]), str(entry.get("EventBusName", "default")).rpartition("/")[2]


def _event(entry: Mapping[str, Any], identity: str) -> dict[str, Any]:
    time = datetime.fromtimestamp(entry["Time"], UTC) if "Time" in entry else datetime.now(UTC)
    return {
        "version": "0",
        "id": identity,
        "detail-type": entry["DetailType"],
        "source": entry["Source"],
        "account": ACCOUNT_ID,
        "time": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": entry.get("Resources", []),
        "detail": json.loads(entry["Detail"]),
    }
