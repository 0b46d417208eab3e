"""Tests of mutation testing: the copies of the repository, the commands, and the choice of the tests."""

import sys
from pathlib import Path

import pytest

from mutation.catalogue import Identity, Mutant
from mutation.conditions import Edit
from mutation.reach import Reach
from mutation.settings import LIBRARY, ROOT, Command
from mutation.trial import Copy, Processes, StoppedError, Trial


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    (tmp_path / "root" / "tests").mkdir(parents=True)
    (tmp_path / "root" / "tests" / "a.py").write_text("A = 1\n")
    (tmp_path / "root" / "b.txt").write_text("b")
    (tmp_path / "root" / "untracked").write_text("")
    return Copy(tmp_path / "root", tmp_path / "copy", ["tests/a.py", "b.txt"])


def mutant_of(path: str, source: bytes, original: bytes, mutated: bytes) -> Mutant:
    at = source.index(original)
    edit = Edit(at, at + len(original), mutated)
    return Mutant(Identity("m", "f", original.decode(), mutated.decode()), "kind", path, source, (edit,))


def changed(value: bytes = b"2") -> Mutant:
    return mutant_of("tests/a.py", b"A = 1\n", b"1", value)


def python(name: str, code: str, seconds: float = 60) -> Command:
    return Command(name, ("-c", code), seconds)


def sources(copy: Copy) -> dict[str, str]:
    files = (path for path in copy.folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {str(path.relative_to(copy.folder)): path.read_text() for path in files}


def test_first_command_that_fails_finds_the_mutant(copy: Copy) -> None:
    commands = [
        python("first", "import a; assert a.A < 5"),
        python("second", "import a; assert a.A == 1, 'wrong'"),
        python("third", "raise SystemExit(1)"),
    ]
    verdict = Trial(commands[:2], Processes()).run(copy, changed())
    assert (verdict.command, verdict.timed_out) == ("second", False)
    assert "AssertionError: wrong" in verdict.output
    assert Trial(commands[:2], Processes()).run(copy).command is None
    assert Trial(commands, Processes()).run(copy).command == "third"


def test_a_hanging_mutant_is_found(copy: Copy) -> None:
    verdict = Trial([python("hangs", "while True: pass", 0.1)], Processes()).run(copy, changed(b""))
    assert (verdict.command, verdict.timed_out) == ("hangs", True)


def test_the_copy_is_reset_between_mutants(copy: Copy) -> None:
    before = {"tests/a.py": "A = 1\n", "b.txt": "b"}
    assert sources(copy) == before
    spoil = python("spoils", "from pathlib import Path as P; P('b.txt').unlink(); P('c.txt').write_text('')")
    assert Trial([spoil], Processes()).run(copy, changed()).command is None
    assert sources(copy) == before
    # The same size, written within the resolution of the file system's clock.
    for value in (b"2", b"3", b"4"):
        copy.apply("tests/a.py", b"A = %s\n" % value)
        copy.reset()
        assert sources(copy) == before


def test_no_command_runs_after_stop(copy: Copy) -> None:
    processes = Processes()
    processes.stop()
    with pytest.raises(StoppedError):
        Trial([python("never", "")], processes).run(copy, changed(b""))
    assert sources(copy)["tests/a.py"] == "A = 1\n"


def test_commands_run_in_the_current_python(copy: Copy) -> None:
    code = f"import sys; assert sys.executable == {sys.executable!r}, sys.executable"
    assert Trial([python("python", code)], Processes()).run(copy).command is None


MODULE = f"{LIBRARY}/sums.py"
SUMS = b"""import math

def add(a, b):
    return math.fsum([
        a,
        b,
    ])

def double(a):
    return 2 * a
"""


def test_only_the_tests_that_execute_a_changed_line_are_run(tmp_path: Path) -> None:
    files = {
        MODULE: SUMS.decode(),
        "pyproject.toml": "",
        "checks/test_both.py": "from longshore.sums import *\ndef test(): assert double(add(1, 2)) == 6\n",
        "checks/test_double.py": "from longshore.sums import *\ndef test(): assert double(2) == 4\n",
        "tests/mutation/__init__.py": "",
    }
    for name in ("mutation/reach.py", "mutation/settings.py"):
        files[f"tests/{name}"] = (ROOT / "tests" / name).read_text()
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    copy = Copy(tmp_path / "root", tmp_path / "copy", list(files))
    command = Command("tests", ("-m", "pytest", "-v", "-p", "no:cacheprovider"), 60, ("checks",))
    trial = Trial([command], Processes())
    assert trial.run(copy).command is None

    def tests_run(original: bytes, mutated: bytes) -> list[str]:
        verdict = trial.run(copy, mutant_of(MODULE, SUMS, original, mutated))
        lines = verdict.output.splitlines()
        return [line.split("::")[0] for line in lines if "%]" in line]

    assert tests_run(b"2 * a", b"a * 2") == ["checks/test_double.py", "checks/test_both.py"]
    # A change within a statement of several lines.
    assert tests_run(b"b,\n", b"b, 0,\n") == ["checks/test_both.py"]
    # Only the import executes this line, so all tests are run.
    assert tests_run(b"import math", b"import math  # .") == ["checks/test_both.py", "checks/test_double.py"]


def test_the_least_general_tests_are_first() -> None:
    reach = Reach({"m.py": {1: ["all.py"], 2: ["all.py", "one.py"]}, "n.py": {1: ["other.py"]}})
    assert reach.tests("m.py", [2, 3]) == ["one.py", "all.py"]
    assert reach.tests("m.py", [3]) == []
    assert reach.tests("o.py", [1]) == []
