"""Tests of mutation testing: the operators, the sample and the results."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from mutation.catalogue import (
    EquivalentsError,
    Mutant,
    mutants_of,
    read_equivalents,
    read_modules,
    sample,
)
from mutation.operators import apply, find_sites
from mutation.results import EQUIVALENT, FOUND, SURVIVED, Results, summarise
from mutation.settings import COMMANDS, EQUIVALENTS, MODULES, ROOT
from mutation.trial import Verdict

# --- operators -------------------------------------------------------------------------------------------------------


def mutations(source: str, kind: str) -> list[str]:
    """Return the mutated texts of a kind."""
    return [
        apply(source.encode(), edits).decode()
        for site in find_sites(source)
        if site.kind == kind
        for edits in site.alternatives
    ]


@pytest.mark.parametrize(
    ("kind", "source", "expected"),
    [
        ("negate", "if a: pass", ["if not (a): pass"]),
        ("negate", "x = 1 if a or b else 2", ["x = 1 if not (a or b) else 2"]),
        ("negate", "if a == b: pass", []),
        ("remove-not", "if not  (a): pass", ["if (a): pass"]),
        ("comparison", "a == b", ["a != b"]),
        ("comparison", "a < b", ["a <= b", "a >= b"]),
        ("comparison", "a <= b", ["a < b", "a > b"]),
        ("comparison", "(a) is  not (b)", ["(a) is (b)"]),
        ("comparison", "a not in b", ["a in b"]),
        ("comparison", "a is b", ["a is not b"]),
        ("comparison", "a < b is c", ["a <= b is c", "a >= b is c", "a < b is not c"]),
        ("drop-condition", "x = a and b and c", ["x = b and c", "x = a and c", "x = a and b"]),
        ("drop-condition", "x = (a or b) and (c)", ["x = (c)", "x = (a or b)", "x = (b) and (c)", "x = (a) and (c)"]),
        ("drop-condition", "x = [y for y in z if y]", ["x = [y for y in z if True]"]),
        ("swap-bool", "x = a and b and c", ["x = (a or b or c)"]),
        ("swap-bool", "x = not (a or b)", ["x = not ((a and b))"]),
        ("branch", "if a: pass", ["if False: pass", "if True: pass"]),
        ("branch", "while a: pass", ["while False: pass"]),
        ("branch", "while True: pass", []),
        ("branch", "for a in b: pass", ["for a in (): pass"]),
        ("branch", "match a:\n    case (1): pass", ["match a:\n    case (1) if False: pass"]),
        ("branch", "match a:\n    case _:\n        assert_never(a)", []),
        ("branch", "try: pass\nexcept A:\n    b()\n    c()\n", ["try: pass\nexcept A:\n    raise\n"]),
        ("remove-statement", "a.b(c)", ["pass"]),
        ("remove-statement", "a += 1", ["pass"]),
        ("remove-statement", "a.b = 1", ["pass"]),
        ("remove-statement", "a[b] = 1", ["pass"]),
        ("remove-statement", "a = 1", []),
        ("remove-statement", "for a in b: continue", ["for a in b: pass"]),
        ("remove-statement", "raise A", ["pass"]),
        ("remove-statement", "raise AssertionError(a)", []),
        ("remove-statement", "def __init__(self): self.a = 1", []),
        ("remove-call", "a = max(b, c + d)", ["a = (b)", "a = (c + d)"]),
        ("constant", "a = True", ["a = False"]),
        ("constant", "a = 0", ["a = 1"]),
        ("constant", "a = 3", ["a = 4", "a = 2"]),
        ("constant", "a = 60", ["a = 120", "a = 30"]),
        ("constant", "a = 0.5", ["a = 1.0", "a = 0.25"]),
        ("drop-entry", 'a(update={"b": 1, "c": 2})', ['a(update={"c": 2})', 'a(update={"b": 1})']),
        ("drop-entry", "a(update={b: 1})", ["a(update={})"]),
        ("drop-entry", "a._replace(b=1, c=2)", ["a._replace(c=2)", "a._replace(b=1)"]),
    ],
)
def test_changes_of_each_operator(kind: str, source: str, expected: list[str]) -> None:
    assert mutations(source, kind) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            'a = "#b.c = :d"',
            ['a = "(#b.c = :d OR NOT #b.c = :d)"', 'a = "#b.c <> :d"'],
        ),
        (
            'a = f"{b} AND attribute_not_exists(#c)"',
            [
                'a = f"{b} OR attribute_not_exists(#c)"',
                'a = f"{b} AND attribute_exists(#c)"',
                'a = f"{b} AND (attribute_not_exists(#c) OR NOT attribute_not_exists(#c))"',
            ],
        ),
        (
            'a = "b < :c OR " \\\n    "(d = :e)"',
            [
                'a = "(b < :c AND NOT b < :c) OR " \\\n    "(d = :e)"',
                'a = "b <= :c OR " \\\n    "(d = :e)"',
                'a = "b >= :c OR " \\\n    "(d = :e)"',
                'a = "b < :c AND " \\\n    "(d = :e)"',
                'a = "b < :c OR " \\\n    "((d = :e OR NOT d = :e))"',
                'a = "b < :c OR " \\\n    "(d <> :e)"',
            ],
        ),
        (
            'a(KeyConditionExpression="b = :c AND d <= :e")',
            ['a(KeyConditionExpression="b = :c AND d < :e")', 'a(KeyConditionExpression="b = :c AND d > :e")'],
        ),
        ('a = "#b BETWEEN :c AND :d"', []),
        ('a = "SET #b = :c"', []),
        ('a = "A sentence, not a condition"', []),
    ],
)
def test_changes_of_dynamodb_conditions(source: str, expected: list[str]) -> None:
    assert mutations(source, "expression") == expected


UNTOUCHED = '''
"""Text with #a = :b and 1 AND 2."""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    a = True


