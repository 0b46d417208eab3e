"""An operation on several containers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from longshore_client.aio import AsyncLongshore
from longshore_client.errors import AccountBannedError, AuthenticationError, LongshoreError, WaitTimeoutError
from longshore_client.models import Container, Operation, OperationResult

CONCURRENCY = 8
"""The maximum number of requests at the same time."""

# After these errors, no further request can succeed.
_REFUSALS = (AuthenticationError, AccountBannedError)
_SLICE = 10.0  # seconds for which a container waits before other containers have their turn


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of the operation on one container: its result or its error."""

    container: Container
    result: OperationResult | None = None
    error: LongshoreError | None = None


def idempotency_key(run_id: str, container_id: str) -> str:
    """Return the key of a container's operation in a run.

    The operation is not part of the key. The API therefore refuses a run that is repeated with another operation.
    """
    return f"{run_id}.{container_id}"


@dataclass(slots=True)
class Bulk:
    """Runs an operation on several containers.

    Every request has an Idempotency-Key that is derived from the run and the container. If the run is interrupted and
    repeated, the API returns the stored responses, and no operation runs twice.

    Attributes:
        operation: The operation.
        targets: The containers.
        run_id: The id of the run.
        waits: Whether to wait until the operations have ended.
        timeout: The maximum number of seconds to wait for each operation after it was accepted.
        stop_at: When the containers are stopped again, or None.
        requested: The ids of the containers whose operations were requested.
        outcomes: The outcomes so far.
    """

    operation: Operation
    targets: Sequence[Container]
    run_id: str
    waits: bool
    timeout: float
    stop_at: datetime | None = None
    requested: set[str] = field(default_factory=set)
    outcomes: list[Outcome] = field(default_factory=list)

    async def run(self, client: AsyncLongshore, progressed: Callable[[], None]) -> None:
        """Run the operations. The outcomes are added as they are known.

        All operations are requested before the first wait: requests take their turn in the order in which they ask for
        it.

        Args:
            client: The client.
            progressed: Called after each outcome.

        Raises:
            LongshoreError: The token is invalid or the user is banned, so that no further request can succeed.
        """
        turns = asyncio.Semaphore(CONCURRENCY)
        try:
            async with asyncio.TaskGroup() as tasks:
                for container in self.targets:
                    tasks.create_task(self._operate(client, container, turns, progressed))
        except ExceptionGroup as group:
            refused, others = group.split(_REFUSALS)
            if refused is None or others is not None:
                raise
            raise refused.exceptions[0] from None

    async def _operate(
        self, client: AsyncLongshore, container: Container, turns: asyncio.Semaphore, progressed: Callable[[], None]
    ) -> None:
        try:
            async with turns:
                self.requested.add(container.id)
                result = await client.api.containers.manage(
                    container.id,
                    self.operation,
                    idempotency_key=idempotency_key(self.run_id, container.id),
                    respond_async=True,
                    stop_at=self.stop_at,
                )
            if self.waits:
                result = await self._wait(client, result, turns)
            self.outcomes.append(Outcome(container, result=result))
        except _REFUSALS:
            raise
        except LongshoreError as error:
            self.outcomes.append(Outcome(container, error=error))
        progressed()

    async def _wait(
        self, client: AsyncLongshore, accepted: OperationResult, turns: asyncio.Semaphore
    ) -> OperationResult:
        """Wait for the end of an operation in slices, so that slow operations do not delay the others."""
        left = self.timeout
        while True:
            async with turns:
                try:
                    return await client.api.containers.wait(accepted, timeout=min(left, _SLICE))
                except WaitTimeoutError:
                    left -= _SLICE
                    if left <= 0:
                        raise
