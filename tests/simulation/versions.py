"""The version of the library that runs: the current one, or in some runs version 0.2 before or after a deployment.

Version 0.2 is extracted from the repository's history once: its library under a package name of its own, and its
template, which contains the script of its host commands.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from longshore.aws.attributes import deserialize_item
from longshore.domain.clock import Clock
from longshore.domain.errors import LongshoreError
from longshore.domain.models import OperationRequest, Outcome
from longshore.domain.unchanged import UNCHANGED

from local import template
from simulation.hostility import Hostility
from simulation.wiring import CURRENT, Library, wire

_ROOT = Path(__file__).resolve().parents[2]
_COMMIT = "31c7e40"
_SOURCE = "layers/common/longshore"
FIRST_PACKAGE = "longshore_v02"
_FOLDER = _ROOT / ".local" / "version-0.2"
FIRST_TEMPLATE = _FOLDER / "template.yaml"
"""The template of version 0.2, once `first_version_is_there` has extracted it."""


@cache
def first_version_is_there() -> bool:
    """Return whether version 0.2 can be imported, after extracting it if necessary.

    Raises:
        RuntimeError: It is missing in CI, where it is required.
    """
    target = _FOLDER / FIRST_PACKAGE
    if not target.exists() or not FIRST_TEMPLATE.exists():
        command = ["git", "-C", str(_ROOT), "archive", _COMMIT, _SOURCE, FIRST_TEMPLATE.name]
        try:
            archived = subprocess.run(command, check=True, capture_output=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get("CI"):
                raise RuntimeError(f"version 0.2 (commit {_COMMIT}) is not in the repository's history") from error
            return False
        _extract(archived, target)
    if str(_FOLDER) not in sys.path:
        sys.path.append(str(_FOLDER))
    return True


def _extract(archived: bytes, target: Path) -> None:
    """Write the template, and the modules with their imports renamed. Another process may do the same meanwhile."""
    part = target.with_name(f"{target.name}.{os.getpid()}")
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".py"):
                text = re.sub(r"\b(from|import) longshore\b", rf"\1 {FIRST_PACKAGE}", file.read().decode())
                module = part / Path(member.name).relative_to(_SOURCE)
                module.parent.mkdir(parents=True, exist_ok=True)
                module.write_text(text)
            elif file is not None and member.name == FIRST_TEMPLATE.name:
                written = target.with_name(f"template.{os.getpid()}")
                written.parent.mkdir(parents=True, exist_ok=True)
                written.write_bytes(file.read())
                written.replace(FIRST_TEMPLATE)
    try:
        part.rename(target)
    except OSError:
        # The other process finished first.
        shutil.rmtree(part)


@cache
def host_document(template_file: Path = template.ROOT / "template.yaml") -> dict[str, Any]:
    """Return the content of the document of host commands that a template declares."""
    (properties,) = template.load(template_file).of_type("AWS::SSM::Document").values()
    content: dict[str, Any] = properties["Content"]
    return content


def _of_first(module: str) -> Any:
    return import_module(f"{FIRST_PACKAGE}.{module}")


class Versions:
    """The libraries of a run: `first` runs from the start, and `second`, if set, from the deployment on."""

    def __init__(self, hostility: Hostility, clock: Clock, enough_time: Callable[[], bool]) -> None:
        wait = timedelta(seconds=hostility.wait)
        self.current = self.first = wire(CURRENT, clock, wait, enough_time)
        self.second: Library | None = None
        self.packages = [CURRENT]
        self.errors: tuple[type[Exception], ...] = (LongshoreError,)
        if hostility.first_version and first_version_is_there():
            old = wire(FIRST_PACKAGE, clock, wait, enough_time)
            self.packages.append(FIRST_PACKAGE)
            self.errors += (_of_first("domain.errors").LongshoreError,)
            if hostility.first_version == "before":
                self.first, self.second = old, self.current
            else:
                self.second = old

    def document(self, library: Library) -> dict[str, Any]:
        """Return the content of the document of host commands that the version deploys."""
        return host_document() if library.is_current else host_document(FIRST_TEMPLATE)

    def as_first_writes(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return an item or row, in the format of DynamoDB, as the first version of the run writes it."""
        if self.first.is_current:
            return item
        items = _of_first("aws.items")
        if "seq" in item:
            return {**item, "schema": {"N": str(items.SCHEMA)}}
        written: dict[str, Any] = items.container_item(items.container_of(deserialize_item(item)))
        return written

    def as_current(self, error: Exception) -> LongshoreError:
        """Convert an error to the class of the current version."""
        if isinstance(error, LongshoreError):
            return error
        module = import_module(type(error).__module__.replace(FIRST_PACKAGE, CURRENT))
        kind: type[LongshoreError] = getattr(module, type(error).__name__)
        converted = kind.__new__(kind, *error.args)
        vars(converted).update(vars(error))
        return converted

    def perform(self, library: Library) -> Callable[[OperationRequest], Outcome]:
        """Return a function that performs requests with the library, with the classes of the current version."""
        if library.is_current:
            performs: Callable[[OperationRequest], Outcome] = library.operations.perform
            return performs
        models, lifecycle, unchanged = (_of_first(f"domain.{name}") for name in ("models", "lifecycle", "unchanged"))

        def perform(request: OperationRequest) -> Outcome:
            values = request._asdict() | {
                "operation": lifecycle.Operation(request.operation.value),
                "triggered_by": models.Trigger(request.triggered_by.value),
                "stop_at": unchanged.UNCHANGED if request.stop_at is UNCHANGED else request.stop_at,
            }
            return Outcome.model_validate(library.operations.perform(models.OperationRequest(**values)).model_dump())

        return perform

    def stop_input(self, library: Library, given: dict[str, Any]) -> Any:
        """Return the input of a scheduled stop."""
        return import_module(f"{library.package}.engine.schedules").ScheduleInput(**given)
