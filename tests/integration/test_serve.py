"""Tests of the process of `make up`: it prints its URL, and ends cleanly on signals."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from local.template import ROOT


@pytest.mark.parametrize("times", [1, 200])
def test_it_serves_until_a_signal_ends_it(tmp_path: Path, times: int) -> None:
    """Ctrl-C reaches the whole process group, and some processes forward it, so the signal may arrive repeatedly."""
    environment = {
        **os.environ,
        "PORT": "0",
        "LONGSHORE_STACK_FILE": str(tmp_path / "stack.json"),
        "PYTHONPATH": f"{ROOT / 'layers/common'}{os.pathsep}{ROOT}",
    }
    command = [sys.executable, "-m", "local", "serve"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            assert httpx.get(f"{url}/containers/507f1f77bcf86cd799439011").status_code == 401
            for _ in range(times):
                for number in (signal.SIGTERM, signal.SIGINT):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, number)
            assert process.wait(60) == 0
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []


def test_a_signal_to_another_thread_ends_it() -> None:
    """The system may deliver a signal to any thread, and does not wake the main thread."""
    program = (
        "import signal, threading\n"
        "from local.__main__ import stop_signal\n"
        "end = stop_signal()\n"
        "take = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "threading.Timer(0.2, take).start()\n"
        "end.recv(1)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False).returncode == 0
