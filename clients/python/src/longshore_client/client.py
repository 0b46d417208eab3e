"""The sync client. See `aio` for asyncio."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import httpx

from longshore_client import _containers, _http
from longshore_client._drivers import Driver, Token
from longshore_client.models import Container, Operation, OperationResult, SortBy, SortOrder, StatusLog, StatusLogsPage
from longshore_client.retries import Retries


class Longshore:
    """Client for a Longshore API. A context manager, and safe to share between threads.

    Args:
        base_url: The URL of the API, such as `https://host/stage`, with or without `/api/v1`.
        token: A bearer token, or a function that returns one. The function is called before each request.
        timeout: Seconds to wait for the response to a request.
        retries: When to retry requests. The default makes up to five attempts.
        http_client: An httpx client to use, for example with a proxy or certificates. It is not closed.

    Raises:
        ValueError: The base URL or the token is invalid.
    """

    def __init__(
        self,
        base_url: str,
        token: Token,
        *,
        timeout: float = _http.TIMEOUT,
        retries: Retries | None = None,
        http_client: httpx.Client | None = None,
    ) -> None:
        self.base_url = _http.api_url(base_url)
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


class Containers:
    """Reads and operates containers.

    Every method raises errors of `longshore_client.errors`. Requests are retried according to `Retries` if no response
    arrives or the API returns a transient error.
    """

    def __init__(self, driver: Driver, retries: Retries) -> None:
        self._driver = driver
        self._retries = retries

    def get(self, container_id: str) -> Container:
        """Get the current state of a container.

        Raises:
            LongshoreError: The API returned an error, such as ContainerNotFoundError, or did not respond.
        """
        return self._driver.run(_containers.get(container_id, self._retries))

    def manage(
        self,
        container_id: str,
        operation: Operation,
        *,
        wait: bool = False,
        timeout: float = 300,
        idempotency_key: str | None = None,
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

        Returns:
            The result, which is completed or pending. It is always completed if `wait` is true.

        Raises:
            OperationStateConflictError: The container's status or a pending operation does not allow the operation.
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
            retries=self._retries,
        )
        return self._driver.run(plan)

    def get_status_logs(
        self,
        container_id: str,
        *,
        sort_by: SortBy = "transition_time",
        sort_order: SortOrder = "desc",
        page: int = 1,
        limit: int = 10,
    ) -> StatusLogsPage:
        """Get a page of a container's history.

        Args:
            container_id: The id of the container.
            sort_by: The field to sort by.
            sort_order: The sort order.
            page: The number of the page, starting at 1. A page after the last page is empty.
            limit: The number of rows per page, 1 to 100.

        Raises:
            LongshoreError: The API returned an error, such as ValidationError, or did not respond.
        """
        plan = _containers.status_logs(container_id, sort_by, sort_order, page, limit, self._retries)
        return self._driver.run(plan)

    def iter_status_logs(
        self, container_id: str, *, sort_by: SortBy = "transition_time", sort_order: SortOrder = "desc"
    ) -> Iterator[StatusLog]:
        """Iterate over a container's whole history, one page at a time.

        Returns each row that exists at the start exactly once, in order. A row that is added during the iteration is
        returned if its position in the order has not been passed: always in ascending time, never in descending time.

        Raises:
            LongshoreError: The API returned an error or did not respond.
        """
        walk = _containers.Walk(sort_by, sort_order)
        while not walk.done:
            yield from walk.take(
                self.get_status_logs(
                    container_id, sort_by=sort_by, sort_order=sort_order, page=walk.page, limit=_containers.PAGE
                )
            )
