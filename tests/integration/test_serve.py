"""`make up`'s process: it says where it serves, and ends cleanly however it is told to."""

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
def test_it_serves_until_it_is_told_to_end(tmp_path: Path, times: int) -> None:
    """Ctrl-C reaches a whole group of processes, of which some pass it on: the same signal may come again at once."""
    environment = {**os.environ, "PORT": "0", "LONGSHORE_STACK_FILE": str(tmp_path / "stack.json")}
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


def test_a_signal_that_another_thread_gets_ends_it_too() -> None:
    """The system gives a signal to any thread that takes it, and does not wake the main one for it."""
    program = (
        "import signal, threading\n"
        "from local.__main__ import told_to_end\n"
        "end = told_to_end()\n"
        "take = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "threading.Timer(0.2, take).start()\n"
        "end.recv(1)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60, check=False).returncode == 0
