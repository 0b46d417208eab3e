"""The function that applies events of tasks, which completes the operations that the costs are measured of."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmarks.database import Aws
from benchmarks.runs import Warm
from benchmarks.targets import Targets

FUNCTION = "task_state_change"


class TaskEvents:
    """Receives the events of the emulated ECS, and passes those of tasks to the function.

    Attributes:
        calls: The measurements of the function's calls.
    """

    def __init__(self, warm: Warm, logical_id: str) -> None:
        self.calls: list[dict[str, Any]] = []
        self._warm = warm
        self._logical_id = logical_id
        self._lock = threading.Lock()

    def invoke(self, function: str, event: Any, **_: Any) -> Any:
        """Invoke a function like `EventBridge.invoke`. Other functions are not invoked."""
        if function != self._logical_id:
            return None
        with self._lock:
            called = self._warm.call(event)
            self.calls.append(called)
        return called["answer"]


@contextmanager
def task_events(targets: Targets, aws: Aws, environment: Mapping[str, str]) -> Iterator[TaskEvents]:
    """Apply events of tasks as long as the context is open."""
    functions = targets.stack.functions
    (logical_id,) = (name for name, function in functions.items() if function.code_path.name == FUNCTION)
    before = aws.stack.eventbridge.invoke
    with Warm(targets.python, targets.functions[FUNCTION], "live", environment=environment) as warm:
        events = TaskEvents(warm, logical_id)
        aws.stack.eventbridge.invoke = events.invoke
        try:
            yield events
        finally:
            aws.stack.eventbridge.invoke = before
