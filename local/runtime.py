"""Runs Lambda handlers in this process, concurrently.

Differences to Lambda: all functions share one process and one environment. A handler that exceeds its timeout cannot be
killed, and continues after the timeout has been reported. A function consists of one module, which cannot import other
modules of its folder.
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

from local.concurrency import ACCOUNT_QUOTA, Concurrency
from local.template import REGION, Function

LOG = logging.getLogger("local.runtime")

# Lambda's limit for synchronous requests and responses, in bytes of JSON.
PAYLOAD_LIMIT = 6_291_556

Handler = Callable[[Any, "LambdaContext"], Any]

_MODULE_PREFIX = "_longshore_function_"
_serial = itertools.count(1)


class RuntimeConfigurationError(Exception):
    """The functions cannot share an environment, or a function cannot be loaded. The message states the reason."""


class FunctionError(Exception):
    """A handler raised an exception or returned a value that is not JSON. `message` is that of the exception."""

    def __init__(self, function: str, error_type: str, message: str) -> None:
        super().__init__(f"{function}: {error_type}")
        self.error_type = error_type
        self.message = message


class FunctionTimeoutError(Exception):
    """A handler did not return within the timeout of its function, or within the caller's wait."""


class PayloadTooLargeError(Exception):
    """The event exceeds Lambda's limit."""


class LambdaContext:
    """The context argument of a handler, with the attributes of Lambda's context object."""

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
        """Return the milliseconds until the timeout of the function, at least 0."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class Runtime:
    """The functions of a stack.

    `start()` prepares this process like a Lambda execution environment and imports the functions; `stop()` reverts it.
    Both change global state (the environment, `sys.path`, `sys.modules`), so only one runtime can run at a time.
    """

    def __init__(
        self, functions: Mapping[str, Function], layers: Iterable[Path] = (), quota: int = ACCOUNT_QUOTA
    ) -> None:
        """Create the runtime.

        Args:
            functions: The functions, by logical id.
            layers: The folders of the layers.
            quota: The concurrent executions of the account.

        Raises:
            RuntimeConfigurationError: Two functions need different values of an environment variable, or the functions
                reserve more executions than the quota permits.
        """
        self._functions = functions
        try:
            self._concurrency = Concurrency(functions.values(), quota)
        except ValueError as error:
            raise RuntimeConfigurationError(str(error)) from error
        self._layers = [str(layer / "python" if (layer / "python").is_dir() else layer) for layer in layers]
        self._handlers: dict[str, Handler] = {}
        self._saved_environment: dict[str, str] | None = None
        self._saved_path: list[str] = []
        self._saved_modules: dict[str, ModuleType] = {}
        self.environment = _shared_environment(functions.values())

    def start(self) -> None:
        """Set the environment and import all functions. Raises RuntimeConfigurationError if an import fails."""
        self._saved_environment = dict(os.environ)
        self._saved_path = list(sys.path)
        # As in a cold start, the modules of the layers are imported again: their state belongs to another environment.
        self._saved_modules = self._take_layer_modules()
        os.environ.update(self.environment)
        sys.path[:0] = self._layers
        importlib.invalidate_caches()
        threshold = gc.get_threshold()
        try:
            self._handlers = {name: _load(function) for name, function in self._functions.items()}
            # Functions configure the garbage collector for their own process. Here they share this process.
            gc.unfreeze()
            gc.set_threshold(*threshold)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Restore the environment, `sys.path` and the modules."""
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
        """Invoke a function.

        Args:
            function: The logical id of the function.
            event: The event, of JSON values.
            wait: The maximum time to wait in seconds, in addition to the timeout of the function.
            request_id: The request id of the previous attempt, if this is a retry.

        Returns:
            The result, of JSON values.

        Raises:
            FunctionError: The function failed.
            FunctionTimeoutError: The function did not return in time.
            PayloadTooLargeError: The event is too large.
            ThrottledError: The function has no execution left.
            KeyError: There is no such function.
        """
        definition = self._functions[function]
        handler = self._handlers[function]
        payload = json.dumps(event)
        if len(payload) > PAYLOAD_LIMIT:
            raise PayloadTooLargeError(function)
        self._concurrency.begin(function)
        call = _Call(definition, handler, payload, request_id, lambda: self._concurrency.end(function))
        timeout = float(definition.timeout) if wait is None else min(wait, definition.timeout)
        if not call.done.wait(timeout):
            LOG.error("%s did not return within %g s", function, timeout)
            raise FunctionTimeoutError(function)
        return call.result()

    def _take_layer_modules(self) -> dict[str, ModuleType]:
        """Remove the modules of the layers from `sys.modules`, and return them."""
        taken = {}
        for name, module in list(sys.modules.items()):
            origin = getattr(module, "__file__", None)
            if origin and any(origin.startswith(layer + os.sep) for layer in self._layers):
                taken[name] = sys.modules.pop(name)
        return taken


class _Call:
    """An invocation in its own daemon thread: a function that hangs does not keep the process alive."""

    def __init__(
        self,
        function: Function,
        handler: Handler,
        payload: str,
        request_id: str | None,
        on_end: Callable[[], None],
    ) -> None:
        self._on_end = on_end
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
            # All exceptions: in Lambda, SystemExit ends the execution environment, not the service.
            LOG.exception("%s raised", name)
            self._error = FunctionError(name, type(error).__name__, str(error))
        finally:
            self._on_end()
            self.done.set()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._answer


def _encode_answer(answer: Any) -> str:
    encoded = json.dumps(answer)
    if len(encoded) > PAYLOAD_LIMIT:
        raise ValueError("the response exceeds Lambda's limit")
    return encoded


def _shared_environment(functions: Iterable[Function]) -> dict[str, str]:
    """Return the union of the functions' environments and the variables that Lambda sets."""
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
                    f"{function.logical_id} and {other} need different values of {name},"
                    " and functions share one environment locally"
                )
            owners[name] = function.logical_id
    return environment


def _load(function: Function) -> Handler:
    """Import the module of a function under a unique name, and return its handler."""
    module_name, _, attribute = function.handler.rpartition(".")
    path = function.code_path / f"{module_name.replace('.', '/')}.py"
    if not path.is_file():
        raise RuntimeConfigurationError(f"{function.logical_id}: there is no {path}")
    unique_name = f"{_MODULE_PREFIX}{next(_serial)}_{function.logical_id}"
    spec = importlib.util.spec_from_file_location(unique_name, path)
    if spec is None or spec.loader is None:
        raise RuntimeConfigurationError(f"{function.logical_id}: {path} is not a module")
    module = importlib.util.module_from_spec(spec)
    # dataclasses and pydantic look the module up in sys.modules.
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
