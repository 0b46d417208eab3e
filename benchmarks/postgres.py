"""Pages in PostgreSQL with ORDER BY, LIMIT and OFFSET.

Uses its own database cluster in a temporary folder, which listens on a socket in the folder and is deleted afterwards.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.figures import middle
from benchmarks.targets import MissingError


@dataclass(frozen=True)
class Table:
    """A table and the queries of its pages.

    Attributes:
        create: Creates the table.
        name: The table's name.
        columns: The columns of a row, in order.
        index: Creates the index for the order of the pages.
        page: Reads a page. Its values are a key, the limit and the offset.
        count: Counts all rows with the key.
    """

    create: str
    name: str
    columns: tuple[str, ...]
    index: str
    page: str
    count: str


_PATIENCE = 60  # seconds


def measure(table: Table, key: str, rows: Path, pages: list[int], limit: int, rounds: int) -> dict[str, Any]:
    """Measure the seconds of each page, and of the count for `total`.

    Args:
        table: The table and its queries.
        key: The key of the rows to read.
        rows: A file with the rows in the text format of COPY.
        pages: The numbers of the pages.
        limit: The number of rows of a page.
        rounds: The number of measurements per page.

    Raises:
        MissingError: PostgreSQL is missing or cannot start.
    """
    with _cluster() as connection:
        connection.execute(table.create)
        with (
            rows.open("rb") as file,
            connection.cursor() as cursor,
            cursor.copy(f"COPY {table.name} ({', '.join(table.columns)}) FROM STDIN") as copy,
        ):
            while block := file.read(1 << 20):
                copy.write(block)
        connection.execute(table.index)
        connection.execute(f"VACUUM (ANALYZE) {table.name}")
        seconds: dict[int, list[float]] = {page: [] for page in pages}
        counts: list[float] = []
        for turn in range(rounds + 1):
            for page in pages:
                taken, found = _timed(connection, table.page, key, limit, (page - 1) * limit)
                if len(found) != limit:
                    raise RuntimeError(f"PostgreSQL has {len(found)} rows on page {page}")
                if turn:  # the first round fills the cache
                    seconds[page].append(taken)
            counts.append(_timed(connection, table.count, key)[0])
        ((version,),) = connection.execute("SHOW server_version").fetchall()
    return {
        "version": str(version).split()[0],
        "pages": {str(page): middle(taken) for page, taken in seconds.items()},
        "growth": {str(page): round(middle(taken) / middle(seconds[pages[0]]), 2) for page, taken in seconds.items()},
        "count_seconds": middle(counts),
    }


def _timed(connection: psycopg.Connection[Any], query: str, *values: object) -> tuple[float, list[Any]]:
    began = time.perf_counter()
    found = connection.execute(query, values, prepare=True).fetchall()
    return time.perf_counter() - began, found


@contextmanager
def _cluster() -> Iterator[psycopg.Connection[Any]]:
    programs = _programs()
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="longshore-"))
    try:
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        log = (folder / "log").open("wb")
        run: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        if user:
            run |= {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        made = subprocess.run(
            [programs / "initdb", "--pgdata", data, "--auth", "trust", "--username", "benchmark", "--no-sync"], **run
        )
        if made.returncode:
            raise MissingError(f"PostgreSQL cannot create a cluster: {_tail(folder)}")
        server = subprocess.Popen([programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses="], **run)
        try:
            with _connected(folder, server) as connection:
                yield connection
        finally:
            server.terminate()
            try:
                server.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            log.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _connected(folder: Path, server: subprocess.Popen[bytes]) -> psycopg.Connection[Any]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return psycopg.connect(host=str(folder), user="benchmark", dbname="postgres", autocommit=True)
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise MissingError(f"PostgreSQL cannot start: {_tail(folder)}") from error
            time.sleep(0.1)


def _programs() -> Path:
    """Return the folder of initdb and postgres. Debian installs them outside PATH, in a folder per version."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    of_debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(of_debian, key=lambda path: float(path.parts[-3]), default=None)
    if newest is None:
        raise MissingError("PostgreSQL is missing (on Debian: apt-get install postgresql)")
    return newest.parent


def _user() -> str | None:
    """Return the user to run PostgreSQL as if this process runs as root, which PostgreSQL refuses."""
    if os.geteuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise MissingError("PostgreSQL cannot run as root, and the users postgres and nobody do not exist")


def _tail(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-500:]
