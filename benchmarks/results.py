"""The figures of the last run in `results.json`, and the machine on which they were measured."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.dynamodb_local import VERSION as DYNAMODB_LOCAL

if TYPE_CHECKING:
    from benchmarks.targets import Targets

FILE = Path(__file__).parent / "results.json"

PARTS = ("cold", "sizes", "warm", "depth", "lists", "costs", "throughput")
"""The parts of the benchmarks, in the order of measurement."""

_WITHOUT_CHARTS = ("throughput",)


def load(path: Path = FILE) -> dict[str, Any]:
    """Return the stored results by part. Empty if nothing has been measured."""
    if not path.exists():
        return {}
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results


def save(results: dict[str, Any], path: Path) -> None:
    """Write the results in a form that can be compared line by line."""
    ordered = {part: results[part] for part in PARTS if part in results}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")


def digest(results: dict[str, Any]) -> str:
    """Return a digest of the figures in the charts. Charts contain it, and a test compares it."""
    figures = {name: results[name]["figures"] for name in PARTS if name not in _WITHOUT_CHARTS}
    return hashlib.sha256(json.dumps(figures, sort_keys=True).encode()).hexdigest()[:16]


def part(figures: dict[str, Any], targets: Targets) -> dict[str, Any]:
    """Return the figures of a part with the current time and machine."""
    return {"taken": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": machine(targets), "figures": figures}


def machine(targets: Targets) -> dict[str, str]:
    """Return the properties of this machine that affect the figures. They do not identify the machine."""
    info = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.exists() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    of_functions = subprocess.run(
        [targets.python, "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        "processor": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GB",
        "system": system.get("PRETTY_NAME", platform.system()),
        "python": of_functions.stdout.strip(),
        "botocore": version("botocore"),
        "pydantic": version("pydantic"),
        "powertools": version("aws-lambda-powertools"),
        "dynamodb_local": f"DynamoDB Local of amplify-dynamodb-simulator {DYNAMODB_LOCAL}",
    }
