"""Tests of the script of the SSM document with commands that are late, repeated, concurrent or out of order."""

import os
import shutil
from pathlib import Path

import pytest
from host_script import CONTAINER, NOW, OTHER, A, B, C, ScriptHost

EXPIRES = str(NOW + 60)
LATE = NOW + 61
INITIAL_STATE = {"pause": "running", "unpause": "paused", "kill": "running"}
RESULTING_STATE = {"pause": "paused", "unpause": "running", "kill": "exited"}

# ── Numbers ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("action", RESULTING_STATE)
def test_a_lower_number_after_a_higher_number_has_no_effect(host: ScriptHost, action: str) -> None:
    host.has(a=INITIAL_STATE[action], b="running")
    assert host.run("pause", B, number="10").returncode == 0
    answer = host.run(action, A, number="9")
    assert (answer.returncode, answer.stderr) == (1, "refused: not newer than the last command\n")
    assert host.calls == [f"pause {B}"]
    assert host.stored() == "10 0\n"
    assert host.run(action, A, number="11").returncode == 0
    assert host.stored() == "11 0\n"


def test_the_highest_number(host: ScriptHost) -> None:
    host.has(a="running")
    assert host.run("pause", A, number="9" * 15, expires="9" * 12).returncode == 0
    assert host.run("unpause", A, number="9" * 14 + "8").returncode == 1
    assert host.states == ["paused"]


def test_numbers_are_separate_for_each_longshore_container(host: ScriptHost) -> None:
    host.has(a="running", b="running")
    assert host.run("pause", A, number="10").returncode == 0
    assert host.run("pause", B, number="1", container=OTHER).returncode == 0
    assert (host.stored(), host.stored(OTHER)) == ("10 0\n", "1 0\n")


def test_a_command_that_is_delivered_twice_acts_once(host: ScriptHost) -> None:
    host.has(a="running")
    assert host.run("pause", A, number="1").returncode == 0
    host.has(a="running")  # unpaused by another process
    assert host.run("pause", A, number="1").returncode == 0
    assert (host.states, host.calls) == (["running"], [f"pause {A}"])


def test_a_command_that_is_delivered_again_after_it_has_expired(host: ScriptHost) -> None:
    host.has(a="running")
    assert host.run("pause", A, number="1").returncode == 0
    host.set_time(LATE)
    assert host.run("pause", A, number="1").returncode == 0
    assert host.calls == [f"pause {A}"]


def test_a_failure_that_is_delivered_twice_fails_twice(host: ScriptHost) -> None:
    host.has(a="running", b="running")
    host.refuses("pause", B)
    assert host.run("pause", A, B, number="1").returncode == 1
    host.refuses("unpause", A)
    assert host.run("pause", A, B, number="2").returncode == 2
    calls = host.calls
    assert host.run("pause", A, B, number="2").returncode == 2
    assert host.run("pause", A, B, number="1").returncode == 1
    assert host.calls == calls


def test_a_first_run_that_was_interrupted_may_have_had_an_effect(host: ScriptHost) -> None:
    host.has(a="running")
    host.store("1 -\n")
    assert host.run("pause", A, number="1").returncode == 2
    assert host.calls == []
    assert host.run("pause", A, number="2").returncode == 0


@pytest.mark.parametrize("text", ["", "\n", "a b\n", "- -\n", "1;2 0\n", "$(id) 0\n", "9" * 30 + " 0\n"])
def test_a_malformed_state_file(host: ScriptHost, text: str) -> None:
    host.has(a="running")
    host.store(text)
    assert host.run("pause", A, number="1").returncode == 1
    assert (host.calls, host.stored()) == ([], text)


def test_only_the_number_and_the_lock_are_stored(host: ScriptHost) -> None:
    host.has(a="running")
    assert host.run("pause", A).returncode == 0
    assert sorted(file.name for file in host.state.iterdir()) == [CONTAINER, f"{CONTAINER}.lock"]
    assert host.state.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in host.state.iterdir()} == {0o600}


