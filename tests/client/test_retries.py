"""Retries: conditions, delays and keys. Uses prepared responses instead of an API, and does not wait."""

import json
from typing import Any

import httpx
import pytest
from client.script import CONTAINER, ID, PENDING, SECRET, STARTED, Reply, Scripted, ok, page_of, refused
from longshore_client import Longshore, Retries, TransportError, UnexpectedAnswerError
from longshore_client.errors import (
    ApiError,
    ContainerNotFoundError,
    ExternalServiceError,
    InternalServerError,
    RateLimitedError,
)

LOST: list[Reply] = [
    httpx.ConnectError("refused"),
    httpx.ConnectTimeout("timeout"),
    httpx.ReadTimeout("timeout"),
    httpx.ReadError("reset"),
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
    page_of(502),
    page_of(503),
    page_of(504),
    refused(429, "RATE_LIMITED"),
]


@pytest.mark.parametrize("lost", LOST, ids=repr)
def test_an_operation_is_retried_with_the_same_key(scripted: Scripted, pauses: list[float], lost: Reply) -> None:
    client, script = scripted(lost, lost, ok(STARTED))
    assert client.api.containers.manage(ID, "start").status == "running"
    assert script.sent == ["POST start"] * 3
    assert len(script.keys) == 1
    assert None not in script.keys
    assert len(pauses) == 2


@pytest.mark.parametrize(
    "lost", [*LOST, refused(500, "EXTERNAL_SERVICE_ERROR"), refused(500, "INTERNAL_SERVER_ERROR")], ids=repr
)
def test_a_read_is_retried(scripted: Scripted, lost: Reply) -> None:
    client, script = scripted(lost, ok(CONTAINER))
    assert client.api.containers.get(ID).name == "orders"
    assert len(script.requests) == 2


@pytest.mark.parametrize("status_and_code", [(500, "EXTERNAL_SERVICE_ERROR"), (500, "INTERNAL_SERVER_ERROR")])
@pytest.mark.parametrize(
    "state", [{}, {"status": "failed", "pending_operation": PENDING}, {"pending_operation": PENDING}]
)
def test_after_a_server_error_an_operation_that_has_not_ended_is_retried(
    scripted: Scripted, status_and_code: tuple[int, str], state: dict[str, Any]
) -> None:
    client, script = scripted(refused(*status_and_code), ok({**CONTAINER, **state}), ok(STARTED))
    assert client.api.containers.manage(ID, "start").status == "running"
    assert script.sent == ["POST start", f"GET {ID}", "POST start"]
    assert len(script.keys) == 1


def test_after_a_server_error_a_failed_operation_is_not_retried(scripted: Scripted) -> None:
    error = refused(500, "EXTERNAL_SERVICE_ERROR", data={"reason": "The image could not be pulled"})
    client, script = scripted(error, ok({**CONTAINER, "status": "failed"}))
    with pytest.raises(ExternalServiceError) as failed:
        client.api.containers.manage(ID, "restart")
    assert failed.value.reason == "The image could not be pulled"
    assert script.sent == ["POST restart", f"GET {ID}"]


def test_after_a_server_error_it_is_raised_if_the_container_cannot_be_read(scripted: Scripted) -> None:
    client, script = scripted(refused(500, "INTERNAL_SERVER_ERROR"), refused(404, "CONTAINER_NOT_FOUND"))
    with pytest.raises(InternalServerError):
        client.api.containers.manage(ID, "start")
    assert script.sent == ["POST start", f"GET {ID}"]


@pytest.mark.parametrize(
    "reply",
    [
        refused(400, "OPERATION_STATE_CONFLICT", data={"status": "running"}),
        refused(400, "VALIDATION_ERROR"),
        refused(401, "TOKEN_EXPIRED"),
        refused(403, "ACCOUNT_BANNED"),
        refused(404, "CONTAINER_NOT_FOUND"),
        refused(418, "A_CODE_OF_TOMORROW"),
        page_of(200),
        page_of(500),
        ok({}),
        httpx.Response(301, headers={"Location": "https://elsewhere.example/"}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"data": None}),
    ],
    ids=repr,
)
def test_other_errors_are_not_retried(scripted: Scripted, reply: Reply) -> None:
    client, script = scripted(reply)
    with pytest.raises((ApiError, UnexpectedAnswerError)):
        client.api.containers.manage(ID, "start")
    assert len(script.requests) == 1


def test_an_unknown_code(scripted: Scripted) -> None:
    client, _ = scripted(refused(418, "A_CODE_OF_TOMORROW"))
    with pytest.raises(ApiError) as unknown:
        client.api.containers.get(ID)
    assert type(unknown.value) is ApiError
    assert (unknown.value.code, unknown.value.status_code, unknown.value.request_id) == (
        "A_CODE_OF_TOMORROW",
        418,
        "the-id",
    )
    assert unknown.value.resolution is None


def test_the_last_error_is_raised_with_the_key(scripted: Scripted, pauses: list[float]) -> None:
    client, script = scripted(*[httpx.ReadTimeout("")] * 4, httpx.ConnectError("at last"))
    with pytest.raises(
        TransportError, match=r"no response to POST https://api.example/prod/api/v1/containers/.*/start: at last"
    ) as lost:
        client.api.containers.manage(ID, "start")
    assert {lost.value.idempotency_key} == script.keys
    assert isinstance(lost.value.__cause__, httpx.ConnectError)
    assert len(pauses) == 4


