"""The deployment of another version of the stack in the middle of a run."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from longshore.domain.lifecycle import Operation

from simulation.hostility import Reached
from simulation.wiring import Library

if TYPE_CHECKING:
    from simulation.world import World

FOCUS = {
    Operation.START: (Operation.START, Operation.STOP),
    Operation.STOP: (Operation.START, Operation.STOP),
    Operation.FORCE_STOP: (Operation.START, Operation.FORCE_STOP),
    Operation.RESTART: (Operation.RESTART,),
    Operation.PAUSE: (Operation.START, Operation.PAUSE),
    Operation.RESUME: (Operation.START, Operation.PAUSE, Operation.RESUME),
}
"""The operations that callers request so that an operation can be pending at the deployment."""

_LEADS = (0.0, 0.0, 2.0, 30.0)
_DELAYS = (0.0, 0.02, 0.1, 0.3, 3.0)  # seconds from a claim to the deployment


class Deployment:
    """Replaces the version of a run by the other one.

    CloudFormation updates the document of host commands before the functions, which depend on it. In between, the
    functions of the previous version use the new document.
    """

    def __init__(self, world: "World") -> None:
        self.world = world
        self._rng = world.rng("deployment")
        self._lead = timedelta(seconds=self._rng.choice(_LEADS))
        self._during = world.hostility.deployed_during
        self._updated = False

    @property
    def _library(self) -> Library:
        assert self.world.versions.second is not None
        return self.world.versions.second

    def schedule(self, at: datetime, end: datetime) -> None:
        """Schedule the deployment.

        Args:
            at: When the functions are updated, unless the settings name an operation that has to be pending.
            end: When they are updated at the latest.
        """
        scheduler = self.world.scheduler
        if self._during:
            self.world.claimed = self._claimed
            scheduler.at(end, self._update)
            return
        scheduler.at(max(scheduler.now, at - self._lead), self._update_document)
        scheduler.at(at, self._update_functions)

    def _claimed(self, operation: str) -> None:
        """Deploy soon after the claim of the operation that has to be pending."""
        if operation == self._during:
            self.world.claimed = lambda _: None
            delay = self._rng.choice(_DELAYS) * self._rng.uniform(0.5, 1.5)
            self.world.scheduler.at(self.world.scheduler.now + timedelta(seconds=delay), self._update_if_pending)

    def _update_if_pending(self) -> None:
        if self._during in self._pending():
            self._update()
        else:
            # It has ended. Wait for the next claim.
            self.world.claimed = self._claimed

    def _update(self) -> None:
        if self._updated:
            return
        self._updated = True
        self._update_document()
        self.world.scheduler.at(self.world.scheduler.now + self._lead, self._update_functions)

    def _pending(self) -> list[str]:
        """Return the names of the pending operations."""
        ledger = self.world.ledger
        return [ledger.containers[name]["operation"]["operation"] for name in ledger.pending()]

    def _update_document(self) -> None:
        self.world.document = self.world.versions.document(self._library)
        self.world.note("world", "the document of host commands is updated")

    def _update_functions(self) -> None:
        """Run the other version of the library in every later invocation."""
        world, before = self.world, self.world.hostility.first_version == "before"
        for operation in self._pending():
            world.stats[f"deployment: {operation} pending"] += 1
        if world.ledger.pending():
            world.reached(Reached.CODE_UPGRADED if before else Reached.CODE_DOWNGRADED)
        world.use(self._library)
        world.note("world", f"{'the current version' if before else 'version 0.2'} is deployed")