# ── Expiry ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("action", RESULTING_STATE)
def test_an_expired_command_does_not_start(host: ScriptHost, action: str) -> None:
    host.has(a=INITIAL_STATE[action])
    host.set_time(LATE)
    answer = host.run(action, A, number="5", expires=EXPIRES)
    assert (answer.returncode, answer.stderr) == (1, "refused: expired\n")
    assert host.calls == []
    assert host.run(action, A, number="5", expires=EXPIRES).returncode == 1
    assert host.run(action, A, number="4", expires=str(LATE)).returncode == 1, "its number counts"
    assert host.calls == []


@pytest.mark.parametrize("expires", [EXPIRES, f"0{EXPIRES}", "999999999999"])
def test_a_command_is_valid_until_the_end_of_its_expiry_second(host: ScriptHost, expires: str) -> None:
    host.has(a="running")
    host.set_time(int(EXPIRES))
    assert host.run("pause", A, expires=expires).returncode == 0


@pytest.mark.parametrize("expires", ["0", "08", "000000000000"])
def test_expiry_times_long_ago(host: ScriptHost, expires: str) -> None:
    host.has(a="running")
    assert host.run("pause", A, expires=expires).returncode == 1
    assert host.states == ["running"]


def test_without_a_clock_the_command_is_rejected(host: ScriptHost) -> None:
    host.has(a="running")
    host.set_time(None)
    answer = host.run("pause", A)
    assert answer.returncode == 1
    assert answer.stderr.endswith("refused: the time cannot be read\n")
    assert host.calls == []


@pytest.mark.parametrize("action", ["pause", "unpause"])
def test_a_command_that_finishes_late_reverts_what_it_changed(host: ScriptHost, action: str) -> None:
    before, undo = INITIAL_STATE[action], "unpause" if action == "pause" else "pause"
    host.has(a=before, b=before, c=RESULTING_STATE[action])
    with host.hanging(action, B) as docker:
        script = host.start(action, A, B, C, number="3", expires=EXPIRES)
        docker.reached()
        assert host.stored() == "3 -\n"
        host.set_time(LATE)
        docker.release()
        answer = script.ended()
    assert answer.returncode == 1
    assert answer.stderr.endswith("reverting: expired\n")
    assert host.states == [before, before, RESULTING_STATE[action]], "the third was in this state before"
    assert [call for call in host.calls if call.startswith(undo)] == [f"{undo} {A}", f"{undo} {B}"]
    assert host.stored() == "3 1\n"


def test_the_clock_fails_while_a_command_acts(host: ScriptHost) -> None:
    """Without a clock the command may be late, so it is reverted."""
    host.has(a="running")
    with host.hanging("pause", A) as docker:
        script = host.start("pause", A)
        docker.reached()
        host.set_time(None)
        docker.release()
        assert script.ended().returncode == 1
    assert host.states == ["running"]


def test_a_late_command_that_changed_nothing(host: ScriptHost) -> None:
    host.has(a="paused")
    with host.hanging("pause", A) as docker:
        script = host.start("pause", A, expires=EXPIRES)
        docker.reached()
        host.set_time(LATE)
        docker.release()
        assert script.ended().returncode == 1
    assert host.states == ["paused"]


def test_a_late_command_that_cannot_be_reverted(host: ScriptHost) -> None:
    host.has(a="running", b="running")
    host.refuses("unpause", A)
    with host.hanging("pause", B) as docker:
        script = host.start("pause", A, B, number="1", expires=EXPIRES)
        docker.reached()
        host.set_time(LATE)
        docker.release()
        assert script.ended().returncode == 2
    assert host.states == ["paused", "running"]
    assert host.stored() == "1 2\n"


