"""The mutants of the engine, their identities, and the list of those known to be equivalent."""

import ast
import difflib
import random
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mutation.conditions import Edit
from mutation.operators import apply, find_sites
from mutation.settings import LIBRARY


class Identity(NamedTuple):
    """Identifies a mutant without line numbers.

    Attributes:
        module: The module's name.
        function: The qualified name of the enclosing function or class, or `<module>`.
        original: The changed lines, with every run of white space replaced by a space.
        mutated: The same lines in the mutant.
        occurrence: Distinguishes mutants that are equal otherwise, counted from 1 in the order of the source.
    """

    module: str
    function: str
    original: str
    mutated: str
    occurrence: int = 1


@dataclass(frozen=True)
class Mutant:
    """A change of a module."""

    identity: Identity
    kind: str
    path: str  # relative to the root of the repository
    source: bytes
    edits: tuple[Edit, ...]

    @property
    def mutated_source(self) -> bytes:
        return apply(self.source, self.edits)

    @property
    def lines(self) -> range:
        """The lines from the begin of the changed statement to the end of the change, counted from 1."""
        first, last = (self.source.count(b"\n", 0, at) + 1 for at in (self.edits[0].start, self.edits[-1].end))
        statements = (node for node in ast.walk(ast.parse(self.source)) if isinstance(node, ast.stmt))
        within = [each.lineno for each in statements if each.lineno <= first <= (each.end_lineno or first)]
        return range(max(within, default=first), last + 1)

    @property
    def name(self) -> str:
        """The mutant in one line."""
        of = self.identity
        which = f" ({of.occurrence})" if of.occurrence > 1 else ""
        return f"{of.module}.{of.function}, {self.kind}{which}: {of.original}  ->  {of.mutated}"

    @property
    def diff(self) -> str:
        before, after = (text.decode().splitlines() for text in (self.source, self.mutated_source))
        return "\n".join(difflib.unified_diff(before, after, self.path, self.path, n=2, lineterm=""))


class EquivalentsError(Exception):
    """The list of equivalent mutants is not valid."""


def mutants_of(module: str, source: bytes) -> list[list[Mutant]]:
    """Return the mutants of a module, grouped by site."""
    path = str(LIBRARY / f"{module}.py")
    seen: Counter[Identity] = Counter()
    groups = []
    for site in find_sites(source.decode()):
        group = []
        for edits in site.alternatives:
            original, mutated = _changed_lines(source, edits)
            identity = Identity(module, site.function, original, mutated)
            seen[identity] += 1
            group.append(Mutant(identity._replace(occurrence=seen[identity]), site.kind, path, source, edits))
        groups.append(group)
    return groups


def _changed_lines(source: bytes, edits: tuple[Edit, ...]) -> tuple[str, str]:
    start = source.rfind(b"\n", 0, edits[0].start) + 1
    end = source.find(b"\n", edits[-1].end)
    end = len(source) if end < 0 else end
    shifted = tuple(Edit(edit.start - start, edit.end - start, edit.text) for edit in edits)
    original = source[start:end]
    return " ".join(original.decode().split()), " ".join(apply(original, shifted).decode().split())


def read_modules(root: Path, modules: Iterable[str]) -> tuple[list[list[Mutant]], list[str]]:
    """Return the mutants of the modules, grouped by site, and the names of modules that do not exist."""
    sites: list[list[Mutant]] = []
    missing = []
    for module in modules:
        path = root / LIBRARY / f"{module}.py"
        if path.exists():
            sites += mutants_of(module, path.read_bytes())
        else:
            missing.append(module)
    return sites, missing


def sample(sites: list[list[Mutant]], count: int, seed: int) -> list[Mutant]:
    """Draw distinct sites with equal probability, and a mutant of each."""
    chooser = random.Random(seed)
    return [chooser.choice(group) for group in chooser.sample(sites, count)]


def read_equivalents(text: str, sites: list[list[Mutant]]) -> dict[Identity, str]:
    """Read the list of equivalent mutants.

    Args:
        text: TOML with a table `[[equivalent]]` per mutant: the fields of `Identity` (`occurrence` is optional) and
            `reason`.
        sites: All mutants of the code.

    Returns:
        The reasons by mutant.

    Raises:
        EquivalentsError: An entry is incomplete, is listed twice, has no reason, or does not name a mutant.
    """
    known = {mutant.identity for group in sites for mutant in group}
    reasons: dict[Identity, str] = {}
    for number, entry in enumerate(tomllib.loads(text).get("equivalent", []), 1):
        reason = entry.pop("reason", "")
        try:
            identity = Identity(**entry)
        except TypeError as error:
            raise EquivalentsError(f"Entry {number} is not valid: {error}") from error
        if identity not in known:
            raise EquivalentsError(f"Entry {number} names no mutant of the current code: {identity}")
        if identity in reasons or not reason.strip():
            raise EquivalentsError(f"Entry {number} is listed twice or has no reason: {identity}")
        reasons[identity] = reason
    return reasons


def describe_file(root: Path, path: Path) -> str:
    """Return the Git blob hash of a file and whether it has uncommitted changes."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", str(path))
    state = "has UNCOMMITTED CHANGES" if changed else "committed in " + git("log", "-1", "--format=%h", "--", str(path))
    return f"{path}: blob {git('hash-object', str(path))}, {state}"
