"""Cold start of a function's execution environment. Every function imports this module before all others.

Lambda runs the initialization on a full processor, so everything that a handler needs is created then. Imports create
almost no garbage, and looking for it takes a tenth of their time: garbage collection is off until `ready`.
"""

import gc
import os
from collections.abc import Callable

gc.disable()
# pydantic imports zoneinfo, which otherwise imports sysconfig to find its data. All times here are in UTC.
os.environ.setdefault("PYTHONTZPATH", "")


def ready(*needs: Callable[[], object]) -> None:
    """Create what the handler needs, then turn garbage collection on for objects that are created from now on."""
    for need in needs:
        need()
    gc.freeze()
    # A request leaves few objects behind that are not freed with their last reference.
    gc.set_threshold(10_000)
    gc.enable()
