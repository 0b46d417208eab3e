"""The start of an execution environment, before its first request. A function imports this module before all others.

Lambda gives the start a processor of its own and nobody waits for it in a warm environment, so what a handler needs is
made now. While modules are imported next to nothing becomes garbage, and looking for it takes a tenth of the time: the
collector rests until `ready`.
"""

import gc
import os
from collections.abc import Callable

gc.disable()
# Else Python asks how it was built where time zones are, since pydantic knows of them. Here all times are UTC.
os.environ.setdefault("PYTHONTZPATH", "")


def ready(*needs: Callable[[], object]) -> None:
    """Make what the handler needs, and begin to collect garbage: of what comes from now on, since all this stays."""
    for need in needs:
        need()
    gc.freeze()
    # A request leaves little behind that is not freed by its last reference.
    gc.set_threshold(10_000)
    gc.enable()
