"""Tests of the script of the SSM document with a fake Docker: rejected input, effects, and exit codes."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from host_script import CONTAINER, NOW, A, Answer, B, C, ScriptHost, host_document, parameters

from local.emulator import AwsError, CommandSimulation, StaticCatalog, TaskSimulation
from local.emulator.ssm import Outcome, Script, check_parameters, render
from local.emulator.ssm.agent import run_script

HOST = "i-0a1b2c3d4e5f60718"
RESULTING_STATE = {"pause": "paused", "unpause": "running", "kill": "exited"}

# ── Rejected input ──────────────────────────────────────────────────────────────────────────────────────

# If executed, each creates a file named `broken-out` in the current folder.
ESCAPES = [
    "; touch broken-out",
    "$(touch broken-out)",
    "`touch broken-out`",
    "' ; touch broken-out ; '",
    '" ; touch broken-out ; "',
    "\\' ; touch broken-out ; \\'",
    "\ntouch broken-out\n",
    "\nSENT\ntouch broken-out\n",
    "\r\nSENT\r\ntouch broken-out\n",
    "\u2028touch broken-out",
    "&& touch broken-out #",
    "| touch broken-out",
    ">broken-out",
]
ACTIONS = [
    "",
    "stop",
    "rm",
    "PAUSE",
    "pause ",
    " pause",
    "pause\n",
    "*",
    "?ause",
    *ESCAPES,
    *(f"kill{e}" for e in ESCAPES),
]
IDS = ["", " ", "a", A[1:], A + "a", A.upper(), "g" * 64, "é" * 64, "٣" * 64, f" {A}", f"{A} {B}", f"{A},{B}", "*" * 64]
IDS += ["--help", *ESCAPES, *(f"{A}{escape}" for escape in ESCAPES), *(f"{escape}{A}" for escape in ESCAPES)]
# Python's `$` matches before a final line break, unlike that of Systems Manager. The script has to reject it.
IDS_FOR_THE_SCRIPT = [*IDS, f"{A}\n"]

CONTAINERS = ["", "a", CONTAINER[1:], CONTAINER + "0", CONTAINER.upper().replace("5", "F"), "../../../../../etc/passwd"]
CONTAINERS += ["/" * 24, "." * 24, " " * 24, "g" * 24, "٣" * 24, *ESCAPES, *(CONTAINER + each for each in ESCAPES)]
NUMBERS = ["", "0", "00", "01", "-1", "+1", "1.0", "1e3", "0x1", " 1", "1 ", "1 -o 1", "9" * 16, "a", "٣", "-", "!"]
NUMBERS += [*ESCAPES, *(f"1{each}" for each in ESCAPES)]
TIMES = ["", "-1", "+1", "1.0", "0x1", " 1", "1 ", "1 -o 1", "9" * 13, "a", "٣", "-", "now", *ESCAPES]
TIMES += [f"{NOW}{each}" for each in ESCAPES]
OTHERS = [
    *(("container", value) for value in CONTAINERS),
    *(("number", value) for value in NUMBERS),
    *(("expires", value) for value in TIMES),
]
# See IDS_FOR_THE_SCRIPT.
OTHERS_FOR_THE_SCRIPT = [*OTHERS, ("container", f"{CONTAINER}\n"), ("number", "1\n"), ("expires", f"{NOW}\n")]


@pytest.mark.parametrize("action", ACTIONS)
def test_systems_manager_rejects_an_action(action: str) -> None:
    with pytest.raises(AwsError, match="InvalidParameters"):
        check_parameters(host_document(), parameters(action, A))


@pytest.mark.parametrize("identity", IDS)
@pytest.mark.parametrize("before", [[], [A]])
def test_systems_manager_rejects_an_id(before: list[str], identity: str) -> None:
    with pytest.raises(AwsError, match="InvalidParameters"):
        check_parameters(host_document(), parameters("kill", *before, identity))


@pytest.mark.parametrize(("name", "value"), OTHERS)
def test_systems_manager_rejects_other_parameters(name: str, value: str) -> None:
    with pytest.raises(AwsError, match="InvalidParameters"):
        check_parameters(host_document(), parameters("kill", A, **{name: value}))


def test_systems_manager_accepts_minimum_and_maximum() -> None:
    for others in ({"number": "1", "expires": "0"}, {"number": "9" * 15, "expires": "9" * 12}):
        given = parameters("pause", *[A] * 10, **others)
        assert check_parameters(host_document(), given) == given


@pytest.mark.parametrize(
    "change",
    [
        {"runtimeIds": []},
        {"runtimeIds": [A] * 11},
        {"action": []},
        {"action": ["pause", "kill"]},
        {"container": []},
        {"container": [CONTAINER, CONTAINER]},
        {"number": []},
        {"number": ["1", "2"]},
        {"expires": []},
        {"expires": ["1", "2"]},
        {"commands": ["true"]},
    ],
)
def test_systems_manager_rejects_other_numbers_of_values(change: dict[str, list[str]]) -> None:
    with pytest.raises(AwsError, match="InvalidParameters"):
        check_parameters(host_document(), {**parameters("pause", A), **change})


@pytest.mark.parametrize("missing", parameters("pause", A))
def test_systems_manager_requires_every_parameter(missing: str) -> None:
    given = {name: values for name, values in parameters("pause", A).items() if name != missing}
    with pytest.raises(AwsError, match="InvalidParameters"):
        check_parameters(host_document(), given)


REFUSALS = ["unknown action", "not container ids", "not a Longshore container", "not a sequence number", "not a time"]


def refused(answer: Answer, host: ScriptHost, folder: Path) -> None:
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr in [f"refused: {reason}\n" for reason in REFUSALS]
    assert host.calls == []
    assert host.states == ["running"]
    assert not host.state.exists()
    assert not list(folder.rglob("broken-out"))


@pytest.fixture
def here(host: ScriptHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the script runs, on a host with a container."""
    monkeypatch.chdir(tmp_path)
    host.has(a="running")
    return tmp_path


