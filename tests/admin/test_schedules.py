"""schedule: rules are complete or never fire, whichever AWS call fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from api_client import Api
from settling import PATIENCE, eventually

from local.emulator import Emulator
from local.seed import PROJECT, Seeder, container_id
from local.stack import LocalStack

NIGHTLY = "ScheduledStopFunctionNightly"
CRON = ("--cron", "0 18 ? * FRI *")


@pytest.fixture(autouse=True)
def remove_rules(stack: LocalStack) -> Iterator[None]:
    """Remove the rules that a test has created."""
    yield
    stack.emulator.faults.clear()
    events = stack.client("events")
    for rule in events.list_rules(NamePrefix="longshore")["Rules"]:
        if {"Key": "longshore:stack", "Value": "longshore"} in tags(stack, rule["Arn"]):
            ids = [target["Id"] for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]]
            if ids:
                events.remove_targets(Rule=rule["Name"], Ids=ids)
            events.delete_rule(Name=rule["Name"])


def tags(stack: LocalStack, arn: str) -> Any:
    return stack.client("events").list_tags_for_resource(ResourceARN=arn)["Tags"]


def rule_of(stack: LocalStack, name: str, prefix: str = "longshore.") -> Any:
    """Return a schedule's rule with its targets, or None if it does not exist."""
    events = stack.client("events")
    try:
        described = events.describe_rule(Name=f"{prefix}{name}")
    except events.exceptions.ResourceNotFoundException:
        return None
    return described | {"Targets": events.list_targets_by_rule(Rule=f"{prefix}{name}")["Targets"]}


def input_of(target: Any) -> Any:
    """Return the input in the target's input transformer."""
    filled = json.loads(target["InputTransformer"]["InputTemplate"].replace("<time>", '"T"'))
    assert filled.keys() == {"time", "input"}
    assert filled["time"] == "T"
    return filled["input"]


def listed(run: Any) -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(run("schedule", "list", "--json").out)}


def test_an_added_schedule_stops_containers_and_is_recorded(
    run: Any, stack: LocalStack, api: Api, fresh_id: str
) -> None:
    project = f"5c{fresh_id[2:]}"
    Seeder(stack).members(project)
    Seeder(stack).add(fresh_id, ["stopped", "running"], project=project)
    added = run("schedule", "add", "weekend", "--rate", "1 minute", "--project", project)
    assert (added.code, added.out, added.err) == (0, "", "Schedule weekend: rate(1 minute), enabled.\n")
    assert "longshore.weekend" in stack.eventbridge.next_firings()
    assert stack.fire("longshore.weekend") == 1
    eventually(lambda: api.get(fresh_id).json()["data"]["status"] == "stopped")
    row = api.rows(fresh_id)[-1]
    assert (row["triggered_by"], row["metadata"]["rule"]) == ("schedule", "weekend")
    assert stack.eventbridge.invocations.wait_idle(PATIENCE)
    # Containers of other projects are not stopped.
    assert api.get(container_id(12)).json()["data"]["status"] == "running"


@pytest.mark.parametrize(
    ("arguments", "constant"),
    [
        (["--all"], {"all": True}),
        (["--project", PROJECT], {"project_id": PROJECT}),
        (["--container", container_id(11)], {"container_ids": [container_id(11)]}),
        (
            ["--container", container_id(12), "--container", container_id(11)],
            {"container_ids": [container_id(12), container_id(11)]},
        ),
    ],
)
def test_the_content_of_a_rule(run: Any, stack: LocalStack, arguments: list[str], constant: dict[str, Any]) -> None:
    assert run("schedule", "add", "late", "--cron", "0 18 ? * FRI *", *arguments).code == 0
    rule = rule_of(stack, "late")
    assert (rule["ScheduleExpression"], rule["State"]) == ("cron(0 18 ? * FRI *)", "ENABLED")
    (target,) = rule["Targets"]
    assert stack.template is not None
    outputs = stack.template.outputs
    assert target["Arn"] == outputs["ScheduledStopFunctionArn"]
    assert target["DeadLetterConfig"] == {"Arn": outputs["DeadLettersArn"]}
    assert "Input" not in target
    assert target["InputTransformer"]["InputPathsMap"] == {"time": "$.time"}
    assert input_of(target) == constant | {"rule": "late"}
    assert tags(stack, rule["Arn"]) == [{"Key": "longshore:stack", "Value": "longshore"}]


