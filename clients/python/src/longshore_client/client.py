"""The sync client. See `aio` for asyncio."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self, Unpack

import httpx

from longshore_client import _containers, _http, _lists
from longshore_client._changes import Limits, change_body
from longshore_client._drivers import Driver, Token
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
from longshore_client.schedules import Schedules


class Longshore:
    """Client for a Longshore API. A context manager, and safe to share between threads.

    Args:
        base_url: The URL of the API, such as `https://host/stage`, with or without `/api/v1`.
        token: A bearer token, or a function that returns one. The function is called before each request.
        timeout: Seconds to wait for the response to a request.
        retries: When to retry requests. The default makes up to five attempts.
        http_client: An httpx client to use, for example with a proxy or certificates. It is not closed.
        allow_http: Whether the base URL may be an `http://` URL of another machine, which would receive the token
            unencrypted. Loopback addresses are always allowed.

    Raises:
        ValueError: The base URL or the token is invalid, or the base URL would receive the token unencrypted.
    """

    def __init__(
        self,
        base_url: str,
        token: Token,
        *,
        timeout: float = _http.TIMEOUT,
        retries: Retries | None = None,
        http_client: httpx.Client | None = None,
        allow_http: bool = False,
    ) -> None:
        self.base_url = _http.api_url(base_url, allow_http=allow_http)
        if isinstance(token, str):
            _http.checked(token)
        self._http = http_client or httpx.Client()
        self._closes = http_client is None
        driver = Driver(self.base_url, token, _http.timeouts(timeout), self._http)
        self.api = Api(driver, retries or Retries())

    def close(self) -> None:
        """Close the connections."""
        if self._closes:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Longshore({self.base_url!r})"


class Api:
    """The resources of the API."""

    def __init__(self, driver: Driver, retries: Retries) -> None:
        self.containers = Containers(driver, retries)
        self.projects = Projects(driver, retries)
        self.schedules = Schedules(driver, retries)


class Containers:
    """Lists, reads, changes and operates containers.

    Every method raises errors of `longshore_client.errors`. Requests are retried according to `Retries` if no response
    arrives or the API returns a transient error.
    """

    def __init__(self, driver: Driver, retries: Retries) -> None:
        self._driver = driver
        self._retries = retries

    def get_page(
        self,
        project_id: str | None = None,
        *,
        page: int = 1,
        limit: int = 50,
        cursor: str | None = None,
        **filters: Unpack[ContainerFilters],
    ) -> ContainersPage:
        """Get a page of a list of containers.

        Args:
            project_id: The id of a project. By default, the list contains the containers of all projects of the caller.
            page: The number of the page, starting at 1. A page after the last page is empty.
            limit: The number of containers per page, 1 to 100.
            cursor: The `next_cursor` of the previous page, or "" for the first page, instead of `page`. Requires a
                project, the sort by name and no filter.
            filters: `status`, `name`, `labels`, `sort_by` and `sort_order`. See `ContainerFilters`.

        Raises:
            LongshoreError: The API returned an error, such as ProjectNotFoundError, or did not respond.
        """
        return self._driver.run(_lists.containers_page(project_id, page, limit, cursor, self._retries, **filters))

    def iter(self, project_id: str | None = None, **filters: Unpack[ContainerFilters]) -> Iterator[Container]:
        """Iterate over a list of containers, one page at a time.

        Returns each container at most once. A container that changes its position in the list during the iteration,
        for example because it is renamed, may be missing.

        Args:
            project_id: The id of a project. By default, the list contains the containers of all projects of the caller.
            filters: `status`, `name`, `labels`, `sort_by` and `sort_order`. See `ContainerFilters`.

        Raises:
            LongshoreError: The API returned an error, such as ProjectNotFoundError, or did not respond.
        """
        walk = _lists.ContainerWalk(project_id, self._retries, **filters)
        while not walk.done:
            yield from walk.take(self._driver.run(walk.next_page()))

    def get(self, container_id: str, *, wait_for: WaitFor | None = None, timeout: int = 20) -> Container:
        """Get the current state of a container.

        Args:
            container_id: The id of the container.
            wait_for: Wait until no operation is pending (`settled`) or the container has this status.
            timeout: Maximum seconds to wait with `wait_for`, 1 to 25. The current state is returned in any case.

        Raises:
            LongshoreError: The API returned an error, such as ContainerNotFoundError, or did not respond.
        """
        return self._driver.run(_containers.get(container_id, self._retries, wait_for, timeout))

    def update(
        self,
        container_id: str,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        **limits: Unpack[Limits],
    ) -> Container:
        """Change a container. Values that are not given, and a name or labels of None, are not changed.

        Args:
            container_id: The id of the container.
            name: The new name. Requires the role `owner`.
            labels: The new labels, which replace all labels. Requires the role `operator`.
            limits: `stop_at`, `hold_until`, `idle_timeout` and `protection`, of which None removes a limit, and
                `desired_count` of a service. See `Limits`.

        Raises:
            ValueError: A time has no time zone.
            LongshoreError: The API returned an error, such as ValidationError, or did not respond.
        """
        body = change_body(name, labels, limits)
        return self._driver.run(_containers.update(container_id, body, self._retries))

    def keep_alive(self, container_id: str) -> Container:
        """Count the idle timeout of a running container anew. Requires the role `operator`.

        Args:
            container_id: The id of the container.

        Raises:
            OperationStateConflictError: The container is not running, or it is being stopped.
            LongshoreError: The API returned another error or did not respond.
        """
        return self._driver.run(_containers.keep_alive(container_id, self._retries))

    def manage(
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
        """Run an operation on a container. The operation takes effect once, even if the request is retried.

        Args:
            container_id: The id of the container.
            operation: The operation to run.
            wait: Whether to wait for the end of the operation. Otherwise the result is pending if the effect takes
                longer than the API waits (20 seconds by default).
            timeout: Maximum seconds to wait for the end of the operation.
            idempotency_key: 1 to 128 visible ASCII characters. By default, each call generates a key. A key that was
                used in the last 24 hours returns the first response again and runs no operation.
            respond_async: Whether the API responds as soon as it has sent the operation to ECS, without waiting for the
                effect.
            api_wait: The maximum number of seconds that the API waits for the effect, if that is less than its own
                limit.
            stop_at: Stop the container at this time, which must have a time zone. Only for `start`, `restart` and
                `resume`.

        Returns:
            The result, which is completed or pending. It is always completed if `wait` is true.

        Raises:
            ValueError: `stop_at` has no time zone, or the operation does not accept it.
            OperationStateConflictError: The container's status or a pending operation does not allow the operation.
            ContainerProtectedError: The container is protected from the operation.
            OperationFailedError: The operation ended without its effect. Only with `wait`.
            WaitTimeoutError: The operation is still pending after the timeout. Only with `wait`.
            LongshoreError: The API returned another error or did not respond.
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
        return self._driver.run(plan)

    def wait(self, accepted: OperationResult, *, timeout: float = 300) -> OperationResult:
        """Wait for the end of an operation that `manage` has returned as pending.

        Args:
            accepted: The pending result. A completed result is returned unchanged.
            timeout: Maximum seconds to wait.

        Raises:
            OperationFailedError: The operation ended without its effect.
            WaitTimeoutError: The operation is still pending after the timeout.
            LongshoreError: The API returned another error or did not respond.
        """
        return self._driver.run(_containers.wait(accepted, timeout, self._retries))

    def get_status_logs(
        self, container_id: str, *, page: int = 1, limit: int = 10, **filters: Unpack[LogFilters]
    ) -> StatusLogsPage:
        """Get a page of a container's history.

        Args:
            container_id: The id of the container.
            page: The number of the page, starting at 1. A page after the last page is empty.
            limit: The number of rows per page, 1 to 100.
            filters: `since`, `until`, `to_status`, `from_status`, `sort_by` and `sort_order`. See `LogFilters`.

        Raises:
            ValueError: A time has no time zone.
            LongshoreError: The API returned an error, such as ValidationError, or did not respond.
        """
        return self._driver.run(_containers.status_logs(container_id, page, limit, self._retries, **filters))

    def iter_status_logs(self, container_id: str, **filters: Unpack[LogFilters]) -> Iterator[StatusLog]:
        """Iterate over a container's whole history, or over all rows that match the filters, one page at a time.

        Returns each row that exists at the start exactly once, in order. A row that is added during the iteration is
        returned if its position in the order has not been passed: always in ascending time, never in descending time.

        Args:
            container_id: The id of the container.
            filters: `since`, `until`, `to_status`, `from_status`, `sort_by` and `sort_order`. See `LogFilters`.

        Raises:
            ValueError: A time has no time zone.
            LongshoreError: The API returned an error or did not respond.
        """
        walk = _containers.Walk.of(filters)
        while not walk.done:
            yield from walk.take(self.get_status_logs(container_id, page=walk.page, limit=_containers.PAGE, **filters))


