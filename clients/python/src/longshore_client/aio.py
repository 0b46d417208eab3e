"""The asyncio client. See `client` for the sync client."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self, Unpack

import httpx

from longshore_client import _containers, _http, _lists
from longshore_client._changes import Limits, change_body
from longshore_client._drivers import AsyncDriver, AsyncToken
from longshore_client._filters import ContainerFilters, LogFilters, ProjectLogFilters
from longshore_client.models import (
    Container,
    ContainersPage,
    Operation,
    OperationResult,
    Project,
    ProjectLogsPage,
    StatusLog,
    StatusLogsPage,
    WaitFor,
)
from longshore_client.retries import Retries
from longshore_client.schedules import AsyncSchedules


class AsyncLongshore:
    """Asyncio client for a Longshore API. An async context manager.

    Takes the same arguments as `Longshore`. A function for the token may also be async.

    Raises:
        ValueError: The base URL or the token is invalid, or the base URL would receive the token unencrypted.
    """

    def __init__(
        self,
        base_url: str,
        token: AsyncToken,
        *,
        timeout: float = _http.TIMEOUT,
        retries: Retries | None = None,
        http_client: httpx.AsyncClient | None = None,
        allow_http: bool = False,
    ) -> None:
        self.base_url = _http.api_url(base_url, allow_http=allow_http)
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
        self.projects = AsyncProjects(driver, retries)
        self.schedules = AsyncSchedules(driver, retries)


class AsyncContainers:
    """Lists, reads, changes and operates containers. Equivalent to `client.Containers`, and raises the same errors."""

    def __init__(self, driver: AsyncDriver, retries: Retries) -> None:
        self._driver = driver
        self._retries = retries

    async def get_page(
        self,
        project_id: str | None = None,
        *,
        page: int = 1,
        limit: int = 50,
        cursor: str | None = None,
        **filters: Unpack[ContainerFilters],
    ) -> ContainersPage:
        """Get a page of a list of containers. See `Containers.get_page`."""
        return await self._driver.run(_lists.containers_page(project_id, page, limit, cursor, self._retries, **filters))

    async def iter(
        self, project_id: str | None = None, **filters: Unpack[ContainerFilters]
    ) -> AsyncIterator[Container]:
        """Iterate over a list of containers, one page at a time. See `Containers.iter`."""
        walk = _lists.ContainerWalk(project_id, self._retries, **filters)
        while not walk.done:
            for container in walk.take(await self._driver.run(walk.next_page())):
                yield container

    async def get(self, container_id: str, *, wait_for: WaitFor | None = None, timeout: int = 20) -> Container:
        """Get the current state of a container. See `Containers.get`."""
        return await self._driver.run(_containers.get(container_id, self._retries, wait_for, timeout))

    async def update(
        self,
        container_id: str,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        **limits: Unpack[Limits],
    ) -> Container:
        """Change a container. See `Containers.update`."""
        body = change_body(name, labels, limits)
        return await self._driver.run(_containers.update(container_id, body, self._retries))

    async def keep_alive(self, container_id: str) -> Container:
        """Count the idle timeout of a running container anew. See `Containers.keep_alive`."""
        return await self._driver.run(_containers.keep_alive(container_id, self._retries))

    async def manage(
        self,
        container_id: str,
        operation: Operation,
        *,
        wait: bool = False,
        timeout: float = 300,
        idempotency_key: str | None = None,
        respond_async: bool = False,
        api_wait: int | None = None,
        stop_at: datetime | None = None,
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
            prefer=_containers.preference(respond_async=respond_async, api_wait=api_wait),
            stop_at=stop_at,
            retries=self._retries,
        )
        return await self._driver.run(plan)

    async def wait(self, accepted: OperationResult, *, timeout: float = 300) -> OperationResult:
        """Wait for the end of an operation that `manage` has returned as pending. See `Containers.wait`."""
        return await self._driver.run(_containers.wait(accepted, timeout, self._retries))

    async def get_status_logs(
        self, container_id: str, *, page: int = 1, limit: int = 10, **filters: Unpack[LogFilters]
    ) -> StatusLogsPage:
        """Get a page of a container's history. See `Containers.get_status_logs`."""
        return await self._driver.run(_containers.status_logs(container_id, page, limit, self._retries, **filters))

    async def iter_status_logs(self, container_id: str, **filters: Unpack[LogFilters]) -> AsyncIterator[StatusLog]:
        """Iterate over a container's whole history, or over matching rows. See `Containers.iter_status_logs`."""
        walk = _containers.Walk.of(filters)
        while not walk.done:
            page = await self.get_status_logs(container_id, page=walk.page, limit=_containers.PAGE, **filters)
            for row in walk.take(page):
                yield row


class AsyncProjects:
    """Reads projects and their histories. Equivalent to `client.Projects`, and raises the same errors."""

    def __init__(self, driver: AsyncDriver, retries: Retries) -> None:
        self._driver = driver
        self._retries = retries

    async def get_all(self) -> tuple[Project, ...]:
        """Get the projects that the caller is a member of."""
        return await self._driver.run(_lists.projects(self._retries))

    async def get_status_logs(
        self, project_id: str, *, limit: int = 50, cursor: str | None = None, **filters: Unpack[ProjectLogFilters]
    ) -> ProjectLogsPage:
        """Get a page of the history of all containers of a project. See `Projects.get_status_logs`."""
        return await self._driver.run(_lists.project_logs_page(project_id, limit, cursor, self._retries, **filters))

    async def iter_status_logs(self, project_id: str, **filters: Unpack[ProjectLogFilters]) -> AsyncIterator[StatusLog]:
        """Iterate over the history of all containers of a project. See `Projects.iter_status_logs`."""
        cursor: str | None = None
        while True:
            page = await self.get_status_logs(project_id, limit=_containers.PAGE, cursor=cursor, **filters)
            for row in page.logs:
                yield row
            cursor = page.next_cursor
            if cursor is None:
                return
