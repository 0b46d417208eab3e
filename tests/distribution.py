"""Which tests stay together, in one process and in order, when several processes run them.

The tests of a module that run on the same database share a stack. Those with SAM CLI share what it has built. Each
simulated run is on its own.
"""

from xdist.scheduler import LoadScopeScheduling


class Distribution(LoadScopeScheduling):  # type: ignore[misc]  # no part of xdist's typed interface
    """Keeps the order of the tests, in which what is quickest, tests/unit, comes last."""

    def _split_scope(self, nodeid: str) -> str:
        path, _, test = nodeid.partition("::")
        if path.startswith("tests/simulation/"):
            return nodeid
        if path.startswith("tests/e2e/test_sam_"):
            return "sam"
        return f"{path} on DynamoDB Local" if "[dynamodb-local" in test else path
