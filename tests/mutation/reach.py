"""The test files that execute a line of the library.

As a plugin of pytest (`-p mutation.reach --reach FILE`), this module records them with coverage.py. Code that runs only
when a module is imported is not recorded.
"""

import json
from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import Path

import coverage
import pytest

from mutation.settings import LIBRARY

_RECORDER = pytest.StashKey[coverage.Coverage]()


class Reach:
    """What a run of the tests has recorded."""

    def __init__(self, files: dict[str, dict[int, list[str]]]) -> None:
        """Take the record.

        Args:
            files: By path of the library's module, relative to the root, and by line: the test files that execute it.
        """
        self._files = files
        lines = [names for module in files.values() for names in module.values()]
        self._sizes = Counter(name for names in lines for name in names)

    @classmethod
    def read(cls, path: Path) -> "Reach":
        """Read what the plugin has written."""
        modules = json.loads(path.read_text())
        return cls({name: {int(line): files for line, files in lines.items()} for name, lines in modules.items()})

    def tests(self, module: str, lines: Iterable[int]) -> list[str]:
        """Return the test files that execute one of the lines, first those that execute the fewest other lines."""
        found = {name for line in lines for name in self._files.get(module, {}).get(line, ())}
        return sorted(found, key=lambda name: (self._sizes[name], name))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--reach`."""
    parser.addoption("--reach", type=Path, required=True, help="where to write which test files execute which lines")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to record."""
    recorder = coverage.Coverage(data_file=None, config_file=False, include=[str(config.rootpath / LIBRARY / "*")])
    config.stash[_RECORDER] = recorder
    recorder.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Record under the name of the file, because tests of a file share fixtures."""
    item.config.stash[_RECORDER].switch_context(item.nodeid.split("::")[0])
    return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write the record."""
    recorder = config.stash[_RECORDER]
    recorder.stop()
    data = recorder.get_data()
    modules = {
        str(Path(name).relative_to(config.rootpath)): {
            line: [file for file in files if file] for line, files in data.contexts_by_lineno(name).items()
        }
        for name in data.measured_files()
    }
    path: Path = config.getoption("--reach")
    path.write_text(json.dumps(modules))
