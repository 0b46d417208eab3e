"""Requests beside more waiting requests than the stack permits: `python -m benchmarks.waiting`.

The local stack has a small quota of concurrent executions, and its functions and the load are separate processes. The
load begins more requests with `wait_for` per second than the quota could hold. Other requests are measured before,
during and after it, one after the other, in one run. Only the ratios are meaningful.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import httpx

from benchmarks.figures import middle
from local import tokens
from local.seed import PROJECT, container_id
from local.stack import LocalStack

_WAITED_FOR = container_id(11)  # never becomes `failed`
_PATHS = (
    f"/containers/{container_id(17)}",
    f"/containers/{container_id(17)}/status-logs",
    f"/projects/{PROJECT}/containers",
)
_RATE = 10  # waiting requests that begin per second
_TIMEOUT = 25  # seconds that each of them waits


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.waiting", description=__doc__)
    parser.add_argument("--quota", type=int, default=60, help="concurrent executions of the account")
    parser.add_argument("--places", type=int, default=20, help="value of WaitConcurrency")
    parser.add_argument("--seconds", type=int, default=40, help="duration of the load")
    parser.add_argument("--load", nargs=2, metavar=("URL", "TOKEN"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        url, token = options.load
        print(json.dumps(asyncio.run(_load(url, token, options.seconds))))
        return 0
    parameters = {
        "WaitConcurrency": str(options.places),
        "AuthorizerCacheSeconds": "3600",
        "ThrottleRate": "1000",
        "ThrottleBurst": "1000",
        "LogLevel": "ERROR",
    }
    with LocalStack(port=0, parameters=parameters, events=False, concurrency=options.quota) as stack:
        token = tokens.token("operator")
        arguments = ["--seconds", str(options.seconds), "--load", stack.url, token]
        command = [sys.executable, "-m", "benchmarks.waiting", *arguments]
        before = _measure(stack.url, token, options.seconds / 4)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            # The places, or without a limit all executions, are taken after a few seconds.
            time.sleep(options.quota / _RATE + 2)
            during = _measure(stack.url, token, options.seconds / 2)
            waited = json.loads(load.communicate()[0])
        after = _measure(stack.url, token, options.seconds / 4)
    _report(before, during, after, waited)
    return 0


def _report(before: Any, during: Any, after: Any, waited: Any) -> None:
    idle = middle(before["times"] + after["times"])
    print(f"waiting requests: {waited}")
    for name, phase in (("before", before), ("during", during), ("after", after)):
        times = sorted(phase["times"]) or [float("nan")]
        late = times[int(len(times) * 0.95)]
        print(
            f"{name:7} {phase['statuses']}  median {middle(times) / idle:.2f}, 95th percentile {late / idle:.2f}"
            " of the median of the idle stack"
        )


def _measure(url: str, token: str, seconds: float) -> dict[str, Any]:
    """Make other requests one after the other. Returns the times of successful ones in seconds, and all statuses."""
    times, statuses = [], Counter[int]()
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for path in _PATHS:
                began = time.perf_counter()
                response = client.get(f"{url}/api/v1{path}")
                statuses[response.status_code] += 1
                if response.status_code == 200:
                    times.append(time.perf_counter() - began)
            time.sleep(0.05)
    return {"times": times, "statuses": dict(statuses)}


async def _load(url: str, token: str, seconds: int) -> dict[str, int]:
    """Begin waiting requests at a constant rate. Returns how many got each status."""
    statuses = Counter[str]()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, limits=limits, timeout=60) as client:

        async def wait() -> None:
            path = f"/api/v1/containers/{_WAITED_FOR}?wait_for=failed&timeout={_TIMEOUT}"
            response = await client.get(f"{url}{path}")
            code = response.json().get("code", "")
            retry = response.headers.get("Retry-After")
            statuses[f"{response.status_code} {code}{f', Retry-After {retry}' if retry else ''}"] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(seconds * _RATE):
                group.create_task(wait())
                await asyncio.sleep(1 / _RATE)
    return dict(statuses)


if __name__ == "__main__":
    sys.exit(main())
