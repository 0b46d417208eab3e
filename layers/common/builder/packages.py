"""The packages of the layer: installation and pruning."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from builder.errors import BuildError

PYTHON = (3, 13)
"""The version of the functions' runtime."""

PLATFORMS = {"x86_64": "x86_64", "arm64": "aarch64"}
"""The names of the architectures in wheels, by their names in Lambda."""

_REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"

_GLIBC = ("2014", "_2_17", "_2_28", "_2_34")  # Amazon Linux 2023 has 2.34

UNUSED = (
    "bin",
    "**/*.pyi",
    "*.dist-info/entry_points.txt",
    # cryptography loads _cffi_backend, which is cffi's extension module, and nothing else of these two.
    "cffi",
    "pycparser",
    "pycparser-*.dist-info",
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
    # Pydantic 1, and the plugin for mypy.
    "pydantic/v1",
    "pydantic/mypy.py",
    # dateutil reads time zones from the system. botocore uses its parser and time zones, not its recurrence rules.
    "dateutil/zoneinfo/dateutil-zoneinfo.tar.gz",
    "dateutil/easter.py",
    "dateutil/rrule.py",
    # Transports of urllib3 that botocore does not use: WebAssembly, PyOpenSSL, SOCKS.
    "urllib3/contrib/emscripten",
    "urllib3/contrib/pyopenssl.py",
    "urllib3/contrib/socks.py",
    # Tests.
    "annotated_types/test_cases.py",
    "botocore/stub.py",
)
"""Patterns, below the layer's folder, of the files and folders that no function needs. Each has to match."""

_EPOCH = 315532800  # 1980-01-01, the earliest date in a zip file


def install(root: Path, architecture: str) -> None:
    """Install the wheels of requirements.txt.

    Raises:
        BuildError: pip failed: a wheel's hash differs, or requirements.txt does not pin a package.
    """
    command = [
        *(
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--root-user-action=ignore",
        ),
        *("--no-compile", "--no-warn-conflicts", f"--target={root}"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON[0]}.{PYTHON[1]}"),
        *(f"--platform=manylinux{glibc}_{PLATFORMS[architecture]}" for glibc in _GLIBC),
        *("--require-hashes", f"--requirement={_REQUIREMENTS}"),
    ]
    if subprocess.run(command).returncode:
        raise BuildError("pip could not install the layer's packages (see above)")


def prune(root: Path) -> None:
    """Remove the files and folders that UNUSED names.

    Raises:
        BuildError: A pattern matches nothing.
    """
    for pattern in UNUSED:
        found = [*root.glob(pattern)]
        if not found:
            raise BuildError(f"nothing matches {pattern}: look at UNUSED in builder/packages.py")
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def normalise(root: Path) -> None:
    """Give every file the same date and permissions, so that the same content produces the same archive."""
    for path in [root, *root.rglob("*")]:
        executable = path.is_dir() or os.access(path, os.X_OK)
        path.chmod(0o755 if executable else 0o644)
        os.utime(path, (_EPOCH, _EPOCH))
