"""The examples of a document: read from it, and run."""

import contextlib
import io
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

Block = tuple[str, str]


def blocks(path: Path) -> list[Block]:
    """The language and the text of each block of code."""
    return re.findall(r"^```(\w+)\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def programs(path: Path) -> list[tuple[str, str | None]]:
    """Each Python program, and what the block below it says that it prints."""
    found = blocks(path)
    following = [*found[1:], ("", "")]
    return [
        (code, printed if then == "text" else None)
        for (language, code), (then, printed) in zip(found, following, strict=True)
        if language == "python"
    ]


def commands(path: Path) -> list[Block]:
    """Each command `longshore`, and what is printed below it."""
    found = []
    for language, text in blocks(path):
        lines = text.splitlines()
        while language == "console" and lines:
            command = lines.pop(0)
            printed = list(takewhile(lambda line: not line.startswith("$ "), lines))
            del lines[: len(printed)]
            if command.startswith("$ longshore"):
                found.append((command.removeprefix("$ "), "\n".join(printed)))
    return found


def shape(screen: str) -> list[str]:
    """The lines without what differs from one run to the next, and without a terminal's control sequences."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.replace("\r", ""))
    plain = re.sub(r"[\u2800-\u28ff] \S+ …", "", plain)
    plain = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", plain)
    plain = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", plain)
    plain = re.sub(r" +\d+\.\d s", " TOOK", plain)
    return [line.rstrip() for line in plain.splitlines() if line.strip() and line.strip() != "^C"]


def run_programs(path: Path) -> int:
    """Run the document's programs one after the other, as one reads it. How many there were."""
    names: dict[str, Any] = {}
    told = programs(path)
    for code, expected in told:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(path), "exec"), names)
        if expected is not None:
            assert printed.getvalue() == expected, code
        else:
            assert printed.getvalue()
    return len(told)
