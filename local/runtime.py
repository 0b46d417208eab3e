"""Runs Lambda handlers in this process, many at a time.

What differs from Lambda: all functions share one process and one environment; a handler that runs over its time is
answered for, but cannot be killed, and goes on; and a function is its one module, which cannot import its neighbours.
"""

from __future__ import annotations

import gc
import importlib.util
import itertools
import json
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from local.template import REGION, Function

LOG = logging.getLogger("local.runtime")

# Lambda's limit for one synchronous request or answer, in bytes of JSON.
PAYLOAD_LIMIT = 6_291_556

Handler = Callable[[Any, "LambdaContext"], Any]

_MODULE_PREFIX = "_longshore_function_"
_serial = itertools.count(1)


class RuntimeConfigurationError(Exception):
    """The functions cannot run together, or one cannot be loaded; the message says which and why."""


class FunctionError(Exception):
    """A handler raised, or answered with what is not JSON. `message` is the exception's text."""

    def __init__(self, function: str, error_type: str, message: str) -> None:
        super().__init__(f"{function}: {error_type}")
        self.error_type = error_type
        self.message = message


class FunctionTimeoutError(Exception):
    """A handler did not answer within its function's timeout, or within the caller's wait."""


class PayloadTooLargeError(Exception):
    """The event is larger than Lambda takes."""


class LambdaContext:
    """The second argument of a handler, with the names that Lambda gives."""

    function_version = "$LATEST"
    identity = None
    client_context = None

    def __init__(self, function: Function, request_id: str | None = None) -> None:
        self.aws_request_id = request_id or str(uuid.uuid4())
        self.function_name = function.name
        self.invoked_function_arn = function.arn
        self.memory_limit_in_mb = str(function.memory)
        self.log_group_name = f"/aws/lambda/{function.name}"
        self.log_stream_name = f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        self._deadline = time.monotonic() + function.timeout

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's timeout, never below zero."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class Runtime:
    """The functions of a stack.

    `start()` makes this process look like Lambda to them and imports them; `stop()` undoes it. Both change what is
    global to the process (the environment, `sys.path`, `sys.modules`), so only one runtime is started at a time.
    """

    def __init__(self, functions: Mapping[str, Function], layers: Iterable[Path] = ()) -> None:
        """RuntimeConfigurationError when two functions want different values of one environment variable."""
        self._functions = functions
        self._layers = [str(layer / "python" if (layer / "python").is_dir() else layer) for layer in layers]
        self._handlers: dict[str, Handler] = {}
        self._saved_environment: dict[str, str] | None = None
        self._saved_path: list[str] = []
        self._saved_modules: dict[str, ModuleType] = {}
        self.environment = _shared_environment(functions.values())

    def start(self) -> None:
        """Set the environment and import every function. RuntimeConfigurationError when one cannot be imported."""
        self._saved_environment = dict(os.environ)
        self._saved_path = list(sys.path)
        # A cold start: what the layers' modules keep (clients above all) belongs to another environment.
        self._saved_modules = self._take_layer_modules()
        os.environ.update(self.environment)
        sys.path[:0] = self._layers
        importlib.invalidate_caches()
        threshold = gc.get_threshold()
        try:
            self._handlers = {name: _load(function) for name, function in self._functions.items()}
            # A function arranges for its garbage as if the process were its own. Here it is whoever's that runs them.
            gc.unfreeze()
            gc.set_threshold(*threshold)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Put back the environment, `sys.path` and the modules as `start()` found them."""
        if self._saved_environment is None:
            return
        self._handlers = {}
        for name in [name for name in sys.modules if name.startswith(_MODULE_PREFIX)]:
            del sys.modules[name]
        self._take_layer_modules()
        sys.modules.update(self._saved_modules)
        sys.path[:] = self._saved_path
        os.environ.clear()
        os.environ.update(self._saved_environment)
        self._saved_environment = None

    def invoke(self, function: str, event: Any, wait: float | None = None, *, request_id: str | None = None) -> Any:
        """Call a function, by logical id, with an event of JSON values, and return its answer, also JSON values.

        `wait` (seconds) is how long the caller stays; the function's own timeout holds in any case. `request_id` is
        that of an attempt before, when this one repeats it.
        FunctionError, FunctionTimeoutError, PayloadTooLargeError; KeyError when there is no such function.
        """
        definition = self._functions[function]
        handler = self._handlers[function]
        payload = json.dumps(event)
        if len(payload) > PAYLOAD_LIMIT:
            raise PayloadTooLargeError(function)
        call = _Call(definition, handler, payload, request_id)
        timeout = float(definition.timeout) if wait is None else min(wait, definition.timeout)
        if not call.done.wait(timeout):
            LOG.error("%s did not answer within %g s", function, timeout)
            raise FunctionTimeoutError(function)
        return call.result()

    def _take_layer_modules(self) -> dict[str, ModuleType]:
        """Remove from `sys.modules`, and return, all modules that come from a layer's folder."""
        taken = {}
        for name, module in list(sys.modules.items()):
            origin = getattr(module, "__file__", None)
            if origin and any(origin.startswith(layer + os.sep) for layer in self._layers):
                taken[name] = sys.modules.pop(name)
        return taken


