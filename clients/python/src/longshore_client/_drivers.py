"""Drivers that run plans over httpx, one sync and one async."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx

from longshore_client import _http
from longshore_client._calls import Call, Pause, Plan, Reply

T = TypeVar("T")

Token = str | Callable[[], str]
AsyncToken = str | Callable[[], str | Awaitable[str]]

_LOG = logging.getLogger("longshore_client")


@dataclass(frozen=True, slots=True, repr=False)
class Driver:
    """Runs plans in the calling thread."""

    url: str
    token: Token
    timeout: httpx.Timeout
    http: httpx.Client

    def run(self, plan: Plan[T]) -> T:
        """Run a plan. Return its result, or raise its error."""
        reply: Reply = None
        while True:
            try:
                command = plan.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(command, Pause):
                time.sleep(command.seconds)
                reply = None
            else:
                reply = self._perform(command)

    def _perform(self, call: Call) -> Reply:
        token = self.token if isinstance(self.token, str) else self.token()
        request = _request(self.http, self.url, call, token, self.timeout)
        try:
            return _http.response(self.http.send(request, follow_redirects=False))
        except httpx.HTTPError as error:
            return _lost(call, self.url, error)


@dataclass(frozen=True, slots=True, repr=False)
class AsyncDriver:
    """Runs plans on an asyncio event loop."""

    url: str
    token: AsyncToken
    timeout: httpx.Timeout
    http: httpx.AsyncClient

    async def run(self, plan: Plan[T]) -> T:
        """Run a plan. Return its result, or raise its error."""
        reply: Reply = None
        while True:
            try:
                command = plan.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(command, Pause):
                await asyncio.sleep(command.seconds)
                reply = None
            else:
                reply = await self._perform(command)

    async def _perform(self, call: Call) -> Reply:
        token = self.token if isinstance(self.token, str) else self.token()
        text = token if isinstance(token, str) else await token
        request = _request(self.http, self.url, call, text, self.timeout)
        try:
            return _http.response(await self.http.send(request, follow_redirects=False))
        except httpx.HTTPError as error:
            return _lost(call, self.url, error)


def _request(
    http: httpx.Client | httpx.AsyncClient, url: str, call: Call, token: str, timeout: httpx.Timeout
) -> httpx.Request:
    return http.build_request(
        call.method,
        url + call.path,
        params=call.query or None,
        json=call.body,
        headers=_http.headers(call, token),
        timeout=_http.extended(timeout, call.waits),
    )


def _lost(call: Call, url: str, error: httpx.HTTPError) -> Reply:
    _LOG.info("%s %s: %s", call.method, call.path, type(error).__name__)
    return _http.lost(call, url, error)
