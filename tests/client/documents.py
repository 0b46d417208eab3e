"""Reads and runs the examples in a document."""

import contextlib
import io
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

Block = tuple[str, str]


def blocks(path: Path) -> list[Block]:
    """Return the language and the text of each code block."""
    return re.findall(r"^```(\w+)\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def programs(path: Path) -> list[tuple[str, str | None]]:
    """Return each Python program, and its output if a text block follows."""
    found = blocks(path)
    following = [*found[1:], ("", "")]
    return [
        (code, printed if then == "text" else None)
        for (language, code), (then, printed) in zip(found, following, strict=True)
        if language == "python"
    ]


def commands(path: Path) -> list[Block]:
    """Return each `longshore` command in the console blocks, and its output."""
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
    """Return the lines without variable times and ids, and without terminal control sequences."""
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.replace("\r", ""))
    plain = re.sub(r"[\u2800-\u28ff] \S+ …", "", plain)
    plain = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", plain)
    plain = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", plain)
    plain = re.sub(r" +\d+\.\d s", " TOOK", plain)
    return [line.rstrip() for line in plain.splitlines() if line.strip() and line.strip() != "^C"]


def run_programs(path: Path) -> int:
    """Run the document's programs in order, compare their output, and return their number."""
    names: dict[str, Any] = {}
    documented = programs(path)
    for code, expected in documented:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(path), "exec"), names)
        if expected is not None:
            assert printed.getvalue() == expected, code
        else:
            assert printed.getvalue()
    return len(documented)