@pytest.mark.parametrize("action", ACTIONS)
def test_the_script_rejects_an_action(host: ScriptHost, here: Path, action: str) -> None:
    refused(host.run(action, A), host, here)


@pytest.mark.parametrize("identity", IDS_FOR_THE_SCRIPT)
def test_the_script_rejects_an_id(host: ScriptHost, here: Path, identity: str) -> None:
    refused(host.run("kill", A, identity), host, here)
    refused(host.run("kill", identity), host, here)


@pytest.mark.parametrize(("name", "value"), OTHERS_FOR_THE_SCRIPT)
def test_the_script_rejects_other_parameters(host: ScriptHost, here: Path, name: str, value: str) -> None:
    refused(host.run("kill", A, **{name: value}), host, here)


@pytest.mark.parametrize("name", ["action", "runtimeIds", "container", "number", "expires"])
def test_the_script_rejects_other_numbers_of_values(host: ScriptHost, here: Path, name: str) -> None:
    given = parameters("kill", A)
    refused(host.execute(host.text({**given, name: []})), host, here)
    if name != "runtimeIds":
        refused(host.execute(host.text({**given, name: given[name] * 2})), host, here)


@pytest.mark.parametrize("text", [escape for escape in ESCAPES if "\n" not in escape])
@pytest.mark.parametrize("frame", ["%s", '["pause"]%s', '["%s"]', '["pause%s"]', f'["{A}"%s]', '["1"%s]', '["1%s"]'])
def test_the_script_is_safe_with_any_single_line_parameter(host: ScriptHost, here: Path, text: str, frame: str) -> None:
    """The script is safe even if the agent does not encode parameters as JSON."""
    put = frame % text
    script = host.moved("\n".join(host_document()["mainSteps"][0]["inputs"]["runCommand"]))
    good = {name: f'["{values[0]}"]' for name, values in parameters("pause", A).items()}
    for bad in ({name: put} for name in good):
        filled = script
        for name, value in {**good, **bad}.items():
            filled = filled.replace("{{ " + name + " }}", value)
        assert "{{" not in filled
        refused(host.execute(filled), host, here)