def test_the_list(run: Any) -> None:
    run("schedule", "add", "weekend", *CRON, "--project", PROJECT)
    run("schedule", "add", "often", "--rate", "rate(5 minutes)", "--all", "--disabled")
    lines = [line.split() for line in run("schedule", "list").out.splitlines()]
    assert lines[0] == ["NAME", "WHEN", "DOES", "STATE", "NEXT"]
    assert [line[0] for line in lines[1:]] == [NIGHTLY, "often", "weekend"]
    found = listed(run)
    assert found[NIGHTLY]["removable"] is False
    weekend = found["weekend"]
    following = datetime.fromisoformat(weekend.pop("next"))
    assert (following.weekday(), following.hour, following.minute) == (4, 18, 0)
    assert 0 < (following - datetime.now(UTC)).days + 1 <= 7
    assert weekend == {
        "name": "weekend",
        "rule": "longshore.weekend",
        "expression": "cron(0 18 ? * FRI *)",
        "enabled": True,
        "input": {"project_id": PROJECT, "rule": "weekend"},
        "passes_time": True,
        "invokes": True,
        "removable": True,
        "unknown_containers": [],
    }
    assert (found["often"]["enabled"], found["often"]["next"]) == (False, None)
    assert found[NIGHTLY]["passes_time"] is True
    assert found[NIGHTLY]["input"] == {"all": True, "rule": "nightly-stop"}


def test_a_rule_of_another_stack_with_a_longer_name_is_left_alone(run: Any, stack: LocalStack) -> None:
    """The rules that CloudFormation creates for a stack begin with `<stack>-`, like the name longshore-dev."""
    events = stack.client("events")
    tag = {"Key": "longshore:stack", "Value": "longshore-dev"}
    events.put_rule(Name="longshore-dev-weekend", ScheduleExpression="rate(1 hour)", Tags=[tag])
    try:
        assert run("schedule", "add", "dev-weekend", *CRON, "--all").code == 0
        assert run("schedule", "remove", "dev-weekend").code == 0
        assert run("schedule", "remove", "dev-weekend").code == 1
        assert rule_of(stack, "dev-weekend", "longshore-")["ScheduleExpression"] == "rate(1 hour)"
    finally:
        events.delete_rule(Name="longshore-dev-weekend")


def test_repeating_a_command_changes_nothing_and_other_settings_are_refused(run: Any, stack: LocalStack) -> None:
    run("schedule", "add", "weekend", *CRON, "--all")
    before = rule_of(stack, "weekend")
    assert run("schedule", "add", "weekend", *CRON, "--all").code == 0
    for other in [(*CRON, "--project", PROJECT), ("--rate", "1 hour", "--all")]:
        refused = run("schedule", "add", "weekend", *other)
        assert refused.code == 1
        assert refused.err == (
            "error: The schedule weekend already exists with other settings: specify --replace to change it.\n"
        )
    after = rule_of(stack, "weekend")
    assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}
    assert run("schedule", "add", "weekend", "--rate", "1 hour", "--project", PROJECT, "--replace").code == 0
    replaced = rule_of(stack, "weekend")
    assert replaced["ScheduleExpression"] == "rate(1 hour)"
    assert [input_of(target)["project_id"] for target in replaced["Targets"]] == [PROJECT]
    assert run("schedule", "add", "weekend", "--rate", "1 hour", "--project", PROJECT, "--disabled").code == 0
    assert rule_of(stack, "weekend")["State"] == "DISABLED"


@pytest.mark.parametrize("operation", ["PutRule", "PutTargets", "EnableRule"])
@pytest.mark.parametrize("after_effect", [False, True])
def test_an_unfinished_rule_never_fires_and_is_completed_by_the_same_command(
    run: Any, stack: LocalStack, emulator: Emulator, operation: str, after_effect: bool
) -> None:
    arguments = ("schedule", "add", "weekend", "--rate", "1 minute", "--all")
    emulator.faults.add("events", operation, "InternalException", times=None, after_effect=after_effect)
    broken = run(*arguments)
    assert (broken.code, broken.err.partition(":")[0]) == (3, "error")
    left = rule_of(stack, "weekend")
    whole = operation == "EnableRule" and after_effect
    assert left is None or (left["State"] == "ENABLED") == whole
    assert ("longshore.weekend" in stack.eventbridge.next_firings()) == whole
    assert ("weekend" in listed(run)) == (left is not None)
    if left is not None and not left["Targets"]:
        assert "no target: add it again" in run("schedule", "list").out
    emulator.faults.clear()
    assert run(*arguments).code == 0
    rule = rule_of(stack, "weekend")
    assert (rule["State"], len(rule["Targets"])) == ("ENABLED", 1)


