"""The version of the library that runs: the current one, or in some runs version 0.1 before or after a deployment.

Version 0.1 is extracted from the repository's history once, under its own package name.
"""

import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from longshore.domain.clock import Clock
from longshore.domain.errors import (
    ContainerExpiredError,
    ContainerNotFoundError,
    ExternalServiceError,
    InvalidInputError,
    LongshoreError,
    StateConflictError,
)
from longshore.domain.models import OperationRequest, Outcome
from longshore.engine.schedules import StopInput

from simulation.hostility import Hostility
from simulation.wiring import Library, current, first_version

_ROOT = Path(__file__).resolve().parents[2]
_COMMIT = "aee0c52"
_PACKAGE = "longshore_v01"
_FOLDER = _ROOT / ".local" / "version-0.1"


@cache
def first_version_is_there() -> bool:
    """Return whether version 0.1 can be imported, after extracting it if necessary.

    Raises:
        RuntimeError: It is missing in CI, where it is required.
    """
    target = _FOLDER / _PACKAGE
    if not (target / "operations.py").exists():
        command = ["git", "-C", str(_ROOT), "archive", _COMMIT, "layers/common/longshore"]
        try:
            archived = subprocess.run(command, check=True, capture_output=True).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get("CI"):
                raise RuntimeError(f"version 0.1 (commit {_COMMIT}) is not in the repository's history") from error
            return False
        _extract(archived, target)
    if str(_FOLDER) not in sys.path:
        sys.path.append(str(_FOLDER))
    return True


def _extract(archived: bytes, target: Path) -> None:
    """Write the modules with their imports renamed. Another process may do the same at the same time."""
    part = target.with_name(f"{target.name}.{os.getpid()}")
    part.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".py"):
                text = re.sub(r"\b(from|import) longshore\b", rf"\1 {_PACKAGE}", file.read().decode())
                (part / Path(member.name).name).write_text(text)
    try:
        part.rename(target)
    except OSError:
        # The other process finished first.
        for file_path in part.iterdir():
            file_path.unlink()
        part.rmdir()


class Versions:
    """The libraries of a run: `first` runs from the start, and `second`, if set, from the deployment on."""

    def __init__(self, hostility: Hostility, clock: Clock, enough_time: Callable[[], bool]) -> None:
        wait = timedelta(seconds=hostility.wait)
        self.current = self.first = current(clock, wait, enough_time)
        self.second: Library | None = None
        self.packages = ["longshore"]
        self.errors: tuple[type[Exception], ...] = (LongshoreError,)
        if hostility.first_version and first_version_is_there():
            old = first_version(_PACKAGE, clock, wait, enough_time)
            self.packages.append(_PACKAGE)
            self.errors += (import_module(f"{_PACKAGE}.errors").LongshoreError,)
            if hostility.first_version == "before":
                self.first, self.second = old, self.current
            else:
                self.second = old

    def as_current(self, error: Exception) -> LongshoreError:
        """Convert an error to the class of the current version."""
        if isinstance(error, LongshoreError):
            return error
        match type(error).__name__:
            case "StateConflictError":
                return StateConflictError(str(error), getattr(error, "data", {}))
            case "ContainerExpiredError":
                return ContainerExpiredError()
            case "ContainerNotFoundError":
                return ContainerNotFoundError()
            case "InvalidInputError":
                return InvalidInputError([])
        return ExternalServiceError(str(error))

    def perform(self, library: Library) -> Callable[[OperationRequest], Outcome]:
        """Return a function that performs requests with the library, with the classes of the current version."""
        if library.package == "longshore":
            performs: Callable[[OperationRequest], Outcome] = library.operations.perform
            return performs
        models: Any = import_module(f"{library.package}.models")
        lifecycle: Any = import_module(f"{library.package}.lifecycle")

        def perform(request: OperationRequest) -> Outcome:
            asked = models.OperationRequest(
                container_id=request.container_id,
                operation=lifecycle.Operation(request.operation.value),
                actor=request.actor,
                request_id=request.request_id,
                idempotency_key=request.idempotency_key,
            )
            return Outcome.model_validate(library.operations.perform(asked).model_dump())

        return perform

    def stop_input(self, library: Library, given: dict[str, Any]) -> Any:
        """Return the input of a scheduled stop, with its time if the version supports it."""
        model: Any = StopInput
        if library.package != "longshore":
            model = import_module(f"{library.package}.schedules").StopInput
        return model(**{name: value for name, value in given.items() if name in model.model_fields})
