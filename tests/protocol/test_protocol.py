"""Tests that the rules of the protocol suffice, and that Spin finds the mistakes planted in them."""

import re

import pytest

from protocol import plan, spin
from protocol.spin import Configuration

pytestmark = pytest.mark.skipif(bool(spin.missing()), reason="Spin or gcc is not installed")

# The property that each mistake violates, as the model's source has it
VIOLATED = {
    "FAULT_RUN_UNCHECKED": "assert(LIVE_TASKS == 0)",
    "FAULT_GIVE_UP_FORGETS": "assert(!UNKNOWN_LIVE)",
    "FAULT_ONE_LOOK": "assert(!LIVE(t))",
    "FAULT_SEARCH_EARLY": "assert(ledger[t].listed)",
    "FAULT_UNCONDITIONAL": "assert(from == status)",
    "FAULT_NO_SWEEP_OF_FAILED": "assert(status == running || EMPTY)",
    "FAULT_PLACEMENT_PROVES": "assert(!LIVE(t))",
    "FAULT_HANDLER_UNNOTED": "assert(!LIVE(t))",
    "FAULT_EVENT_IS_SIGHTING": "assert(!LIVE(t))",
}


def name_of(configuration: Configuration) -> str:
    return configuration.name


@pytest.mark.parametrize("configuration", dict.fromkeys([*plan.QUICK, *plan.FAULTS.values()]), ids=name_of)
def test_no_order_of_the_steps_violates_a_property(configuration: Configuration) -> None:
    found = spin.verify(configuration)

    assert found.error is None, "\n".join(found.trace)
    assert found.states > 10_000


@pytest.mark.parametrize("fault", plan.FAULTS)
def test_spin_finds_each_planted_mistake(fault: str) -> None:
    found = spin.verify(plan.FAULTS[fault].planting(fault))

    assert found.error == VIOLATED[fault]
    assert found.trace


def test_every_mistake_in_the_model_is_planted() -> None:
    sources = "".join(file.read_text() for file in spin.MODEL.parent.glob("*.pml"))

    assert {*re.findall(r"FAULT_[A-Z_]*[A-Z]", sources)} == {*plan.FAULTS}


def test_an_unsettled_operation_is_found() -> None:
    """Without a sweep, a crash leaves the operation pending for ever."""
    abandoned = Configuration("no sweep", (("CALLERS", 1), ("SWEEPS", 0), ("CLAIMS", 1)), liveness=True)

    assert spin.verify(abandoned).error == "an operation never settles"


def test_a_random_run_prints_its_events() -> None:
    events = spin.simulate(plan.QUICK[0], seed=1)

    assert any(re.fullmatch(r"\d claim .*", event) for event in events)
    assert events == spin.simulate(plan.QUICK[0], seed=1)
