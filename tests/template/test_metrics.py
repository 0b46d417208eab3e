"""Tests that the alarms and the dashboard use the metrics that the functions publish."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from longshore.aws.history_size import WARNED_FROM
from longshore.edge.metrics import ALWAYS, Metric, publish

from local import template

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stack() -> template.Stack:
    return template.load(parameters={"MetricsEnabled": "true"})


def test_alarms_and_dashboard_use_published_metrics(stack: template.Stack) -> None:
    alarms = stack.of_type("AWS::CloudWatch::Alarm").values()
    own = {alarm["MetricName"] for alarm in alarms if alarm.get("Namespace") == "Longshore"}
    (dashboard,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    body = dashboard["DashboardBody"]
    json.loads(body)
    shown = set(re.findall(r'MetricName=\\"(\w+)\\"', body)) | set(re.findall(r'"Longshore", "(\w+)"', body))
    assert own | shown <= set(Metric)
    assert shown == set(Metric), "the dashboard lacks a metric"


def test_alarms_without_the_metrics_use_those_that_are_always_published(stack: template.Stack) -> None:
    alarms = template.load().of_type("AWS::CloudWatch::Alarm")
    own = {alarm["MetricName"] for alarm in alarms.values() if alarm.get("Namespace") == "Longshore"}
    assert own == ALWAYS
    more = {"ReadFunctionErrorsAlarm", "OperationFunctionErrorsAlarm", "TableThrottlesAlarm", "IndexThrottlesAlarm"}
    assert stack.of_type("AWS::CloudWatch::Alarm").keys() - alarms.keys() == more


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_the_api_publishes_detailed_metrics_on_request(enabled: str) -> None:
    found = template.load(parameters={"MetricsEnabled": enabled})
    assert found.api is not None
    assert [settings["MetricsEnabled"] for settings in found.api.method_settings] == [enabled == "true"]
    assert len(found.of_type("AWS::CloudWatch::Dashboard")) == (enabled == "true")
    assert {function.environment["METRICS_ENABLED"] for function in found.functions.values()} == {enabled}


@pytest.mark.parametrize("metric", Metric)
def test_every_metric_is_published(metric: Metric) -> None:
    sources = [*ROOT.glob("layers/common/longshore/*/*.py"), *ROOT.glob("functions/*/app.py")]
    users = [path for path in sources if f"Metric.{metric.name}" in path.read_text() and path.name != "metrics.py"]
    assert users


@pytest.mark.parametrize("dimensions", [{}, {"effect": "recorded"}, {"cluster": "web"}])
def test_the_dimensions_match_alarms_and_dashboard(
    stack: template.Stack,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    dimensions: dict[str, str],
) -> None:
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)
    for name, value in stack.functions["RecoverFunction"].environment.items():
        monkeypatch.setenv(name, value)
    publish("recover", {Metric.RECOVERY: 2}, **dimensions)
    written = json.loads(capsys.readouterr().out)
    (described,) = written["_aws"]["CloudWatchMetrics"]
    assert described["Namespace"] == "Longshore"
    (names,) = described["Dimensions"]
    assert sorted(names) == sorted(["service", "function", *dimensions])
    assert (written["service"], written["function"], written["Recovery"]) == ("longshore", "recover", [2.0])
    searched = "{Longshore," + ",".join(sorted(names)) + "}"
    (dashboard,) = stack.of_type("AWS::CloudWatch::Dashboard").values()
    assert searched in dashboard["DashboardBody"]


def test_the_size_of_histories_is_one_metric_for_all_functions(
    stack: template.Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is published whether or not the other metrics are."""
    monkeypatch.delenv("POWERTOOLS_METRICS_DISABLED", raising=False)
    for name, value in template.load().functions["StartFunction"].environment.items():
        monkeypatch.setenv(name, value)
    publish("start", {Metric.REQUESTS: 1, Metric.DURATION: 12})
    publish(None, {Metric.HISTORY_GIGABYTES: 8.5})
    (line,) = capsys.readouterr().out.splitlines()
    written = json.loads(line)
    (described,) = written["_aws"]["CloudWatchMetrics"]
    assert described["Metrics"] == [{"Name": "HistoryGigabytes", "Unit": "Gigabytes"}]
    assert described["Dimensions"] == [["service"]]
    alarm = stack.of_type("AWS::CloudWatch::Alarm")["HistorySizeAlarm"]
    assert alarm["Dimensions"] == [{"Name": "service", "Value": written["service"]}]
    assert alarm["Threshold"] == WARNED_FROM


def test_every_alarm_has_a_documented_response() -> None:
    pages = re.findall(r"^## (.+)$", (ROOT / "docs" / "operate.md").read_text(), re.MULTILINE)
    alarms: dict[str, Any] = template.load(parameters={"MetricsEnabled": "true"}).of_type("AWS::CloudWatch::Alarm")
    named = [re.findall(r'"([^"]+)"', alarm["AlarmDescription"])[-1] for alarm in alarms.values()]
    assert len(named) == len(alarms) > 0
    assert set(named) <= set(pages)
