"""Runs the `longshore` command as a program, with pipes or on a pseudoterminal."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import longshore_client

COMMAND = str(Path(sys.executable).with_name("longshore"))
WIDTH = 112  # as in the README's examples

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of the command: its own home directory, and the client that this process imports."""
    source = str(Path(longshore_client.__file__).parents[1])
    terminal = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": source, **terminal, **more}


def run(arguments: Sequence[str], env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run the command with pipes for its output."""
    return subprocess.run([COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def interruptible() -> Iterator[None]:
    """Make programs that are started in this context handle SIGINT, even if a background shell ignores it."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


class Terminal:
    """The command on a pseudoterminal, which receives stdout and stderr. A context manager."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self._parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, WIDTH, 0, 0))
        with interruptible():
            self._process = subprocess.Popen(
                [COMMAND, *arguments], env=env, stdin=child, stdout=child, stderr=child, start_new_session=True
            )
        os.close(child)
        self.raw = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._parent)

    @property
    def text(self) -> str:
        """The output so far, without colours."""
        return _COLOUR.sub("", self.raw).replace("\r\n", "\n")

    def read_until(self, seen: Callable[[str], bool]) -> None:
        """Read until the output meets a condition. Raise EOFError if the program ends before."""
        while not seen(self.text):
            if not self._read():
                raise EOFError(f"The program ended with this output:\n{self.text}")

    def type(self, text: str) -> None:
        """Enter a text."""
        os.write(self._parent, text.encode())

    def interrupt(self) -> None:
        """Send SIGINT, as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> int:
        """Read the remaining output, wait for the end, and return the exit code."""
        while self._read():
            pass
        return self._process.wait(timeout=60)

    def _read(self) -> bool:
        try:
            data = os.read(self._parent, 65536)
        except OSError:
            # On Linux, this error means that the program has closed the terminal.
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)
