"""Runs the scripts of Systems Manager documents on this machine, as SSM Agent does."""

import os
import signal
import subprocess
from contextlib import suppress

from local.emulator.ssm.documents import Script
from local.emulator.ssm.invocations import Outcome


def run_script(script: Script) -> Outcome:
    """Run a script with the environment of this process.

    When the script exceeds its timeout, its process group is killed. Processes that it started in another session
    continue.
    """
    with subprocess.Popen(
        ["/bin/sh", "-c", script.text],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, error = process.communicate(timeout=script.timeout)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            output, error = process.communicate()
            return Outcome(None, output, error)
    if process.returncode:
        error += f"failed to run commands: exit status {process.returncode}"
    return Outcome(process.returncode, output, error)
