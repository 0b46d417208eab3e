"""Runs in the functions' Python: keeps a function warm, calls it on command and reports the measurements.

    serve.py stubbed REPLIES     replaces AWS with replies from a file
    serve.py live                uses AWS at AWS_ENDPOINT_URL

Reads one command per line from stdin and writes one answer per line to the original stdout. Output of the function goes
to the file LOGS or is discarded.

    {"do": "batch", "event": …, "calls": 100}    returns the CPU nanoseconds of all calls together
    {"do": "call", "event": …}                   returns the response, the seconds, the CPU seconds, the bytes printed,
                                                 and the AWS calls with their start, end and consumed capacity
    {"do": "delay", "seconds": 0.02}             adds this delay to each following AWS call
"""

import json
import os
import sys
import threading
import time
import traceback
import uuid
from typing import Any

from context import Context

channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
logs = os.open(os.environ.get("LOGS", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.dup2(logs, 1)

import app  # noqa: E402  (output during the import must not reach the channel)


class Recorder:
    """Records every AWS call, and requests the consumed capacity from DynamoDB."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.delay = 0.0
        self._lock = threading.Lock()

    def install(self) -> None:
        """Start recording the calls of all botocore clients."""
        if "botocore.client" not in sys.modules:
            return
        import botocore.client

        made: Any = botocore.client.BaseClient
        original = made._make_api_call

        def call(client: Any, operation: str, parameters: Any) -> Any:
            return self._call(original, client, operation, parameters)

        made._make_api_call = call

    def _call(self, original: Any, client: Any, operation: str, parameters: Any) -> Any:
        service = client.meta.service_model.service_name
        note: dict[str, Any] = {"service": service, "operation": operation, "error": None, "capacity": []}
        if service == "dynamodb":
            parameters = {**parameters, "ReturnConsumedCapacity": "INDEXES"}
            note["table"] = parameters.get("TableName")
        note["began"] = time.perf_counter()
        try:
            if self.delay:
                time.sleep(self.delay)
            reply = original(client, operation, parameters)
        except Exception as error:
            note["error"] = type(error).__name__
            raise
        finally:
            note["ended"] = time.perf_counter()
            with self._lock:
                self.calls.append(note)
        consumed = reply.get("ConsumedCapacity", [])
        note["capacity"] = consumed if isinstance(consumed, list) else [consumed]
        return reply


recorder = Recorder()


def batch(command: Any) -> dict[str, Any]:
    """Call the handler repeatedly and measure the CPU time without that of the stubs."""
    event, handler, context = command["event"], app.handler, Context()
    stubs = sys.modules.get("stubs")
    of_stubs = stubs.spent if stubs else 0
    began = time.process_time_ns()
    for _ in range(command["calls"]):
        handler(event, context)
    cpu = time.process_time_ns() - began
    return {"cpu": cpu - ((stubs.spent if stubs else 0) - of_stubs)}


def one(command: Any) -> dict[str, Any]:
    """Call the handler once and measure everything."""
    recorder.calls.clear()
    context = Context(str(uuid.uuid4()))
    sys.stdout.flush()
    printed = os.fstat(logs).st_size
    cpu = time.process_time()
    began = time.perf_counter()
    answer = app.handler(command["event"], context)
    seconds = time.perf_counter() - began
    cpu = time.process_time() - cpu
    sys.stdout.flush()
    return {
        "answer": answer,
        "seconds": seconds,
        "cpu": cpu,
        "printed": os.fstat(logs).st_size - printed,
        "calls": sorted(recorder.calls, key=lambda call: call["began"]),
    }


def delay(command: Any) -> dict[str, Any]:
    """Set the delay of the following AWS calls."""
    recorder.delay = command["seconds"]
    return {}


def main() -> None:
    if sys.argv[1] == "stubbed":
        import stubs

        stubs.install(sys.argv[2])
    else:
        recorder.install()
    do = {"batch": batch, "call": one, "delay": delay}
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = do[command["do"]](command)
        except Exception as error:
            answer = {"failed": "".join(traceback.format_exception(error))}
        channel.write(json.dumps(answer, default=str) + "\n")
        channel.flush()


main()
