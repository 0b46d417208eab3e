"""The results of a run, kept in a file so that an interrupted run can be resumed."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

from mutation.catalogue import Mutant
from mutation.trial import Verdict

FOUND, EQUIVALENT, SURVIVED = "found", "equivalent", "survived"


class Results:
    """The results by the mutants' numbers, which start at 0 and follow the order of the sample."""

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Read the results of an interrupted run.

        Args:
            path: The file. If it has the results of another run, it is renamed and kept.
            run: The identity of the run: the number of mutants, the seed, and a hash of the tested files.
        """
        self._path = path
        self._run = run
        self._entries: dict[int, dict[str, Any]] = {}
        self.set_aside: Path | None = None
        if path.exists():
            kept = json.loads(path.read_text())
            if kept["run"] == run:
                self._entries = {entry["number"]: entry for entry in kept["results"]}
            else:
                names = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(1))
                self.set_aside = next(name for name in names if not name.exists())
                path.rename(self.set_aside)

    def __contains__(self, number: int) -> bool:
        return number in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, number: int, mutant: Mutant, outcome: str, verdict: Verdict | None, reason: str = "") -> None:
        """Add a mutant's result, and write the file.

        Args:
            number: The mutant's number.
            mutant: The mutant.
            outcome: FOUND, EQUIVALENT or SURVIVED.
            verdict: The result of the commands, or None if they did not run.
            reason: Why the mutant is equivalent.
        """
        entry = {"number": number, "outcome": outcome, "kind": mutant.kind, **mutant.identity._asdict()}
        if verdict is not None:
            output = verdict.output if outcome == FOUND else ""
            seconds = round(verdict.seconds, 1)
            entry |= {"command": verdict.command, "seconds": seconds, "timed_out": verdict.timed_out, "output": output}
        if reason:
            entry["reason"] = reason
        self._entries[number] = entry
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".tmp")
        entries = [self._entries[key] for key in sorted(self._entries)]
        written.write_text(json.dumps({"run": self._run, "results": entries}, indent=1))
        written.replace(self._path)

    @property
    def survivors(self) -> list[int]:
        return [number for number, entry in sorted(self._entries.items()) if entry["outcome"] == SURVIVED]

    @property
    def found_by(self) -> Counter[str]:
        """The number of mutants that each command found, by a failure or by its timeout."""
        found = (entry for entry in self._entries.values() if entry["outcome"] == FOUND)
        return Counter(f"{'timeout of ' if entry['timed_out'] else ''}{entry['command']}" for entry in found)

    def by(self, field: str) -> dict[str, str]:
        """Return a summary such as `12 of 15 found` for each value of a field."""
        counted = Counter((str(entry[field]), entry["outcome"]) for entry in self._entries.values())
        values = sorted({value for value, _ in counted})
        return {
            value: f"{counted[value, FOUND]} of {counted[value, FOUND] + counted[value, SURVIVED]} found"
            for value in values
        }

    @property
    def seconds(self) -> float:
        """The total time of all commands, in seconds."""
        return float(sum(entry.get("seconds", 0) for entry in self._entries.values()))

    def summary(self) -> tuple[str, float]:
        """Return the closing line, and the share of the mutants that were found, in percent."""
        return summarise(Counter(entry["outcome"] for entry in self._entries.values()))


def summarise(outcomes: Counter[str]) -> tuple[str, float]:
    """Return the closing line, and the share found of the mutants that are not equivalent, in percent."""
    tried, found, equivalent = outcomes.total(), outcomes[FOUND], outcomes[EQUIVALENT]
    share = 100 * found / (tried - equivalent) if tried > equivalent else 100.0
    line = f"{tried} tried, {found} found, {equivalent} equivalent, {outcomes[SURVIVED]} survived ({share:.1f} %)"
    return line, share
