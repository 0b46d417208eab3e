"""Tests of every function in a Lambda container: `sam local invoke` with its event in `events/`.

The code is the output of `sam build`: a layer, and a folder for each function. The checks are those of
`tests/integration/test_sample_events.py`.
"""

import pytest
from e2e.sam import LambdaStack
from integration.test_sample_events import CHECKS, DEMO, FOLDERS, sample

from local.seed import Seeder, container_id


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_event(lambdas: LambdaStack, folder: str) -> None:
    # Undo the changes of earlier events.
    for number, statuses in DEMO.items():
        Seeder(lambdas).add(container_id(number), statuses, launch_type="FARGATE" if number == 16 else "EC2")
    CHECKS[folder](lambdas, sample(folder))
