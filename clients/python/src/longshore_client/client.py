"""The client. `aio` has the same for asyncio."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import httpx

from longshore_client import _containers, _http
from longshore_client._drivers import Driver, Token
from longshore_client.models import Container, Operation, OperationResult, SortBy, SortOrder, StatusLog, StatusLogsPage
from longshore_client.retries import Retries


class Longshore:
    """A client of one Longshore API. A context manager; safe to share between threads.

    `base_url` is like `https://host/stage`, with or without `/api/v1`. `token` is a bearer token, or a function that
    returns one and is asked before each request. `timeout` is in seconds, for one request to be answered. An
    `http_client` of your own (for a proxy, or certificates) is used as it is, and not closed. ValueError.
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
    """What the API has: `containers`."""

    def __init__(self, driver: Driver, retries: Retries) -> None:
        self.containers = Containers(driver, retries)


class Containers:
    """Containers, their history, and what can be done to them.

    Every method raises the classes of `longshore_client.errors`. Requests are repeated as `Retries` says when no answer
    comes or the API is, for the moment, not able to give one.
    """

    def __init__(self, driver: Driver, retries: Retries) -> None:
        self._driver = driver
        self._retries = retries

    def get(self, container_id: str) -> Container:
        """The container as it is now."""
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
        """Start, stop, force-stop, restart, pause or resume. It takes effect once, however often it has to be sent.

        The result is completed, or under way where the effect takes longer than the API waits (20 s as a rule). With
        `wait` it is completed: OperationFailedError says that it ended without its effect, WaitTimeoutError that it is
        not over after `timeout` seconds. Without an `idempotency_key` (1 to 128 visible ASCII characters) each call
        makes its own; with one that was used in the last 24 hours the first answer comes again, and nothing is done.
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
        """A page of the history. `limit` is 1 to 100; a page past the end is empty."""
        plan = _containers.status_logs(container_id, sort_by, sort_order, page, limit, self._retries)
        return self._driver.run(plan)

    def iter_status_logs(
        self, container_id: str, *, sort_by: SortBy = "transition_time", sort_order: SortOrder = "desc"
    ) -> Iterator[StatusLog]:
        """The whole history, row by row, read a page at a time.

        Each row that was there at the beginning comes exactly once, in order. One that is added meanwhile comes if its
        place in the order is still ahead: in ascending time always, in descending time never.
        """
        walk = _containers.Walk(sort_by, sort_order)
        while not walk.done:
            yield from walk.take(
                self.get_status_logs(
                    container_id, sort_by=sort_by, sort_order=sort_order, page=walk.page, limit=_containers.PAGE
                )
            )