def test_a_late_command_with_an_unknown_effect(host: ScriptHost) -> None:
    host.has(a="running")
    host.loses("pause", A)
    with host.hanging("pause", A) as docker:
        script = host.start("pause", A, expires=EXPIRES)
        docker.reached()
        host.set_time(LATE)
        docker.release()
        assert script.ended().returncode == 2
    assert host.states == ["paused"]


def test_a_container_that_has_exited_needs_no_revert(host: ScriptHost) -> None:
    host.has(a="running", b="running")
    with host.hanging("pause", B) as docker:
        script = host.start("pause", A, B, expires=EXPIRES)
        docker.reached()
        host.has(a="exited")
        host.set_time(LATE)
        docker.release()
        assert script.ended().returncode == 1
    assert host.states == ["exited", "running"]


def test_a_late_kill_is_not_reverted(host: ScriptHost) -> None:
    host.has(a="running")
    with host.hanging("kill", A) as docker:
        script = host.start("kill", A, expires=EXPIRES)
        docker.reached()
        host.set_time(LATE)
        docker.release()
        assert script.ended().returncode == 0
    assert host.states == ["exited"]


# ── Killed by the agent ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("late", [False, True])
def test_a_killed_script_still_acts_and_reverts(host: ScriptHost, late: bool) -> None:
    """The agent does not wait for the remaining process, which holds none of the agent's pipes."""
    host.has(a="running", b="running")
    with host.hanging("pause", B) as docker:
        script = host.start("pause", A, B, number="1", expires=EXPIRES)
        docker.reached()
        answer = script.kill()
        assert (answer.returncode, answer.stdout, answer.stderr) == (-9, "", "")
        assert host.states == ["paused", "running"]
        if late:
            host.set_time(LATE)
        docker.release()
        host.wait_for_lock()
    assert host.states == (["running", "running"] if late else ["paused", "paused"])
    assert host.stored() == f"1 {1 if late else 0}\n"
    calls = host.calls
    assert host.run("pause", A, B, number="1").returncode == (1 if late else 0), "delivered again"
    assert host.calls == calls
    assert sorted(file.name for file in host.state.iterdir()) == [CONTAINER, f"{CONTAINER}.lock"]


def test_a_script_that_is_killed_while_waiting_for_the_lock(host: ScriptHost) -> None:
    host.has(a="running")
    with host.hanging("pause", A) as docker:
        first = host.start("pause", A, number="1")
        docker.reached()
        second = host.start("unpause", A, number="2")
        host.wait_for_lockers(2)
        assert second.kill().returncode == -9
        docker.release()
        assert first.ended().returncode == 0
    # The command still runs when it gets the lock. A second delivery returns its result.
    assert host.run("unpause", A, number="2").returncode == 0
    assert host.states == ["running"]
    assert host.calls == [f"pause {A}", f"unpause {A}"]


# ── Concurrent commands ─────────────────────────────────────────────────────────────────────────────────────


def test_two_commands_are_serialized(host: ScriptHost) -> None:
    host.has(a="running", b="running")
    with host.hanging("pause", B) as docker:
        first = host.start("pause", A, B, number="1")
        docker.reached()
        second = host.start("unpause", A, B, number="2")
        host.wait_for_lockers(2)
        docker.release()
        assert (first.ended().returncode, second.ended().returncode) == (0, 0)
    assert host.states == ["running", "running"]
    assert host.calls == [f"pause {A}", f"pause {B}", f"unpause {A}", f"unpause {B}"]
    assert host.stored() == "2 0\n"


def test_a_late_command_is_reverted_before_the_next_command(host: ScriptHost) -> None:
    host.has(a="running")
    with host.hanging("pause", A) as docker:
        first = host.start("pause", A, number="1", expires=EXPIRES)
        docker.reached()
        second = host.start("pause", A, number="2", expires="999999999999")
        host.wait_for_lockers(2)
        host.set_time(LATE)
        docker.release()
        assert (first.ended().returncode, second.ended().returncode) == (1, 0)
    assert host.states == ["paused"]
    assert host.calls == [f"pause {A}", f"unpause {A}", f"pause {A}"]


