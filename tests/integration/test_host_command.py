"""The script of the SSM document, as it stands in the template, with a Docker that only pretends."""

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local import template
from local.emulator import AwsError, CommandSimulation, StaticCatalog, TaskSimulation
from local.emulator.docker import run_script
from local.emulator.ssm import Outcome, Script, check_parameters, render

HOST = "i-0a1b2c3d4e5f60718"
A, B, C = ("a" * 64, "b" * 64, "0123456789abcdef" * 4)
DOES = {"pause": "paused", "unpause": "running", "kill": "exited"}

# Does and refuses what Docker does. A container is a file that holds its state.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")/.." || exit 9
echo "$*" >>calls
[ ! -e down ] || { echo "Cannot connect to the Docker daemon" >&2; exit 1; }
if [ "$1" = ps ]; then
  for word in "$@"; do case "$word" in id=*) cat "containers/${word#id=}" 2>/dev/null; exit 0 ;; esac; done
  exit 9
fi
state=$(cat "containers/$2" 2>/dev/null)
if [ -e "refuses/$1-$2" ]; then echo "Error response from daemon: no" >&2; exit 1; fi
case "$1 $state" in
  "pause running") echo paused >"containers/$2" ;;
  "unpause paused") echo running >"containers/$2" ;;
  "kill running" | "kill paused") echo exited >"containers/$2" ;;
  *) echo "Error response from daemon: it is '$state'" >&2; exit 1 ;;
esac
echo "$2"
"""


class FakeDocker:
    """Containers in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("bin", "containers", "refuses"):
            (folder / name).mkdir()
        self.bin = folder / "bin"
        (self.bin / "docker").write_text(DOCKER)
        (self.bin / "docker").chmod(0o755)

    def has(self, **states: str) -> None:
        for name, state in states.items():
            (self._folder / "containers" / {"a": A, "b": B, "c": C}[name]).write_text(f"{state}\n")

    def refuses(self, action: str, container: str) -> None:
        (self._folder / "refuses" / f"{action}-{container}").touch()

    def is_down(self) -> None:
        (self._folder / "down").touch()

    @property
    def states(self) -> list[str]:
        """Of the containers that there are, in the order of A, B and C."""
        files = [self._folder / "containers" / container for container in (A, B, C)]
        return [file.read_text().strip() for file in files if file.exists()]

    @property
    def calls(self) -> list[str]:
        log = self._folder / "calls"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    fake = FakeDocker(tmp_path)
    monkeypatch.setenv("PATH", f"{fake.bin}:{os.environ['PATH']}")
    return fake


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    """The document, as CreateDocument gets it."""
    stack = template.load(template.ROOT / "template.yaml", {})
    (document,) = stack.of_type("AWS::SSM::Document").values()
    return dict(document["Content"])


