"""The least that a function can do: it writes a page that it has as JSON. What the others are compared with."""

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
