"""Tests of the log level: as Lambda starts a function, in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "layers" / "common"
LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"]
PROGRAM = """
import logging
logging.basicConfig(level={root!r}, format="%(name)s %(message)s")
from longshore.edge.logs import logger
for level in {levels}:
    logger.log(logging.getLevelName(level), "message")
for name in ("botocore.parsers", "urllib3.connectionpool"):
    logging.getLogger(name).info("response body")
    logging.getLogger(name).warning("problem")
"""


@pytest.mark.parametrize("level", LEVELS)
def test_the_level_of_the_functions(level: str) -> None:
    """Lambda's own level, which it passes to the runtime, is at most INFO: see LoggingConfig in template.yaml."""
    of_lambda = "DEBUG" if level == "DEBUG" else "INFO"
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(LIBRARY),
        "POWERTOOLS_SERVICE_NAME": "longshore",
        "POWERTOOLS_LOG_LEVEL": level,
        "AWS_LAMBDA_LOG_LEVEL": of_lambda,
    }
    program = PROGRAM.format(root=of_lambda, levels=LEVELS)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["level"] for line in ran.stdout.splitlines()] == LEVELS[LEVELS.index(level) :]
    # Bodies of responses contain the token secret.
    problems = ["botocore.parsers problem", "urllib3.connectionpool problem"]
    assert ran.stderr.splitlines() == problems