@pytest.fixture(params=["sh", "bash"])
def run(
    request: pytest.FixtureRequest, content: dict[str, Any], docker: FakeDocker
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the script as it is without any check of the parameters, with the shells that hosts have for sh."""
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param}")
    shell = ["bash", "--posix"] if request.param == "bash" else ["/bin/sh"]

    def execute(action: str, *ids: str) -> subprocess.CompletedProcess[str]:
        text = render(content, {"action": [action], "runtimeIds": list(ids)}).text
        return subprocess.run([*shell, "-c", text], capture_output=True, text=True, check=False)

    return execute


# ── What it refuses ──────────────────────────────────────────────────────────────────────────────────────

# Each would leave a file named `broken-out` where it is run.
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
# Python's `$` lets one line break pass, unlike the service's: the script alone has to refuse it.
IDS_FOR_THE_SCRIPT = [*IDS, f"{A}\n"]


@pytest.mark.parametrize("action", ACTIONS)
def test_systems_manager_refuses_an_action(content: dict[str, Any], action: str) -> None:
    with pytest.raises(AwsError, match="InvalidParameters"):
        check_parameters(content, {"action": [action], "runtimeIds": [A]})


@pytest.mark.parametrize("identity", IDS)
@pytest.mark.parametrize("before", [[], [A]])
def test_systems_manager_refuses_an_id(content: dict[str, Any], before: list[str], identity: str) -> None:
    with pytest.raises(AwsError, match="InvalidParameters"):
        check_parameters(content, {"action": ["kill"], "runtimeIds": [*before, identity]})


@pytest.mark.parametrize(
    "given",
    [
        {"action": ["pause"], "runtimeIds": []},
        {"action": ["pause"], "runtimeIds": [A] * 11},
        {"action": [], "runtimeIds": [A]},
        {"action": ["pause", "kill"], "runtimeIds": [A]},
        {"action": ["pause"]},
        {"runtimeIds": [A]},
        {"action": ["pause"], "runtimeIds": [A], "commands": ["true"]},
    ],
)
def test_systems_manager_refuses_other_than_one_action_and_one_to_ten_ids(
    content: dict[str, Any], given: dict[str, list[str]]
) -> None:
    with pytest.raises(AwsError, match="InvalidParameters"):
        check_parameters(content, given)


def refused(answer: subprocess.CompletedProcess[str], docker: FakeDocker, folder: Path) -> None:
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr in ("refused: unknown action\n", "refused: not container ids\n")
    assert docker.calls == []
    assert docker.states == ["running"]
    assert not (folder / "broken-out").exists()


@pytest.mark.parametrize("action", ACTIONS)
def test_the_script_refuses_an_action(
    run: Callable[..., subprocess.CompletedProcess[str]],
    docker: FakeDocker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    docker.has(a="running")
    refused(run(action, A), docker, tmp_path)


@pytest.mark.parametrize("identity", IDS_FOR_THE_SCRIPT)
def test_the_script_refuses_an_id(
    run: Callable[..., subprocess.CompletedProcess[str]],
    docker: FakeDocker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    identity: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    docker.has(a="running")
    refused(run("kill", A, identity), docker, tmp_path)
    refused(run("kill", identity), docker, tmp_path)


def test_the_script_refuses_an_empty_list(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker, tmp_path: Path
) -> None:
    docker.has(a="running")
    refused(run("kill"), docker, tmp_path)


@pytest.mark.parametrize("text", [escape for escape in ESCAPES if "\n" not in escape])
@pytest.mark.parametrize("frame", ["%s", '["pause"]%s', '["%s"]', '["pause%s"]', f'["{A}"%s]'])
def test_the_script_holds_whatever_one_line_is_put_into_it(
    content: dict[str, Any],
    docker: FakeDocker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    frame: str,
) -> None:
    """Should an agent not even write JSON."""
    monkeypatch.chdir(tmp_path)
    docker.has(a="running")
    put = frame % text
    script = "\n".join(content["mainSteps"][0]["inputs"]["runCommand"])
    for action, ids in ((put, f'["{A}"]'), ('["pause"]', put), (put, put)):
        filled = script.replace("{{ action }}", action).replace("{{ runtimeIds }}", ids)
        assert "{{" not in filled
        answer = subprocess.run(["/bin/sh", "-c", filled], capture_output=True, text=True, check=False)
        refused(answer, docker, tmp_path)


# ── What it does ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("action", "before"), [("pause", "running"), ("unpause", "paused"), ("kill", "running")])
def test_all_containers_are_acted_on(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker, action: str, before: str
) -> None:
    docker.has(a=before, b=before, c=before)
    answer = run(action, A, B, C)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert docker.states == [DOES[action]] * 3
    assert docker.calls == [f"{action} {container}" for container in (A, B, C)]


@pytest.mark.parametrize("action", DOES)
def test_a_repeat_changes_nothing(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker, action: str
) -> None:
    docker.has(a=DOES[action], b=DOES[action])
    assert run(action, A, B).returncode == 0
    assert docker.states == [DOES[action]] * 2


@pytest.mark.parametrize("action", DOES)
def test_the_same_container_twice(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker, action: str
) -> None:
    docker.has(a="paused" if action == "unpause" else "running")
    assert run(action, A, A).returncode == 0
    assert docker.states == [DOES[action]]


def test_a_paused_container_can_be_killed(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker
) -> None:
    docker.has(a="paused")
    assert run("kill", A).returncode == 0
    assert docker.states == ["exited"]


@pytest.mark.parametrize("state", ["exited", "dead", None])
def test_what_is_dead_or_gone_needs_no_kill(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker, state: str | None
) -> None:
    docker.has(b="running", **({"a": state} if state else {}))
    assert run("kill", A, B).returncode == 0
    assert docker.states[-1] == "exited"


@pytest.mark.parametrize("action", ["pause", "unpause"])
@pytest.mark.parametrize("state", ["exited", "dead", "created", "restarting", None])
def test_what_does_not_run_cannot_be_paused(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker, action: str, state: str | None
) -> None:
    docker.has(**({"a": state} if state else {}))
    assert run(action, A).returncode == 1
    assert docker.states == ([state] if state else [])


@pytest.mark.parametrize(("action", "before"), [("pause", "running"), ("unpause", "paused")])
def test_a_failure_half_way_is_taken_back(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker, action: str, before: str
) -> None:
    docker.has(a=before, b=before, c=before)
    docker.refuses(action, C)
    assert run(action, A, B, C).returncode == 1
    assert docker.states == [before] * 3


def test_what_was_paused_before_is_not_thawed_by_a_failure(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker
) -> None:
    docker.has(a="paused", b="running", c="running")
    docker.refuses("pause", C)
    assert run("pause", A, B, C).returncode == 1
    assert docker.states == ["paused", "running", "running"]


def test_a_failure_that_cannot_be_taken_back_is_told(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker
) -> None:
    docker.has(a="running", b="running", c="running")
    docker.refuses("pause", C)
    docker.refuses("unpause", A)
    assert run("pause", A, B, C).returncode == 2
    assert docker.states == ["paused", "running", "running"], "what can be taken back is"


def test_one_that_cannot_be_killed_does_not_spare_the_others(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker
) -> None:
    docker.has(a="running", b="running", c="running")
    docker.refuses("kill", B)
    assert run("kill", A, B, C).returncode == 2
    assert docker.states == ["exited", "running", "exited"]
    assert run("kill", B).returncode == 1, "nothing was changed"


@pytest.mark.parametrize("action", DOES)
def test_without_docker_nothing_is_claimed(
    run: Callable[..., subprocess.CompletedProcess[str]], docker: FakeDocker, action: str
) -> None:
    docker.has(a=DOES[action])
    docker.is_down()
    answer = run(action, A)
    assert answer.returncode == 2, "it may have been changed just before"
    assert "Cannot connect to the Docker daemon" in answer.stderr


# ── How Systems Manager tells of it ──────────────────────────────────────────────────────────────────────


class Here:
    """This machine as the host of every instance."""

    def run(self, script: Script, done: Callable[[Outcome], None]) -> None:
        done(run_script(script))


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


def command(content: dict[str, Any], action: str, *ids: str) -> dict[str, Any]:
    """SendCommand, and GetCommandInvocation when it has ended."""
    clock = Clock()
    catalog = StaticCatalog()
    catalog.add_cluster("main")
    tasks = TaskSimulation(catalog, clock.now, rng=random.Random(1))
    tasks.add_instance("main", HOST)
    commands = CommandSimulation(tasks, lambda _name, _region: content, clock.now, rng=random.Random(1), host=Here())
    parameters = {"action": [action], "runtimeIds": list(ids)}
    sent = commands.handle("SendCommand", {"DocumentName": "d", "InstanceIds": [HOST], "Parameters": parameters})
    clock.time += timedelta(seconds=1)
    return commands.handle("GetCommandInvocation", {"CommandId": sent["Command"]["CommandId"], "InstanceId": HOST})


def test_the_exit_code_becomes_status_and_response_code(content: dict[str, Any], docker: FakeDocker) -> None:
    docker.has(a="running", b="running")
    answer = command(content, "pause", A, B)
    assert (answer["Status"], answer["StatusDetails"], answer["ResponseCode"]) == ("Success", "Success", 0)
    assert (answer["StandardOutputContent"], answer["StandardErrorContent"]) == ("", "")
    assert docker.states == ["paused", "paused"]

    docker.refuses("unpause", B)
    answer = command(content, "unpause", A, B)
    assert (answer["Status"], answer["StatusDetails"], answer["ResponseCode"]) == ("Failed", "Failed", 1)
    said = "Error response from daemon: no\nfailed to run commands: exit status 1"
    assert answer["StandardErrorContent"] == said

    docker.refuses("pause", A)
    assert command(content, "unpause", A, B)["ResponseCode"] == 2


def test_a_script_that_takes_too_long_is_killed() -> None:
    """With what it has started, whose end would be waited for otherwise."""
    document = {
        "parameters": {},
        "mainSteps": [{"inputs": {"timeoutSeconds": "0.2", "runCommand": ["sleep 60 & wait"]}}],
    }
    assert run_script(render(document, {})).exit_code is None


def test_lists_are_put_in_as_json_and_strings_as_they_are() -> None:
    document = {
        "parameters": {"one": {"type": "String"}, "many": {"type": "StringList"}},
        "mainSteps": [{"inputs": {"runCommand": ["echo {{one}}", "echo {{ many }} {{ other }}"]}}],
    }
    script = render(document, {"one": ["a'b"], "many": ['a"b', "c\nd", "<é>"]})
    assert script.text == 'echo a\'b\necho ["a\\"b","c\\nd","\\u003cé\\u003e"] {{ other }}'
