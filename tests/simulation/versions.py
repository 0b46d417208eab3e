"""The version of the library that runs: the current one, or in some runs version 0.1 before or after a deployment.

Version 0.1 is extracted from the repository's history once: its library under a package name of its own, and its
template, which contains the script of its host commands.
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
from longshore.engine.schedules import ScheduleInput

from local import template
from simulation.hostility import Hostility
from simulation.wiring import Library, current, first_version

_ROOT = Path(__file__).resolve().parents[2]
_COMMIT = "aee0c52"
_PACKAGE = "longshore_v01"
_FOLDER = _ROOT / ".local" / "version-0.1"
FIRST_TEMPLATE = _FOLDER / "template.yaml"
"""The template of version 0.1, once `first_version_is_there` has extracted it."""

_KEYS = {"live_project_id", "pending_shard", "pending_deadline", "seq", "to_rank", "from_rank", "container_id"}
"""Keys of indexes, which version 0.1 writes too."""


@cache
def first_version_is_there() -> bool:
    """Return whether version 0.1 can be imported, after extracting it if necessary.

    Raises:
        RuntimeError: It is missing in CI, where it is required.
    """
    target = _FOLDER / _PACKAGE
    if not (target / "operations.py").exists() or not FIRST_TEMPLATE.exists():
        command = ["git", "-C", str(_ROOT), "archive", _COMMIT, "layers/common/longshore", FIRST_TEMPLATE.name]
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
    """Write the template, and the modules with their imports renamed. Another process may do the same meanwhile."""
    part = target.with_name(f"{target.name}.{os.getpid()}")
    part.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        for member in archive.getmembers():
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".py"):
                text = re.sub(r"\b(from|import) longshore\b", rf"\1 {_PACKAGE}", file.read().decode())
                (part / Path(member.name).name).write_text(text)
            elif file is not None and member.name == FIRST_TEMPLATE.name:
                written = target.with_name(f"template.{os.getpid()}")
                written.write_bytes(file.read())
                written.replace(FIRST_TEMPLATE)
    try:
        part.rename(target)
    except OSError:
        # The other process finished first.
        for file_path in part.iterdir():
            file_path.unlink()
        part.rmdir()


@cache
def host_document(template_file: Path = template.ROOT / "template.yaml") -> dict[str, Any]:
    """Return the content of the document of host commands that a template declares."""
    (properties,) = template.load(template_file).of_type("AWS::SSM::Document").values()
    content: dict[str, Any] = properties["Content"]
    return content


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

    def document(self, library: Library) -> dict[str, Any]:
        """Return the content of the document of host commands that the version deploys."""
        return host_document() if library.package == "longshore" else host_document(FIRST_TEMPLATE)

    def as_first_writes(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return an item or row, in the format of DynamoDB, as the first version of the run writes it."""
        if self.first.package == "longshore":
            return item
        models: Any = import_module(f"{self.first.package}.models")
        model = models.StatusLog if "seq" in item else models.Container
        return {name: value for name, value in item.items() if name in model.model_fields or name in _KEYS}

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
        return ExternalServiceError(getattr(error, "reason", str(error)))

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
        model: Any = ScheduleInput
        if library.package != "longshore":
            model = import_module(f"{library.package}.schedules").StopInput
        return model(**{name: value for name, value in given.items() if name in model.model_fields})