@decorated(True)
class A:
    """#a = :b"""

    b: Literal[1, 2]

    def c(self, d: Literal[True]) -> Literal[3]:
        """Text."""
        assert d is not None and d > 1
        text = f"{d or 1} of {d + 2}"
        return text
'''


def test_excluded_code_is_not_changed() -> None:
    assert find_sites(UNTOUCHED) == []


def test_text_outside_a_change_is_unchanged() -> None:
    source = "é = 1  # ü\nif (  a  # and\n    and b):\n    ß(é)  # kept\n\n\n\nz = 'ö'   ;  y = 2"
    expected = source.replace("(  a  # and\n    and b)", "(  (a  # and\n    or b))")
    assert mutations(source, "swap-bool") == [expected]
    assert mutations(source, "remove-statement") == [source.replace("ß(é)", "pass")]
    assert mutations(source, "constant")[-1] == source.replace("y = 2", "y = 1")


def test_no_two_alternatives_give_the_same_text() -> None:
    source = "def f():\n    if True and a: pass"
    texts = [apply(source.encode(), edits) for site in find_sites(source) for edits in site.alternatives]
    assert len(texts) == len(set(texts))
    assert source.encode() not in texts


def test_mutants_of_the_engine_are_valid_python() -> None:
    sites, _ = read_modules(ROOT, MODULES)
    for mutant in [group[-1] for group in sites]:
        ast.parse(mutant.mutated_source, mutant.name)


# --- sample and identity ---------------------------------------------------------------------------------------------

SOURCE = """
class A:
    def b(self, c):
        if c and self.d and self.e and self.f:
            return True
        if c < 1:
            return None
        return c < 1
"""


def sites_of(source: str) -> list[list[Mutant]]:
    return mutants_of("m", source.encode())


def test_sample_is_determined_by_the_seed() -> None:
    sites = sites_of(SOURCE)
    assert sample(sites, 5, 1) == sample(sites, 5, 1)
    assert sample(sites, 5, 1) != sample(sites, 5, 2)


def test_sample_draws_each_site_with_equal_probability_and_at_most_once() -> None:
    sites = sites_of(SOURCE)
    assert {len(group) for group in sites} == {1, 2, 4}
    where = {id(mutant): number for number, group in enumerate(sites) for mutant in group}
    drawn: Counter[int] = Counter()
    for seed in range(1000):
        numbers = [where[id(mutant)] for mutant in sample(sites, 3, seed)]
        assert len(set(numbers)) == 3
        drawn.update(numbers)
    expected = 3000 / len(sites)
    assert len(drawn) == len(sites)
    assert all(abs(count - expected) < expected / 4 for count in drawn.values())


def test_identity_does_not_depend_on_other_lines() -> None:
    before = [mutant.identity for group in sites_of(SOURCE) for mutant in group]
    after = [mutant.identity for group in sites_of("# A comment\n\nimport x\n" + SOURCE) for mutant in group]
    assert before == after
    assert len(set(before)) == len(before)


def test_identity_has_the_function_and_the_changed_lines() -> None:
    (group,) = [group for group in sites_of(SOURCE) if group[0].identity.mutated == "return c <= 1"]
    assert group[0].identity == ("m", "A.b", "return c < 1", "return c <= 1", 1)
    assert group[0].name == "m.A.b, comparison: return c < 1  ->  return c <= 1"
    assert "-        return c < 1\n+        return c <= 1" in group[0].diff


def test_equal_changes_have_different_occurrences() -> None:
    sites = sites_of("def f():\n    if a: g()\n    if a: g()\n")
    removed = [group[0].identity for group in sites if group[0].kind == "remove-statement"]
    assert [(each.mutated, each.occurrence) for each in removed] == [("if a: pass", 1), ("if a: pass", 2)]


ENTRY = """
[[equivalent]]
module = "m"
function = "A.b"
original = "return c < 1"
mutated = "return c <= 1"
reason = "c is never 1"
"""


def test_equivalents_are_read_with_their_reasons() -> None:
    ((identity, reason),) = read_equivalents(ENTRY, sites_of(SOURCE)).items()
    assert identity == ("m", "A.b", "return c < 1", "return c <= 1", 1)
    assert reason == "c is never 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY.replace("c <= 1", "c == 1"), "names no mutant"),
        (ENTRY.replace("c is never 1", " "), "no reason"),
        (ENTRY + ENTRY, "twice"),
        (ENTRY + "line = 3", "not valid"),
    ],
)
def test_invalid_equivalents_are_refused(text: str, message: str) -> None:
    with pytest.raises(EquivalentsError, match=message):
        read_equivalents(text, sites_of(SOURCE))


def test_the_list_of_equivalents_is_valid() -> None:
    sites, _ = read_modules(ROOT, MODULES)
    read_equivalents((ROOT / EQUIVALENTS).read_text(), sites)


def test_missing_modules_are_reported() -> None:
    assert read_modules(ROOT, ["aws/store", "no_such_module"])[1] == ["no_such_module"]


def test_commands_have_different_names() -> None:
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)


# --- results ---------------------------------------------------------------------------------------------------------


def test_summary() -> None:
    outcomes = Counter({FOUND: 171, EQUIVALENT: 9, SURVIVED: 20})
    line, share = summarise(outcomes)
    assert line == "200 tried, 171 found, 9 equivalent, 20 survived (89.5 %)"
    assert share < 90


def test_results_of_the_same_run_are_resumed(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    mutant = sites_of(SOURCE)[0][0]
    results = Results(path, {"seed": 1})
    results.add(4, mutant, FOUND, Verdict("unit tests", 1.0, timed_out=True, output="end"))
    results.add(2, mutant, SURVIVED, Verdict(None, 3.0, timed_out=False, output=""))
    results.add(0, mutant, EQUIVALENT, None, "No reason")

    resumed = Results(path, {"seed": 1})
    assert [number in resumed for number in range(5)] == [True, False, True, False, True]
    assert resumed.survivors == [2]
    assert resumed.seconds == 4
    assert resumed.found_by == {"timeout of unit tests": 1}
    assert resumed.by("module") == {"m": "1 of 2 found"}
    assert resumed.summary()[0] == "3 tried, 1 found, 1 equivalent, 1 survived (50.0 %)"


def test_results_of_another_run_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    mutant = sites_of(SOURCE)[0][0]
    for seed in (1, 2, 3):
        results = Results(path, {"seed": seed})
        assert len(results) == 0
        results.add(0, mutant, EQUIVALENT, None, f"Seed {seed}")
    assert "Seed 3" in path.read_text()
    assert "Seed 1" in (tmp_path / "results-1.json").read_text()
    assert "Seed 2" in (tmp_path / "results-2.json").read_text()