# ── Effects ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("action", "before"), [("pause", "running"), ("unpause", "paused"), ("kill", "running")])
def test_the_action_applies_to_all_containers(host: ScriptHost, action: str, before: str) -> None:
    host.has(a=before, b=before, c=before)
    answer = host.run(action, A, B, C)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert host.states == [RESULTING_STATE[action]] * 3
    assert host.calls == [f"{action} {container}" for container in (A, B, C)]


@pytest.mark.parametrize("action", RESULTING_STATE)
def test_a_repeat_changes_nothing(host: ScriptHost, action: str) -> None:
    host.has(a=RESULTING_STATE[action], b=RESULTING_STATE[action])
    assert host.run(action, A, B).returncode == 0
    assert host.states == [RESULTING_STATE[action]] * 2


@pytest.mark.parametrize("action", RESULTING_STATE)
def test_the_same_container_twice(host: ScriptHost, action: str) -> None:
    host.has(a="paused" if action == "unpause" else "running")
    assert host.run(action, A, A).returncode == 0
    assert host.states == [RESULTING_STATE[action]]


def test_a_paused_container_can_be_killed(host: ScriptHost) -> None:
    host.has(a="paused")
    assert host.run("kill", A).returncode == 0
    assert host.states == ["exited"]


EXITED = ["exited", "dead", "removing", None]


@pytest.mark.parametrize("state", EXITED)
def test_an_exited_container_needs_no_kill(host: ScriptHost, state: str | None) -> None:
    host.has(b="running", **({"a": state} if state else {}))
    assert host.run("kill", A, B).returncode == 0
    assert host.states[-1] == "exited"


@pytest.mark.parametrize(("action", "before"), [("pause", "running"), ("unpause", "paused")])
@pytest.mark.parametrize("state", EXITED)
def test_an_exited_container_is_skipped(host: ScriptHost, action: str, before: str, state: str | None) -> None:
    host.has(b=before, **({"a": state} if state else {}))
    assert host.run(action, A, B).returncode == 0
    assert host.states == ([state] if state else []) + [RESULTING_STATE[action]]
    assert host.run(action, B, A).returncode == 0, "it is already in this state"


@pytest.mark.parametrize("action", ["pause", "unpause"])
@pytest.mark.parametrize("state", ["created", "restarting", *EXITED])
def test_a_task_without_running_containers_cannot_be_paused(host: ScriptHost, action: str, state: str | None) -> None:
    host.has(**({"a": state} if state else {}))
    assert host.run(action, A, B).returncode == 1
    assert host.states == ([state] if state else [])


@pytest.mark.parametrize(("action", "before"), [("pause", "running"), ("unpause", "paused")])
def test_a_partial_failure_is_reverted(host: ScriptHost, action: str, before: str) -> None:
    host.has(a=before, b=before, c=before)
    host.refuses(action, C)
    assert host.run(action, A, B, C).returncode == 1
    assert host.states == [before] * 3


def test_a_failure_does_not_unpause_containers_that_were_paused_before(host: ScriptHost) -> None:
    host.has(a="paused", b="running", c="running")
    host.refuses("pause", C)
    assert host.run("pause", A, B, C).returncode == 1
    assert host.states == ["paused", "running", "running"]


def test_a_failure_that_cannot_be_reverted_is_reported(host: ScriptHost) -> None:
    host.has(a="running", b="running", c="running")
    host.refuses("pause", C)
    host.refuses("unpause", A)
    assert host.run("pause", A, B, C).returncode == 2
    assert host.states == ["paused", "running", "running"], "the others are reverted"


