"""The commands in the README's section "A container of your own" work as described."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from invariants import check

from local import tokens
from local.seed import PROJECT
from local.stack import LocalStack
from local.stack_file import announced
from local.template import ROOT


def test_a_container_of_ones_own(stack: LocalStack) -> None:
    section = (ROOT / "README.md").read_text().partition("## A container of your own\n")[2].partition("\n## ")[0]
    (commands,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LONGSHORE_URL": stack.url,
        "LONGSHORE_TOKEN": tokens.token("operator"),
    }
    with announced(stack):
        ran = subprocess.run(
            ["bash", "-euc", f'{commands}\necho "$ID"'], cwd=ROOT, env=environment, capture_output=True, text=True
        )
    assert ran.returncode == 0, ran.stderr
    *_, identity = ran.stdout.split()
    item = check(stack, identity)
    assert (item["name"], item["project_id"], item["status"], item["log_count"]) == (
        "invoices",
        PROJECT,
        "running",
        2,
    )
    assert f"{identity}\tstart\trunning" in ran.stdout
    assert re.search(r"\tstopped\trunning\t.*start by operator", ran.stdout)
    events = stack.client("events")
    (rule,) = [rule for rule in events.list_rules()["Rules"] if rule["Name"].endswith(".night")]
    assert rule["ScheduleExpression"] == "cron(0 20 * * ? *)"
    (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    assert identity in target["InputTransformer"]["InputTemplate"]
