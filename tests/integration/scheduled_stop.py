"""Helpers of the tests of the scheduled stop function."""

from local.runtime import LambdaContext
from local.stack import LocalStack

FUNCTION = "ScheduledStopFunction"


def effects(**counts: int) -> dict[str, int]:
    """Return the result of the function. Counts that are not given are 0."""
    return {"stopped": 0, "skipped": 0, "failed": 0, "continued": 0, "late": 0, "unauthorized": 0} | counts


class ShortOfTime(LambdaContext):
    """A Lambda context that has enough time left for a few containers."""

    def __init__(self, stack: LocalStack, containers: int) -> None:
        assert stack.template is not None
        super().__init__(stack.template.functions[FUNCTION])
        self._answers = iter([60_000] * containers)

    def get_remaining_time_in_millis(self) -> int:
        return next(self._answers, 0)