@pytest.mark.parametrize("operation", ["PutRule", "PutTargets", "EnableRule", "DeleteRule", "RemoveTargets"])
def test_a_lost_response_is_retried(run: Any, stack: LocalStack, emulator: Emulator, operation: str) -> None:
    emulator.faults.add("events", operation, "drop", after_effect=True)
    assert run("schedule", "add", "weekend", *CRON, "--all").code == 0
    assert len(rule_of(stack, "weekend")["Targets"]) == 1
    assert run("schedule", "remove", "weekend").code == 0
    assert rule_of(stack, "weekend") is None


@pytest.mark.parametrize("operation", ["RemoveTargets", "DeleteRule"])
def test_a_removal_is_completed_by_the_same_command(
    run: Any, stack: LocalStack, emulator: Emulator, operation: str
) -> None:
    run("schedule", "add", "weekend", *CRON, "--all")
    emulator.faults.add("events", operation, "InternalException", times=None)
    assert run("schedule", "remove", "weekend").code == 3
    assert "weekend" in listed(run)
    emulator.faults.clear()
    removed = run("schedule", "remove", "weekend")
    assert (removed.code, removed.err) == (0, "Removed the schedule weekend.\n")
    assert rule_of(stack, "weekend") is None
    assert "longshore.weekend" not in stack.eventbridge.next_firings()
    again = run("schedule", "remove", "weekend")
    assert (again.code, again.err) == (1, "error: The schedule weekend does not exist.\n")


@pytest.mark.parametrize("arguments", [("remove", NIGHTLY), ("add", NIGHTLY, *CRON, "--all", "--replace")])
def test_the_rule_of_the_template_cannot_be_changed(run: Any, stack: LocalStack, arguments: tuple[str, ...]) -> None:
    before = rule_of(stack, NIGHTLY, "longshore-")
    refused = run("schedule", *arguments)
    assert (refused.code, refused.err) == (
        1,
        f"error: The rule longshore-{NIGHTLY} was not created by `schedule add` and cannot be changed here.\n",
    )
    after = rule_of(stack, NIGHTLY, "longshore-")
    assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}


def test_rules_with_other_targets_are_not_listed(run: Any, stack: LocalStack) -> None:
    events = stack.client("events")
    events.put_rule(Name="longshore-of-others", ScheduleExpression="rate(1 hour)")
    assert list(listed(run)) == [NIGHTLY]
    events.delete_rule(Name="longshore-of-others")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["weekend", "--all"], "Specify either --cron or --rate."),
        (["weekend", *CRON, "--rate", "1 hour", "--all"], "Specify either --cron or --rate."),
        (["weekend", "--cron", "0 18 * * FRI *", "--all"], "is not an EventBridge cron expression"),
        (["weekend", "--cron", "0 18 * * *", "--all"], "is not an EventBridge cron expression"),
        (["weekend", "--cron", "rate(1 hour)", "--all"], "is not an EventBridge cron expression"),
        (["weekend", "--rate", "1 hours", "--all"], "is not an EventBridge rate expression"),
        (["weekend", "--rate", "90 seconds", "--all"], "is not an EventBridge rate expression"),
        (["weekend", "--cron", "0 0 1 1 ? 2024", "--all"], "cron(0 0 1 1 ? 2024) has no future run time."),
        (["weekend", *CRON], "Specify exactly one of --all, --project and --container."),
        (["weekend", *CRON, "--all", "--project", PROJECT], "Specify exactly one of"),
        (["weekend", *CRON, "--project", "demo"], "24 characters of 0-9a-f"),
        (["weekend", *CRON, "--container", "X"], "24 characters of 0-9a-f"),
        (["week end", *CRON, "--all"], "only letters, digits, dots, hyphens and underscores"),
        (["w" * 55, *CRON, "--all"], "may have at most 54 characters"),
    ],
)
def test_invalid_arguments_create_no_rule(run: Any, stack: LocalStack, arguments: list[str], message: str) -> None:
    stack.emulator.calls.clear()
    refused = run("schedule", "add", *arguments)
    assert (refused.code, refused.out) == (1, "")
    assert message in refused.err
    assert refused.err.count("\n") == 1
    assert stack.emulator.calls.count("events", "PutRule") == 0
