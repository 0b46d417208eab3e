"""Operations of `longshore` on several containers, run as a program against the local stack."""

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from client.terminal import Terminal, environment, run
from invariants import all_rows, check
from lossy_proxy import LossyProxy

from local import tokens
from local.seed import Seeder
from local.stack import LocalStack

CONTAINERS = 40
REFUSING = (3, 17)  # already stopped

_ids = count(0xB0000)


@pytest.fixture
def env(stack: LocalStack, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, LONGSHORE_URL=stack.url, LONGSHORE_TOKEN=tokens.token("operator"))


@pytest.fixture
def fleet(seeder: Seeder) -> Callable[[int], list[str]]:
    """Adds containers, all running except those in `REFUSING`, and returns their ids."""

    def add(containers: int) -> list[str]:
        ids = [f"{next(_ids):024x}" for _ in range(containers)]
        for number, container in enumerate(ids):
            statuses = ["stopped"] if number in REFUSING else ["stopped", "running"]
            seeder.add(container, statuses, name=f"web-{number}")
        return ids

    return add


def test_a_stop_of_forty_containers_with_two_refusals(
    env: dict[str, str], stack: LocalStack, fleet: Callable[[int], list[str]]
) -> None:
    ids = fleet(CONTAINERS)
    done = run(["stop", *ids, "--yes", "--json"], env)
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (9, "")
    assert (report["operation"], report["total"], report["succeeded"], report["failed"]) == ("stop", 40, 38, 2)
    results = {result["container_id"]: result for result in report["results"]}
    for number, container in enumerate(ids):
        result = results[container]
        if number in REFUSING:
            assert (result["name"], result["succeeded"]) == (f"web-{number}", False)
            assert result["error"]["code"] == "OPERATION_STATE_CONFLICT"
            assert result["error"]["message"] == "Container is already stopped"
        else:
            assert (result["succeeded"], result["data"]["status"]) == (True, "stopped")
            assert result["data"]["message"] == "Container stopped successfully"
            assert check(stack, container)["log_count"] == 3


def test_the_summary_in_a_pipe(env: dict[str, str], fleet: Callable[[int], list[str]]) -> None:
    ids = fleet(5)
    done = run(["pause", *ids, "--yes"], env)
    assert done.returncode == 9
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    succeeded = [container for number, container in enumerate(ids) if number not in REFUSING]
    assert sorted(lines) == [[id_, "pause", "paused", "Container paused successfully"] for id_ in succeeded]
    assert done.stderr.splitlines() == [
        f"error: web-3 ({ids[3]}): Container is not running (OPERATION_STATE_CONFLICT)",
        "pause: 4 of 5 containers succeeded",
    ]


def test_a_confirmation_and_the_summary_on_a_terminal(
    env: dict[str, str], stack: LocalStack, fleet: Callable[[int], list[str]]
) -> None:
    ids = fleet(5)[2:]
    with Terminal(["stop", *ids], env) as terminal:
        terminal.read_until(lambda text: text.endswith("stop 3 containers? [y/N] "))
        assert all(f"web-{number}  {ids[number - 2]}" in terminal.text for number in (2, 3, 4))
        terminal.type("y\n")
        assert terminal.end() == 9
    lines = [line.rstrip() for line in terminal.text.splitlines()]
    assert lines[-1] == "✗ stop: 2 of 3 containers succeeded"
    assert lines[-2].split(maxsplit=2) == ["web-3", ids[1], "Container is already stopped (OPERATION_STATE_CONFLICT)"]
    assert check(stack, ids[0])["status"] == "stopped"


@pytest.mark.parametrize("answer", ["n\n", "\n"])
def test_a_confirmation_that_is_declined(
    env: dict[str, str], stack: LocalStack, fleet: Callable[[int], list[str]], answer: str
) -> None:
    ids = fleet(2)
    with Terminal(["stop", *ids], env) as terminal:
        terminal.read_until(lambda text: text.endswith("[y/N] "))
        terminal.type(answer)
        assert terminal.end() == 130
    assert "not confirmed, so nothing was done" in terminal.text
    assert check(stack, ids[0])["status"] == "running"