def test_a_lost_response_of_docker(host: ScriptHost) -> None:
    """The container has the requested state, but the script does not know whether it changed it."""
    host.has(a="running", b="running")
    host.loses("pause", A)
    assert host.run("pause", A).returncode == 0
    host.has(a="running")
    host.refuses("pause", B)
    assert host.run("pause", A, B).returncode == 2


def test_a_failed_kill_does_not_prevent_the_others(host: ScriptHost) -> None:
    host.has(a="running", b="running", c="running")
    host.refuses("kill", B)
    assert host.run("kill", A, B, C).returncode == 2
    assert host.states == ["exited", "running", "exited"]
    assert host.run("kill", B).returncode == 1, "nothing was changed"


@pytest.mark.parametrize("action", RESULTING_STATE)
def test_without_docker_the_effect_is_unknown(host: ScriptHost, action: str) -> None:
    host.has(a=RESULTING_STATE[action])
    host.is_down()
    answer = host.run(action, A)
    assert answer.returncode == 2, "it may have been changed just before"
    assert "Cannot connect to the Docker daemon" in answer.stderr


# ── Results in Systems Manager ───────────────────────────────────────────────────────────────────────


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


class Here:
    """This machine as the host of every instance."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host

    def run(self, script: Script, done: Any) -> None:
        done(run_script(Script(self._host.moved(script.text), script.timeout)))


def command(host: ScriptHost, number: int, action: str, *ids: str) -> dict[str, Any]:
    """Send a command, and return the result of GetCommandInvocation after it has ended."""
    clock = Clock()
    catalog = StaticCatalog()
    catalog.add_cluster("main")
    tasks = TaskSimulation(catalog, clock.now, rng=random.Random(1))
    tasks.add_instance("main", HOST)
    content = host_document()
    commands = CommandSimulation(tasks, lambda *_: content, clock.now, rng=random.Random(1), host=Here(host))
    given = parameters(action, *ids, number=str(number))
    sent = commands.handle("SendCommand", {"DocumentName": "d", "InstanceIds": [HOST], "Parameters": given})
    clock.time += timedelta(seconds=1)
    return commands.handle("GetCommandInvocation", {"CommandId": sent["Command"]["CommandId"], "InstanceId": HOST})


def test_the_exit_code_becomes_status_and_response_code(host: ScriptHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", host.environment["PATH"])
    host.has(a="running", b="running")
    answer = command(host, 1, "pause", A, B)
    assert (answer["Status"], answer["StatusDetails"], answer["ResponseCode"]) == ("Success", "Success", 0)
    assert (answer["StandardOutputContent"], answer["StandardErrorContent"]) == ("", "")
    assert host.states == ["paused", "paused"]

    host.refuses("unpause", B)
    answer = command(host, 2, "unpause", A, B)
    assert (answer["Status"], answer["StatusDetails"], answer["ResponseCode"]) == ("Failed", "Failed", 1)
    error = "Error response from daemon: no\nfailed to run commands: exit status 1"
    assert answer["StandardErrorContent"] == error

    host.refuses("pause", A)
    assert command(host, 3, "unpause", A, B)["ResponseCode"] == 2


def test_a_script_that_takes_too_long_is_killed() -> None:
    """Child processes are killed as well, because the agent would wait for them."""
    document = {
        "parameters": {},
        "mainSteps": [{"inputs": {"timeoutSeconds": "0.2", "runCommand": ["sleep 60 & wait"]}}],
    }
    assert run_script(render(document, {})) == Outcome(None)


def test_lists_are_inserted_as_json_and_strings_unchanged() -> None:
    document = {
        "parameters": {"one": {"type": "String"}, "many": {"type": "StringList"}},
        "mainSteps": [{"inputs": {"runCommand": ["echo {{one}}", "echo {{ many }} {{ other }}"]}}],
    }
    script = render(document, {"one": ["a'b"], "many": ['a"b', "c\nd", "<é>"]})
    assert script.text == 'echo a\'b\necho ["a\\"b","c\\nd","\\u003cé\\u003e"] {{ other }}'