class _Call:
    """One invocation, in a thread of its own. A daemon thread: one that hangs must not keep the process."""

    def __init__(self, function: Function, handler: Handler, payload: str, request_id: str | None) -> None:
        self.done = threading.Event()
        self._request_id = request_id
        self._function = function
        self._handler = handler
        self._payload = payload
        self._answer: Any = None
        self._error: FunctionError | None = None
        threading.Thread(target=self._run, name=function.logical_id, daemon=True).start()

    def _run(self) -> None:
        name = self._function.logical_id
        try:
            answer = self._handler(json.loads(self._payload), LambdaContext(self._function, self._request_id))
            self._answer = json.loads(_encode_answer(answer))
        except BaseException as error:
            # All of them: in Lambda, SystemExit ends a sandbox, not the service.
            LOG.exception("%s raised", name)
            self._error = FunctionError(name, type(error).__name__, str(error))
        finally:
            self.done.set()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._answer


def _encode_answer(answer: Any) -> str:
    encoded = json.dumps(answer)
    if len(encoded) > PAYLOAD_LIMIT:
        raise ValueError("the answer is larger than Lambda returns")
    return encoded


def _shared_environment(functions: Iterable[Function]) -> dict[str, str]:
    """The union of the functions' environments, and what Lambda itself sets."""
    environment = {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_LAMBDA_FUNCTION_NAME": "longshore-local",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/longshore-local",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
    }
    owners: dict[str, str] = {}
    for function in functions:
        for name, value in function.environment.items():
            if environment.setdefault(name, value) != value:
                other = owners.get(name, "Lambda itself")
                raise RuntimeConfigurationError(
                    f"{function.logical_id} and {other} want different values of {name},"
                    " and functions share one environment locally"
                )
            owners[name] = function.logical_id
    return environment


def _load(function: Function) -> Handler:
    """Import a function's module under a name that no other has, and return its handler."""
    module_name, _, attribute = function.handler.rpartition(".")
    path = function.code_path / f"{module_name.replace('.', '/')}.py"
    if not path.is_file():
        raise RuntimeConfigurationError(f"{function.logical_id}: there is no {path}")
    unique_name = f"{_MODULE_PREFIX}{next(_serial)}_{function.logical_id}"
    spec = importlib.util.spec_from_file_location(unique_name, path)
    if spec is None or spec.loader is None:
        raise RuntimeConfigurationError(f"{function.logical_id}: {path} is not a module")
    module = importlib.util.module_from_spec(spec)
    # Known by its name while it runs: dataclasses and pydantic look their module up.
    sys.modules[unique_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[unique_name]
        raise RuntimeConfigurationError(f"{function.logical_id}: {path} cannot be imported: {error!r}") from error
    handler: Handler | None = getattr(module, attribute, None)
    if handler is None:
        raise RuntimeConfigurationError(f"{function.logical_id}: {path} has no {attribute}")
    return handler