def test_without_a_terminal_several_containers_are_refused(
    env: dict[str, str], stack: LocalStack, fleet: Callable[[int], list[str]]
) -> None:
    ids = fleet(2)
    done = run(["stop", *ids], env)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: stop of 2 containers must be confirmed: ")
    error = json.loads(run(["stop", *ids, "--json"], env).stderr)
    assert (error["code"], error["containers"]) == ("CONFIRMATION_REQUIRED", ids)
    assert check(stack, ids[0])["status"] == "running"


def test_a_container_that_does_not_exist(
    env: dict[str, str], stack: LocalStack, fleet: Callable[[int], list[str]]
) -> None:
    """Nothing is done to the other containers."""
    ids = fleet(2)
    done = run(["stop", *ids, "f" * 24, "--yes"], env)
    assert (done.returncode, done.stdout) == (4, "")
    assert "(CONTAINER_NOT_FOUND)" in done.stderr
    assert check(stack, ids[0])["status"] == "running"


def test_an_invalid_token_ends_the_run(env: dict[str, str], fleet: Callable[[int], list[str]]) -> None:
    ids = fleet(2)
    done = run(["stop", *ids, "--yes"], {**env, "LONGSHORE_TOKEN": tokens.token("operator", -60)})
    assert done.returncode == 5
    assert "(TOKEN_EXPIRED)" in done.stderr


def test_an_interrupted_run_that_is_repeated(
    env: dict[str, str], stack: LocalStack, fleet: Callable[[int], list[str]]
) -> None:
    """Ctrl-C after at least ten requests, then the same command with the id of the run. No restart runs twice."""
    ids = fleet(CONTAINERS)
    with LossyProxy(stack.url, lambda _: "answered") as proxy:
        through = {**env, "LONGSHORE_URL": proxy.url}
        with Terminal(["restart", *ids, "--yes"], through) as terminal:
            terminal.read_until(lambda _: len(proxy.keys) >= 10)
            terminal.interrupt()
            assert terminal.end() == 130
        text = " ".join(terminal.text.split())
        counts = re.search(
            r"interrupted: of 40 operations, (\d+) have ended, (\d+) were requested and may continue, "
            r"(\d+) were not requested; to repeat the command without running an operation twice, "
            r"add --run-id ([0-9a-f]{16})",
            text,
        )
        assert counts, text
        assert sum(int(count) for count in counts.groups()[:3]) == CONTAINERS
        assert "Traceback" not in text
        first = set(proxy.keys)
        repeated = run(["restart", *ids, "--yes", "--json", "--run-id", counts[4]], through)
    report = json.loads(repeated.stdout)
    assert repeated.returncode == 0
    assert (report["run_id"], report["succeeded"], report["failed"]) == (counts[4], CONTAINERS, 0)
    assert len(first) >= 10
    # The repeated run has sent the keys of the first run again, and all requests of a container had the same key.
    assert first <= set(proxy.keys)
    assert set(proxy.keys) == {f"{counts[4]}.{container}" for container in ids}
    runs = Counter(task.started_by for task in stack.emulator.ecs.tasks())
    for number, container in enumerate(ids):
        statuses = [row["to_status"] for row in all_rows(stack, container)]
        was_running = number not in REFUSING
        assert statuses == ["stopped", *(["running", "stopped"] if was_running else []), "running"]
        assert runs[container] == 1 + was_running
        check(stack, container)


def test_a_repeated_run_with_another_operation_is_refused(
    env: dict[str, str], stack: LocalStack, fleet: Callable[[int], list[str]]
) -> None:
    ids = fleet(2)
    assert run(["pause", *ids, "--yes", "--run-id", "nightly-1"], env).returncode == 0
    done = run(["stop", *ids, "--yes", "--run-id", "nightly-1"], env)
    assert done.returncode == 9
    assert done.stderr.count("(VALIDATION_ERROR)") == 2
    assert check(stack, ids[0])["status"] == "paused"


def test_a_run_of_a_single_container(env: dict[str, str], stack: LocalStack, seeder: Seeder, fresh_id: str) -> None:
    seeder.add(fresh_id, ["stopped", "running"])
    for _ in range(2):
        assert run(["restart", fresh_id, "--run-id", "nightly-2"], env).returncode == 0
    assert check(stack, fresh_id)["log_count"] == 4
