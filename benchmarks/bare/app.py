"""Baseline of the warm calls: a function that only serializes a prepared page as JSON."""

import json
import os
from pathlib import Path

BODY = json.loads(Path(os.environ["BENCHMARK_PAGE"]).read_text(encoding="utf-8"))


def handler(event, context):
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(BODY),
        "isBase64Encoded": False,
    }
