"""Helpers of the tests of the local EventBridge: a small template, and fakes of the runtime and the clock."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from local import template

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Globals:
  Function: {Runtime: python3.13, Handler: app.handler}
Resources:
  Listener:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: listener
      EventInvokeConfig: {MaximumRetryAttempts: 1}
      Events:
        Instances:
          Type: EventBridgeRule
          Properties: {Pattern: {source: [aws.ec2], detail: {state: [terminated, {prefix: shutting}]}}}
        Deaf:
          Type: EventBridgeRule
          Properties: {Pattern: {source: [aws.ec2]}, State: DISABLED}
  Clockwork:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: clockwork
      Events:
        Often: {Type: Schedule, Properties: {Schedule: rate(5 minutes), Input: '{"constant": [1]}'}}
        Nightly: {Type: Schedule, Properties: {Schedule: 'cron(0 20 ? * MON-FRI *)'}}
        Never: {Type: Schedule, Properties: {Schedule: rate(1 minute), State: DISABLED}}
  # MORE
"""

START = datetime(2025, 1, 10, 19, 0, tzinfo=UTC)  # a Friday


def stack_of(folder: Path, text: str = TEMPLATE) -> template.Stack:
    path = folder / "template.yaml"
    path.write_text(text, encoding="utf-8")
    return template.load(path)


def transformed(template: str, **paths: str) -> str:
    """Return the targets of a rule: the listener, which receives the transformed event."""
    transformer = json.dumps({"InputPathsMap": paths, "InputTemplate": template})
    return f"Targets: [{{Id: a, Arn: !GetAtt Listener.Arn, InputTransformer: {transformer}}}]"


class Recorder:
    """A fake of `Runtime.invoke` that records the invocations, and raises the given failures first."""

    def __init__(self, *failures: Exception) -> None:
        self.calls: list[tuple[str, Any, str | None]] = []
        self._failures = list(failures)

    def __call__(self, function: str, event: Any, *, request_id: str | None = None) -> Any:
        self.calls.append((function, event, request_id))
        if self._failures:
            raise self._failures.pop(0)
        return {"got": event}


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now