def test_a_lower_number_that_waited_for_the_lock(host: ScriptHost) -> None:
    host.has(a="running")
    with host.hanging("pause", A) as docker:
        first = host.start("pause", A, number="2")
        docker.reached()
        second = host.start("unpause", A, number="1")
        host.wait_for_lockers(2)
        docker.release()
        assert (first.ended().returncode, second.ended().returncode) == (0, 1)
    assert host.states == ["paused"]


def test_a_command_that_is_delivered_twice_at_the_same_time(host: ScriptHost) -> None:
    host.has(a="running")
    with host.hanging("pause", A) as docker:
        first = host.start("pause", A, number="1")
        docker.reached()
        second = host.start("pause", A, number="1")
        host.wait_for_lockers(2)
        docker.release()
        assert (first.ended().returncode, second.ended().returncode) == (0, 0)
    assert host.calls == [f"pause {A}"]


@pytest.mark.parametrize("expires", [str(NOW), str(NOW - 1)])
@pytest.mark.parametrize("number", ["1", "3"])
def test_a_lock_that_cannot_be_taken_in_time(host: ScriptHost, number: str, expires: str) -> None:
    host.has(a="running", b="running")
    with host.hanging("pause", A) as docker:
        first = host.start("pause", A, number="2")
        docker.reached()
        answer = host.run("pause", B, number=number, expires=expires)
        assert (answer.returncode, answer.stderr) == (1, "refused: another command has not ended\n")
        docker.release()
        assert first.ended().returncode == 0
    assert host.states == ["paused", "running"]
    assert host.stored() == "2 0\n", "its number does not count"


def test_a_second_delivery_that_cannot_wait_for_the_first(host: ScriptHost) -> None:
    """The first run may still change something."""
    host.has(a="running")
    with host.hanging("pause", A) as docker:
        first = host.start("pause", A, number="2", expires=str(NOW))
        docker.reached()
        assert host.run("pause", A, number="2", expires=str(NOW)).returncode == 2
        docker.release()
        assert first.ended().returncode == 0
    assert host.calls == [f"pause {A}"]


def test_other_longshore_containers_do_not_wait(host: ScriptHost) -> None:
    host.has(a="running", b="running")
    with host.hanging("pause", A) as docker:
        first = host.start("pause", A)
        docker.reached()
        assert host.run("pause", B, container=OTHER).returncode == 0
        docker.release()
        assert first.ended().returncode == 0
    assert host.states == ["paused", "paused"]


# ── Hosts without a tool or a folder ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("missing", ["docker", "flock", "setsid"])
def test_a_host_without_a_tool(host: ScriptHost, tmp_path: Path, missing: str) -> None:
    host.has(a="running")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cat", "dirname", "expr", "grep", "mkdir", "mv", "rm", "setsid", "tr"):
        (tools / name).symlink_to(str(shutil.which(name)))
    host.environment["PATH"] = f"{host.bin}{os.pathsep}{tools}"
    assert host.run("pause", A).returncode == 0, "it needs nothing else"
    for folder in (host.bin, tools):
        (folder / missing).unlink(missing_ok=True)
    answer = host.run("unpause", A)
    assert (answer.returncode, answer.stderr) == (1, f"refused: {missing} is not installed\n")
    assert host.states == ["paused"]


def test_a_host_that_cannot_store_state(host: ScriptHost) -> None:
    host.has(a="running")
    host.state.write_text("not a folder")
    answer = host.run("pause", A)
    assert answer.returncode == 1
    assert answer.stderr.endswith("refused: no folder for the state of commands\n")
    host.state.unlink()
    for name in (CONTAINER, f"{CONTAINER}.new"):
        (host.state / name).mkdir(parents=True)
        assert host.run("pause", A).returncode == 1
        (host.state / name).rmdir()
    assert host.calls == []