class Projects:
    """Reads projects and their histories. Raises the same errors as `Containers`."""

    def __init__(self, driver: Driver, retries: Retries) -> None:
        self._driver = driver
        self._retries = retries

    def get_all(self) -> tuple[Project, ...]:
        """Get the projects that the caller is a member of."""
        return self._driver.run(_lists.projects(self._retries))

    def get_status_logs(
        self, project_id: str, *, limit: int = 50, cursor: str | None = None, **filters: Unpack[ProjectLogFilters]
    ) -> ProjectLogsPage:
        """Get a page of the history of all containers of a project.

        Args:
            project_id: The id of the project.
            limit: The maximum number of rows on the page, 1 to 100. A page may be short and still have a next page.
            cursor: The `next_cursor` of the previous page.
            filters: `since`, `until`, `to_status`, `triggered_by`, `actor`, `container_id` and `sort_order`. See
                `ProjectLogFilters`.

        Raises:
            ValueError: A time has no time zone.
            LongshoreError: The API returned an error, such as ProjectNotFoundError, or did not respond.
        """
        return self._driver.run(_lists.project_logs_page(project_id, limit, cursor, self._retries, **filters))

    def iter_status_logs(self, project_id: str, **filters: Unpack[ProjectLogFilters]) -> Iterator[StatusLog]:
        """Iterate over the history of all containers of a project, one page at a time.

        Args:
            project_id: The id of the project.
            filters: See `get_status_logs`.
        """
        cursor: str | None = None
        while True:
            page = self.get_status_logs(project_id, limit=_containers.PAGE, cursor=cursor, **filters)
            yield from page.logs
            cursor = page.next_cursor
            if cursor is None:
                return
