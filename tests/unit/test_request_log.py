"""Tests of the log line and the metrics of each request."""

import io
import json
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from longshore.domain.errors import AccountBannedError, ExternalServiceError, StateConflictError
from longshore.domain.models import OutcomeKind
from longshore.edge.http import Answer, Request, operation_answer
from longshore.edge.logs import logger
from unit.http_calls import CONTEXT, Log, call, event, fine, outcome, raising

pytestmark = pytest.mark.usefixtures("function_environment")

# --- metrics ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "counted"),
    [
        (fine, set()),
        (lambda _: operation_answer(outcome(OutcomeKind.ACCEPTED)), {"Accepted"}),
        (raising(AccountBannedError()), {"Refusals"}),
        (raising(StateConflictError()), {"Refusals", "Conflicts"}),
        (raising(ExternalServiceError("x")), {"Faults"}),
        (raising(RuntimeError("x")), {"Faults"}),
    ],
    ids=["fine", "accepted", "refused", "conflict", "external", "unexpected"],
)
def test_metrics_of_a_request(
    handler: Callable[[Request], Answer], counted: set[str], log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    call(handler)
    (written,) = capsys.readouterr().out.splitlines()
    line = json.loads(written)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Longshore"
    assert {metric["Name"] for metric in directive["Metrics"]} == {"Requests", "Duration"} | counted
    assert [sorted(names) for names in directive["Dimensions"]] == [["function", "service"]]
    assert line["function"] == "longshore-Start"
    assert all(line[name] == [1.0] for name in counted)
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 60
    # No other line contains metrics.
    assert "_aws" not in log.text


def test_metrics_do_not_depend_on_the_log_level(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    before = logger.log_level
    logger.setLevel(logging.ERROR)
    try:
        call(fine)
    finally:
        logger.setLevel(before)
    assert log.lines == []
    (line,) = capsys.readouterr().out.splitlines()
    published = json.loads(line)
    (directive,) = published["_aws"]["CloudWatchMetrics"]
    assert (published["function"], published["Requests"]) == ("longshore-Start", [1.0])
    assert directive["Namespace"] == "Longshore"


def test_metrics_can_be_disabled(log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    call(fine)
    assert log.lines[-1]["status"] == 200
    assert capsys.readouterr().out == ""


# --- the log ----------------------------------------------------------------------------------------------------------


def test_the_line_of_a_request(log: Log) -> None:
    call(fine)
    line = log.lines[-1]
    assert (line["level"], line["message"], line["status"], line["code"]) == ("INFO", "request answered", 200, "OK")
    assert (line["function"], line["correlation_id"]) == ("longshore-Start", "request-1")
    moment = datetime.fromisoformat(line["timestamp"])
    assert moment.utcoffset() == timedelta(0)
    assert abs(moment.timestamp() - time.time()) < 60


def test_a_value_that_is_not_json_is_logged_as_text(log: Log) -> None:
    logger.info("logged", extra={"it": CONTEXT})
    assert log.lines[0]["it"] == str(CONTEXT)


class Broken(io.StringIO):
    def write(self, text: str, /) -> int:  # noqa: ARG002
        raise OSError("no space left")


def test_a_logging_failure_does_not_fail_the_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = logger.registered_handler
    assert isinstance(handler, logging.StreamHandler)
    before = handler.setStream(Broken())
    try:
        assert call(fine)["statusCode"] == 200
    finally:
        handler.setStream(before)
    assert "no space left" in capsys.readouterr().err
    # An unpaired surrogate cannot be encoded.
    authorizer = {"user_id": "\ud800", "expires_at": str(int(time.time()) + 3600)}
    other = event(requestContext={"requestId": "request-1", "authorizer": authorizer})
    assert call(lambda _: Answer("Fine", {}), other)["statusCode"] == 200
