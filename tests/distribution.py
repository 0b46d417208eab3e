"""The distribution of tests to several processes: which tests run in the same process, in order.

The tests of a module that run on the same database share a stack. The tests with SAM CLI share its build. Simulated
runs are independent.
"""

from xdist.scheduler import LoadScopeScheduling


class Distribution(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Groups tests by module and database, and keeps their order. The quickest tests, tests/unit, run last."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        if path.startswith("tests/simulation/"):
            return nodeid
        if path.startswith("tests/e2e/test_sam_"):
            return "sam"
        on_real = "[dynamodb-local" in test or "[real" in test
        return f"{path} on DynamoDB Local" if on_real else path
