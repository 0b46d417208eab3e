"""Exit of a command whose output may be piped into another command."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def exit_with(main: Callable[[], int]) -> NoReturn:
    """Exit with the status that the function returns, or with 1 if the reader of the output, such as `head`, ended."""
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:
        status = 1
        # Python flushes stdout again at exit, which would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
