"""The program that test_killed_processes.py kills. For each line on stdin, a seed, it forks a process.

A forked process performs operations immediately. A new process would often be killed during its imports.
"""

import os
import random
import sys
import threading
import traceback
from typing import TextIO

from longshore.domain.errors import LongshoreError
from longshore.domain.lifecycle import Operation
from longshore.domain.models import OperationRequest
from longshore.wiring import api_functions, event_functions

CONTAINERS = [f"{number:024x}" for number in range(0xA1, 0xA7)]
THREADS = 4


def fork_for_each_line() -> None:
    """Fork a process for each line. It prints its pid when it starts, and `gone` is printed after its end."""
    # Output of the library must not mix with the lines that the test reads.
    to_test = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            work(int(line), to_test)
            os._exit(0)
        os.waitpid(pid, 0)
        print("gone", file=to_test, flush=True)


def work(seed: int, to_test: TextIO) -> None:
    """Perform operations, and occasionally a sweep, from several threads forever."""
    # Create clients after the fork, because processes must not share their sockets.
    api_functions.operations()
    print(os.getpid(), file=to_test, flush=True)
    workers = [threading.Thread(target=operate, args=(seed * THREADS + number,)) for number in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def operate(seed: int) -> None:
    chance = random.Random(seed)
    while True:
        request = OperationRequest(
            container_id=chance.choice(CONTAINERS),
            operation=chance.choice(list(Operation)),
            actor="operator",
            request_id=None,
            idempotency_key=f"key-{chance.random()}" if chance.random() < 0.5 else None,
        )
        try:
            if chance.random() < 0.1:
                event_functions.recovery("recover", lambda: True).sweep()
            else:
                api_functions.operations().perform(request)
        except LongshoreError:
            continue
        except BaseException:
            # An unexpected error ends the process before it is killed, which fails the test.
            traceback.print_exc()
            os._exit(1)


if __name__ == "__main__":
    fork_for_each_line()
