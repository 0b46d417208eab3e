"""Tests of the facts that become the metadata of a history row."""

from longshore.domain.facts import Observed, Requested, facts_of, metadata_of


def test_no_fact_of_a_request_has_the_name_of_one_that_was_observed() -> None:
    """Otherwise one would replace the other in the row."""
    assert not {*Requested._fields, "desired_count", "running_count", "observed_at"} & {*Observed._fields}


def test_the_metadata_of_a_row() -> None:
    requested, observed = Requested(command="stop", actor="sam"), Observed(task_id="1", exit_code=0)
    metadata = metadata_of(requested, observed)
    assert metadata == {"command": "stop", "actor": "sam", "task_id": "1", "exit_code": 0}
    assert facts_of(metadata) == (requested, observed)
