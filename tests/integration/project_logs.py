"""Requests for the history of a project."""

from typing import Any

from api_client import Api


def logs(api: Api, project_id: str, user: str = "viewer", **query: Any) -> Any:
    return api.call("GET", f"/projects/{project_id}/status-logs", user, params=query)


def refused(response: Any, status: int, code: str) -> Any:
    body = response.json()
    assert (response.status_code, body["code"]) == (status, code)
    return body
