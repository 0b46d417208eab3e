"""Tests of the local runtime, which calls handlers as Lambda does."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import template
from local.runtime import FunctionError, FunctionTimeoutError, Runtime, RuntimeConfigurationError


def function(tmp_path: Path, name: str, code: str, timeout: int = 5, **environment: str) -> template.Function:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "app.py").write_text(textwrap.dedent(code))
    return template.Function(name, f"longshore-{name}", f"arn:{name}", folder, "app.handler", environment, timeout, 256)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Runtime]]:
    started: list[Runtime] = []

    def start(*functions: template.Function, layers: tuple[Path, ...] = ()) -> Runtime:
        runtime = Runtime({f.logical_id: f for f in functions}, layers)
        runtime.start()
        started.append(runtime)
        return runtime

    yield start
    for runtime in reversed(started):
        runtime.stop()


def test_a_handler_runs_as_in_lambda(tmp_path: Path, run: Callable[..., Runtime]) -> None:
    code = """
        import os
        seen = []
        def handler(event, context):
            seen.append(event)
            return {
                "event": event, "calls": len(seen), "env": os.environ["COLOUR"], "tuple": (1, 2),
                "name": context.function_name, "arn": context.invoked_function_arn,
                "memory": context.memory_limit_in_mb, "left": context.get_remaining_time_in_millis(),
                "id": context.aws_request_id,
            }
    """
    runtime = run(function(tmp_path, "One", code, COLOUR="blue", A="1"), function(tmp_path, "Two", code, COLOUR="blue"))
    first = runtime.invoke("One", {"x": 1})
    assert first["event"] == {"x": 1}
    assert (first["env"], first["tuple"]) == ("blue", [1, 2])
    assert (first["name"], first["arn"], first["memory"]) == ("longshore-One", "arn:One", "256")
    assert 0 < first["left"] <= 5000
    second = runtime.invoke("One", {})
    assert second["calls"] == 2
    assert second["id"] != first["id"]
    # Two functions do not share a module, although both modules are named app.
    assert runtime.invoke("Two", {})["calls"] == 1


def test_a_handler_that_fails(tmp_path: Path, run: Callable[..., Runtime], caplog: pytest.LogCaptureFixture) -> None:
    code = """
        def handler(event, context):
            if event == "exit":
                raise SystemExit(1)
            if event == "set":
                return {1, 2}
            raise ValueError("boom")
    """
    runtime = run(function(tmp_path, "Bad", code))
    with pytest.raises(FunctionError) as raised:
        runtime.invoke("Bad", None)
    assert (raised.value.error_type, raised.value.message) == ("ValueError", "boom")
    assert "Traceback" in caplog.text
    with pytest.raises(FunctionError):
        runtime.invoke("Bad", "exit")
    with pytest.raises(FunctionError):
        runtime.invoke("Bad", "set")


def test_a_handler_that_times_out(tmp_path: Path, run: Callable[..., Runtime]) -> None:
    code = """
        import threading
        go_on = threading.Event()
        def handler(event, context):
            if event == "end":
                go_on.set()
            else:
                go_on.wait()
    """
    runtime = run(function(tmp_path, "Slow", code))
    with pytest.raises(FunctionTimeoutError):
        runtime.invoke("Slow", "wait", wait=0.01)
    runtime.invoke("Slow", "end")


def test_functions_must_agree_on_the_environment(tmp_path: Path) -> None:
    code = "def handler(event, context): ..."
    one = function(tmp_path, "One", code, SHARED="1", SAME="x")
    two = function(tmp_path, "Two", code, SHARED="2", SAME="x")
    with pytest.raises(RuntimeConfigurationError, match=r"Two and One .* SHARED"):
        Runtime({"One": one, "Two": two})


def test_start_is_cold_and_stop_cleans_up(tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    (layer / "module_of_the_test.py").write_text("import os\nCOLOUR = os.environ['COLOUR']\n")
    code = """
        def handler(event, context):
            import module_of_the_test
            return module_of_the_test.COLOUR
    """
    before = (dict(os.environ), list(sys.path), set(sys.modules))
    for colour in ("red", "green"):
        folder = tmp_path / colour
        folder.mkdir()
        runtime = Runtime({"F": function(folder, "F", code, COLOUR=colour)}, [layer])
        runtime.start()
        try:
            assert runtime.invoke("F", {}) == colour
        finally:
            runtime.stop()
    assert (dict(os.environ), list(sys.path)) == before[:2]
    assert "module_of_the_test" not in sys.modules


def test_an_error_of_loading_names_the_function(tmp_path: Path) -> None:
    before = dict(os.environ)
    for name, code in (("Broken", "import nothing_of_that_name"), ("Empty", "x = 1")):
        runtime = Runtime({name: function(tmp_path, name, code, MARK="1")})
        with pytest.raises(RuntimeConfigurationError, match=name):
            runtime.start()
        assert dict(os.environ) == before
