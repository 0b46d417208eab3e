"""`sam local invoke` of every function with its event in `events/`: the real answer, from a Lambda container.

The code is what `sam build` would have deployed: a layer and a folder for each function. What an event has to bring
about is checked as for the functions in this process.
"""

import pytest
from e2e.sam import LambdaStack
from integration.test_sample_events import CHECKS, DEMO, FOLDERS, sample

from local.seed import Seeder, container_id


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_event(lambdas: LambdaStack, folder: str) -> None:
    # What the events before have changed is put back.
    for number, statuses in DEMO.items():
        Seeder(lambdas).add(container_id(number), statuses, launch_type="FARGATE" if number == 16 else "EC2")
    CHECKS[folder](lambdas, sample(folder))
