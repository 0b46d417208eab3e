"""The asyncio client. See `client` for the sync client."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import httpx

from longshore_client import _containers, _http
from longshore_client._drivers import AsyncDriver, AsyncToken
from longshore_client.models import Container, Operation, OperationResult, SortBy, SortOrder, StatusLog, StatusLogsPage
from longshore_client.retries import Retries


class AsyncLongshore:
    """Asyncio client for a Longshore API. An async context manager.

    Takes the same arguments as `Longshore`. A function for the token may also be async.

    Raises:
        ValueError: The base URL or the token is invalid.
    """

    def __init__(
        self,
        base_url: str,
        token: AsyncToken,
        *,
        timeout: float = _http.TIMEOUT,
        retries: Retries | None = None,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        self.base_url = _http.api_url(base_url)
        if isinstance(token, str):
            _http.checked(token)
        self._http = http_client or httpx.AsyncClient()
        self._closes = http_client is None
        driver = AsyncDriver(self.base_url, token, _http.timeouts(timeout), self._http)
        self.api = AsyncApi(driver, retries or Retries())

    async def aclose(self) -> None:
        """Close the connections."""
        if self._closes:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncLongshore({self.base_url!r})"


class AsyncApi:
    """The resources of the API."""

    def __init__(self, driver: AsyncDriver, retries: Retries) -> None:
        self.containers = AsyncContainers(driver, retries)


class AsyncContainers:
    """Reads and operates containers. Equivalent to `client.Containers`, and raises the same errors."""

    def __init__(self, driver: AsyncDriver, retries: Retries) -> None:
        self._driver = driver
        self._retries = retries

    async def get(self, container_id: str) -> Container:
        """Get the current state of a container."""
        return await self._driver.run(_containers.get(container_id, self._retries))

    async def manage(
        self,
        container_id: str,
        operation: Operation,
        *,
        wait: bool = False,
        timeout: float = 300,
        idempotency_key: str | None = None,
    ) -> OperationResult:
        """Run an operation on a container. See `Containers.manage`.

        If the call is cancelled, the operation may or may not have been requested.
        """
        plan = _containers.manage(
            container_id,
            operation,
            wait=wait,
            timeout=timeout,
            idempotency_key=idempotency_key,
            retries=self._retries,
        )
        return await self._driver.run(plan)

    async def get_status_logs(
        self,
        container_id: str,
        *,
        sort_by: SortBy = "transition_time",
        sort_order: SortOrder = "desc",
        page: int = 1,
        limit: int = 10,
    ) -> StatusLogsPage:
        """Get a page of a container's history. See `Containers.get_status_logs`."""
        plan = _containers.status_logs(container_id, sort_by, sort_order, page, limit, self._retries)
        return await self._driver.run(plan)

    async def iter_status_logs(
        self, container_id: str, *, sort_by: SortBy = "transition_time", sort_order: SortOrder = "desc"
    ) -> AsyncIterator[StatusLog]:
        """Iterate over a container's whole history. See `Containers.iter_status_logs`."""
        walk = _containers.Walk(sort_by, sort_order)
        while not walk.done:
            page = await self.get_status_logs(
                container_id, sort_by=sort_by, sort_order=sort_order, page=walk.page, limit=_containers.PAGE
            )
            for row in walk.take(page):
                yield row
