"""A client of the API for tests, which acts as one of the seed's users."""

from typing import Any

import httpx

from local import tokens


class Api:
    """Calls the API over HTTP as a user."""

    def __init__(self, url: str) -> None:
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self._http = httpx.Client(base_url=f"{url}/api/v1", limits=limits, timeout=60)
        self._tokens: dict[str, str] = {}

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, user: str | None = "operator", **options: Any) -> httpx.Response:
        """Send a request to `path` below /api/v1. Without a user it has no token."""
        headers = dict(options.pop("headers", {}))
        if user is not None:
            headers.setdefault("Authorization", f"Bearer {self.token(user)}")
        return self._http.request(method, path, headers=headers, **options)

    def token(self, user: str) -> str:
        return self._tokens.setdefault(user, tokens.token(user))

    def get(self, container: str, user: str | None = "operator") -> httpx.Response:
        return self.call("GET", f"/containers/{container}", user)

    def patch(self, container: str, body: Any, user: str | None = "owner") -> httpx.Response:
        return self.call("PATCH", f"/containers/{container}", user, json=body)

    def post(self, container: str, operation: str, user: str | None = "operator", **options: Any) -> httpx.Response:
        return self.call("POST", f"/containers/{container}/{operation}", user, **options)

    def logs(self, container: str, user: str | None = "operator", **query: Any) -> httpx.Response:
        return self.call("GET", f"/containers/{container}/status-logs", user, params=query)

    def rows(self, container: str) -> list[dict[str, Any]]:
        """Return the complete history, oldest first."""
        rows: list[dict[str, Any]] = []
        page = 1
        while True:
            data = self.logs(container, sort_order="asc", limit=100, page=page).json()["data"]
            rows += data["logs"]
            if page >= data["pagination"]["totalPages"]:
                return rows
            page += 1
