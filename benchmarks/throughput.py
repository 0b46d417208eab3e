"""Throughput of starts under the default quotas of ECS, on a virtual clock.

The engine runs on an emulated AWS with token buckets for the quotas of ECS, events of tasks, and the sweeps. Nothing is
measured in real time, so the figures do not depend on the machine. The model is in `tests/scale`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from local.template import ROOT

_SECONDS = 300
# Quotas for starts: 40 a second on EC2, 20 on Fargate. Callers request fewer starts, or half as many more.
_CASES = [
    {"fargate": fargate, "per_second": quota * load, "run_delay": delay}
    for fargate, quota in ((False, 40), (True, 20))
    for load, delay in ((0.95, 1), (0.95, 3), (0.95, 30), (1.5, 3))
]


def measure(*, quick: bool) -> dict[str, Any]:
    """Run all cases for five minutes of virtual time. With `quick`, run one for three seconds."""
    seconds = 3 if quick else _SECONDS
    program = "import json, sys; from scale.throughput import starts; print(json.dumps(starts(**json.load(sys.stdin))))"
    path = [ROOT / "layers" / "common", ROOT, ROOT / "tests"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    cases = []
    for case in _CASES[:1] if quick else _CASES:
        done = subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(case | {"seconds": seconds}),
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        cases.append(json.loads(done.stdout))
    return {"seconds": seconds, "cases": cases}
