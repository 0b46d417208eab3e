"""Runs targets in separate processes: cold, to measure their CPU time, or kept warm and called over a pipe."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.targets import HERE, WORK, Target
from local.template import REGION

_CHILDREN = HERE / "children"


def _environment(target: Target, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a function in Lambda, without variables of this process."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # In Lambda, /opt/python and /var/task are read-only.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(map(str, [*target.path, _CHILDREN])),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "longshorelocal",
        "AWS_SECRET_ACCESS_KEY": "longshorelocal",
        "AWS_SESSION_TOKEN": "longshorelocal",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
        "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "LAMBDA_TASK_ROOT": str(target.path[0]),
        **target.environment,
        **(more or {}),
    }


@dataclass(frozen=True)
class Cold:
    """A cold start of a target with the arguments of `children/ready.py`."""

    target: Target
    arguments: tuple[str, ...]
    environment: Mapping[str, str]

    def cpu(self, python: Path) -> float:
        """Return the CPU seconds (user and system) from the start of the process until it is ready.

        Raises:
            RuntimeError: The process failed.
        """
        process = self._start(python, {})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{self.target.name} {' '.join(self.arguments)}: {self._error(python)}")
        return usage.ru_utime + usage.ru_stime

    def check(self, python: Path) -> dict[str, Any]:
        """Run without measuring. Return the services with clients, the models and the response.

        Raises:
            RuntimeError: The process failed.
        """
        report = WORK / "check.json"
        report.unlink(missing_ok=True)
        process = self._start(python, {"CHECK": str(report)})
        if process.wait():
            raise RuntimeError(f"{self.target.name} {' '.join(self.arguments)}: {self._error(python)}")
        checked: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return checked

    def _start(self, python: Path, more: Mapping[str, str], stderr: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [python, _CHILDREN / "ready.py", *self.arguments],
            env=_environment(self.target, {**self.environment, **more}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
        )

    def _error(self, python: Path) -> str:
        return self._start(python, {}, subprocess.PIPE).communicate()[1][-3000:]


class Warm:
    """A target that is kept warm in a separate process. A context manager."""

    def __init__(
        self, python: Path, target: Target, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._name = target.name
        self._command = [str(python), str(_CHILDREN / "serve.py"), *arguments]
        self._environment = _environment(target, environment)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def batch(self, event: Any, calls: int) -> float:
        """Call the function repeatedly and return the CPU seconds per call."""
        return float(self._ask({"do": "batch", "event": event, "calls": calls})["cpu"]) / 1e9 / calls

    def call(self, event: Any) -> dict[str, Any]:
        """Call the function once and return `answer`, `seconds`, `cpu`, `printed` (bytes) and `calls` (to AWS)."""
        return self._ask({"do": "call", "event": event})

    def delay(self, seconds: float) -> None:
        """Delay each following AWS call."""
        self._ask({"do": "delay", "seconds": seconds})

    def _ask(self, command: Any) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with code {process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise RuntimeError(f"{self._name}:\n{answer['failed']}")
        return answer
