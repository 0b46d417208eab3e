"""Tests of the log line and the metrics of each request."""

import io
import json
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from longshore.domain.errors import AccountBannedError, ExternalServiceError, StateConflictError
from longshore.domain.lifecycle import Operation
from longshore.domain.models import OutcomeKind
from longshore.edge import logs, metrics
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
    line = log.lines[-1]
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Longshore"
    assert {metric["Name"] for metric in directive["Metrics"]} == {"Requests", "Duration"} | counted
    assert directive["Dimensions"] == [["function", "service"]]
    assert (line["function"], line["message"]) == ("longshore-Start", "answered")
    assert all(line[name] == 1.0 for name in counted)
    assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 60
    # No other line contains metrics.
    assert "_aws" not in "".join(log.text.splitlines()[:-1]) + capsys.readouterr().out


def test_metrics_do_not_depend_on_the_log_level(
    log: Log, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logger._logger, "level", logging.ERROR)
    call(fine)
    assert log.lines == []
    (line,) = capsys.readouterr().out.splitlines()
    published = json.loads(line)
    (directive,) = published["_aws"]["CloudWatchMetrics"]
    assert (published["function"], published["Requests"]) == ("longshore-Start", [1.0])
    assert directive["Namespace"] == "Longshore"


def test_metrics_can_be_disabled(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    metrics._described.cache_clear()
    try:
        call(fine)
    finally:
        metrics._described.cache_clear()
    assert log.lines[-1]["status"] == 200
    assert "_aws" not in log.text


# --- the log ----------------------------------------------------------------------------------------------------------


def test_a_request_log_line_equals_the_line_of_powertools(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Except for the location in the code, which is always the same."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=x;Sampled=1")
    fields = {"number": 7, "nothing": None, "text": "é\n", "more": {"a": [1, None]}, "operation": Operation.STOP}
    logger.thread_safe_append_keys(correlation_id="request-1")
    assert logs.tell("said", fields)
    logger.info("said", extra=fields)
    logger.thread_safe_clear_keys()
    ours, theirs = log.lines
    for line in (ours, theirs):
        assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert theirs.pop("location").startswith("test_a_request_log_line")
    assert ours == theirs
    assert (ours["xray_trace_id"], ours["text"]) == ("1-5759e988-bd862e3fe1be46a994272793", "é\n")
    assert len(log.text.splitlines()) == 2


def test_the_timestamp_of_a_log_line(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1736937000.0999, 1736937000.9999, 1736937001.0, 1767225599.5]
    for moment in moments:
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda moment=moment: moment)
            logs.tell("said", {})
    assert [line["timestamp"] for line in log.lines] == [
        "2025-01-15T10:30:00.099+00:00",
        "2025-01-15T10:30:00.999+00:00",
        "2025-01-15T10:30:01.000+00:00",
        "2025-12-31T23:59:59.500+00:00",
    ]


def test_a_value_that_is_not_json_is_logged_as_text(log: Log) -> None:
    assert logs.tell("said", {"it": CONTEXT})
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
