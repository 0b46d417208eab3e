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
# pydantic otherwise reads the metadata of every installed package to find plugins. The layer has none.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def ready(*needs: Callable[[], object]) -> None:
    """Create the objects that the handler needs, then turn garbage collection on for objects that are created later."""
    for need in needs:
        need()
    gc.freeze()
    # A request creates few reference cycles, so garbage collection can be rare.
    gc.set_threshold(10_000)
    gc.enable()