def test_a_key_of_the_caller(scripted: Scripted) -> None:
    client, script = scripted(httpx.ReadTimeout(""), ok(STARTED))
    assert client.api.containers.manage(ID, "start", idempotency_key="deploy-7").idempotency_key == "deploy-7"
    assert script.keys == {"deploy-7"}


def test_each_call_generates_its_own_key(scripted: Scripted) -> None:
    client, script = scripted(ok(STARTED), ok(STARTED))
    client.api.containers.manage(ID, "start")
    client.api.containers.manage(ID, "start")
    assert len(script.keys) == 2


def test_delays_double_up_to_the_maximum_with_jitter(scripted: Scripted, pauses: list[float]) -> None:
    retries = Retries(attempts=8, first_delay=1, max_delay=10)
    client, _ = scripted(*[httpx.ReadTimeout("")] * 8, retries=retries)
    with pytest.raises(TransportError):
        client.api.containers.get(ID)
    for pause, longest in zip(pauses, [1, 2, 4, 8, 10, 10, 10], strict=True):
        assert longest / 2 <= pause <= longest
    assert len(set(pauses)) == len(pauses)


@pytest.mark.parametrize(
    ("header", "least"), [("7", 7.0), ("0", 0.0), ("Wed, 01 Jan 2020 00:00:00 GMT", 0.0), ("soon", 0.0)]
)
def test_retry_after_is_respected(scripted: Scripted, pauses: list[float], header: str, least: float) -> None:
    client, _ = scripted(refused(429, "RATE_LIMITED", {"Retry-After": header}), ok(CONTAINER))
    client.api.containers.get(ID)
    (pause,) = pauses
    assert least <= pause <= max(least, 0.25)


def test_a_long_retry_after_raises_the_error(scripted: Scripted, pauses: list[float]) -> None:
    client, _ = scripted(refused(429, "RATE_LIMITED", {"Retry-After": "3600"}))
    with pytest.raises(RateLimitedError) as limited:
        client.api.containers.get(ID)
    assert limited.value.retry_after == 3600
    assert pauses == []


def test_retries_can_be_disabled(scripted: Scripted) -> None:
    client, script = scripted(httpx.ReadTimeout(""), retries=Retries(attempts=1))
    with pytest.raises(TransportError):
        client.api.containers.get(ID)
    assert len(script.requests) == 1
    with pytest.raises(ValueError, match="at least 1"):
        Retries(attempts=0)


def test_the_request(scripted: Scripted) -> None:
    client, script = scripted(ok(STARTED))
    client.api.containers.manage(ID, "start")
    (request,) = script.requests
    assert str(request.url) == f"https://api.example/prod/api/v1/containers/{ID}/start"
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    assert request.headers["User-Agent"].startswith("longshore-client/")
    assert request.content == b""


def test_the_token_is_not_in_any_repr_or_log(scripted: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    client, _ = scripted(httpx.ReadTimeout(""), httpx.ReadTimeout(""), retries=Retries(attempts=2))
    with pytest.raises(TransportError) as lost:
        client.api.containers.get(ID)
    inside = [vars(client), client.api, client.api.containers, vars(client.api.containers)]
    for shown in (client, *inside, lost.value, vars(lost.value), lost.value.__cause__, caplog.text):
        assert SECRET not in repr(shown)
        assert SECRET not in str(shown)


@pytest.mark.parametrize("token", ["", "two words", "line\n", "ü"])
def test_an_invalid_token_is_refused_and_not_in_the_message(token: str) -> None:
    with pytest.raises(ValueError, match="visible ASCII") as refusal:
        Longshore("https://api.example", token)
    assert not token or token not in str(refusal.value)
    with Longshore("https://api.example", lambda: token) as client, pytest.raises(ValueError, match="visible ASCII"):
        client.api.containers.get(ID)


@pytest.mark.parametrize(
    "url", ["", "api.example", "ftp://api.example", "https://", "https://a.example?x=1", "http://a:b@c.example"]
)
def test_an_invalid_base_url(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        Longshore(url, SECRET)


@pytest.mark.parametrize("key", ["", "a b", "ü"])
def test_an_invalid_key(scripted: Scripted, key: str) -> None:
    client, script = scripted()
    with pytest.raises(ValueError, match="idempotency key"):
        client.api.containers.manage(ID, "start", idempotency_key=key)
    assert script.requests == []


@pytest.mark.parametrize(
    "change",
    [{"status": None}, {"status_since": "yesterday"}, {"status_since": "2026-01-15"}, {"allowed_operations": [1]}],
)
def test_a_response_with_an_unknown_form(scripted: Scripted, change: dict[str, Any]) -> None:
    client, _ = scripted(ok({**CONTAINER, **change}))
    with pytest.raises(UnexpectedAnswerError, match="a form that this client does not know"):
        client.api.containers.get(ID)


def test_unknown_values_and_fields_are_kept(scripted: Scripted) -> None:
    client, _ = scripted(ok({**CONTAINER, "status": "hibernated", "region": "north"}))
    container = client.api.containers.get(ID)
    assert (container.status, container.raw["region"]) == ("hibernated", "north")
    assert json.loads(json.dumps(container.raw)) == {**CONTAINER, "status": "hibernated", "region": "north"}


def test_a_404_of_the_api_is_not_retried(scripted: Scripted) -> None:
    client, _ = scripted(refused(404, "CONTAINER_NOT_FOUND"))
    with pytest.raises(ContainerNotFoundError):
        client.api.containers.get(ID)
