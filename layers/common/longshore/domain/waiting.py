"""The query of GET /containers/{id}: what the caller waits for, and how long. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from longshore.domain.lifecycle import Operation, Status
from longshore.domain.parameters import Parameters

SETTLED = "settled"
"""The value of `wait_for` that waits until no operation is pending."""

WAIT_TARGETS = (SETTLED, *(status.value for status in Status))
LONGEST_TIMEOUT = 25  # seconds; API Gateway waits for 29


class Observed(Protocol):
    """The attributes of a container that a caller can wait for."""

    @property
    def status(self) -> Status: ...

    @property
    def pending(self) -> Operation | None: ...


class WaitQuery(NamedTuple):
    """The query of GET /containers/{id}.

    Attributes:
        wait_for: `settled` or a status; None: do not wait.
        timeout: The longest time to wait, in seconds.
    """

    wait_for: str | None = None
    timeout: int = 20

    @classmethod
    def parse(cls, given: Mapping[str, Sequence[str]]) -> "tuple[WaitQuery, dict[str, str]]":
        """Read the query from text.

        Args:
            given: All values by parameter.

        Returns:
            The query, and the faults by parameter. The query must not be used if there are faults.
        """
        parameters = Parameters(given)
        query = cls(
            wait_for=parameters.choice("wait_for", "", WAIT_TARGETS) or None,
            timeout=parameters.integer("timeout", cls().timeout, LONGEST_TIMEOUT),
        )
        return query, parameters.faults

    def is_met_by(self, container: Observed) -> bool:
        """Check whether the container is in the state that the caller waits for."""
        match self.wait_for:
            case None:
                return True
            case "settled":
                return container.pending is None
            case status:
                return container.status == status
