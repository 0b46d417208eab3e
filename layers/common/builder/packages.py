"""The packages of the layer: what of them is installed, and what is kept."""

import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

from builder.errors import BuildError

PYTHON = (3, 13)
"""The functions' runtime."""

PLATFORMS = {"x86_64": "x86_64", "arm64": "aarch64"}
"""What Lambda calls an architecture, and what wheels call it."""

_REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"

_GLIBC = ("2014", "_2_17", "_2_28", "_2_34")  # Amazon Linux 2023 has 2.34

UNUSED = (
    "bin",
    "**/*.pyi",
    # Compiles what cffi describes; cryptography's is compiled.
    "cffi",
    "pycparser",
    # The other half of Powertools.
    "aws_lambda_powertools/event_handler",
    "aws_lambda_powertools/utilities/auth_alpha",
    "aws_lambda_powertools/utilities/batch",
    "aws_lambda_powertools/utilities/circuit_breaker",
    "aws_lambda_powertools/utilities/data_classes",
    "aws_lambda_powertools/utilities/data_masking",
    "aws_lambda_powertools/utilities/feature_flags",
    "aws_lambda_powertools/utilities/idempotency",
    "aws_lambda_powertools/utilities/kafka",
    "aws_lambda_powertools/utilities/metadata",
    "aws_lambda_powertools/utilities/parameters",
    "aws_lambda_powertools/utilities/parser",
    "aws_lambda_powertools/utilities/streaming",
    "aws_lambda_powertools/utilities/validation",
    # The pydantic of before, and what type checkers need of this one.
    "pydantic/v1",
    "pydantic/mypy.py",
    # Time zones come from the system.
    "dateutil/zoneinfo/dateutil-zoneinfo.tar.gz",
)
"""What no function imports, as patterns below the layer's folder. Each has to match something."""

# Of what describes a package: Amazon Inspector knows it by its METADATA, and licences go with the code.
_KEPT_OF_DIST_INFO = re.compile(r"METADATA|(licenses/|LICEN[CS]E|NOTICE|COPYING|AUTHORS).*")

_EPOCH = 315532800  # 1980-01-01, the first day that a zip file knows


def install(root: Path, architecture: str) -> None:
    """Install the wheels of requirements.txt. Nothing may come along that is not pinned there."""
    platforms = [f"--platform=manylinux{glibc}_{PLATFORMS[architecture]}" for glibc in _GLIBC]
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON[0]}.{PYTHON[1]}", *platforms]
    quiet = [
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-compile",
        "--no-warn-conflicts",
    ]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *quiet,
        *options,
        f"--target={root}",
        f"--requirement={_REQUIREMENTS}",
    ]
    if subprocess.run(command).returncode:
        raise BuildError("pip could not install the layer's packages (see above)")
    lines = [line.split("#")[0].strip() for line in _REQUIREMENTS.read_text().splitlines()]
    pinned = {_normal(re.split(r"[\[=]", line)[0]) for line in lines if line}
    installed = {_normal(info.name.split("-")[0]) for info in root.glob("*.dist-info")}
    if pinned != installed:
        raise BuildError(f"requirements.txt must pin what is installed, and no more: {sorted(pinned ^ installed)}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def prune(root: Path) -> None:
    """Remove what UNUSED names, and what describes the packages but for their METADATA and licences."""
    for pattern in UNUSED:
        found = [*root.glob(pattern)]
        if not found:
            raise BuildError(f"there is no {pattern} any more: look at UNUSED in builder/packages.py")
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for info in root.glob("*.dist-info"):
        for path in [path for path in info.rglob("*") if path.is_file()]:
            if not _KEPT_OF_DIST_INFO.fullmatch(path.relative_to(info).as_posix()):
                path.unlink()


def drop_symbols(root: Path) -> None:
    """Cut off what a debugger reads of extension modules. It lies behind all that is ever loaded.

    As `strip` does, which is not on every machine, and seldom for another architecture.
    """
    for path in root.rglob("*.so"):
        image = path.read_bytes()
        if image[:6] != b"\x7fELF\x02\x01":
            raise BuildError(f"{path.name} is no 64-bit ELF file")
        # https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
        (at,) = struct.unpack_from("<Q", image, 0x20)
        size, count = struct.unpack_from("<HH", image, 0x36)
        segments = [struct.unpack_from("<IIQQQQ", image, at + number * size) for number in range(count)]
        end = max([at + count * size, *(offset + length for _, _, offset, _, _, length in segments)])
        no_sections = struct.pack("<Q", 0)  # of the table's offset; its three sizes follow 10 bytes later
        header = image[:0x28] + no_sections + image[0x30:0x3A] + bytes(6)
        path.write_bytes(header + image[0x40:end])


def normalise(root: Path) -> None:
    """Give every file the same date and plain permissions, so that the same content makes the same archive."""
    for path in [root, *root.rglob("*")]:
        executable = path.is_dir() or os.access(path, os.X_OK)
        path.chmod(0o755 if executable else 0o644)
        os.utime(path, (_EPOCH, _EPOCH))
