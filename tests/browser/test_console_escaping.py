"""Text of other users in the console: invisible characters and bidirectional formatting are escaped."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from api_client import Api
from browser.console_page import ConsolePage
from browser.fleet_page import FleetPage
from longshore_client.cli.text import escaped

from local.seed import Seeder
from local.template import ROOT

# A right-to-left override, an isolate, a zero-width space, a soft hyphen, a tag, and a space without a width.
HOSTILE = ["\u202e", "\u2066", "\u200b", "\u00ad", "\U000e0041", "\u2060"]
# Shows the name of another container, and reverses what follows.
NAME = "web-1\u200b\u202edorp"
REASON = "not \u202eyours\u2066"
LABEL = "prod\u00ad\U000e0041"

# Returns the texts that the page shows or speaks, and that contain a hostile character.
FOUND = """
const hostile = new RegExp(`[${arguments[0]}]`, "u");
const texts = [document.title];
const nodes = document.createTreeWalker(document.documentElement, NodeFilter.SHOW_TEXT);
while (nodes.nextNode()) texts.push(nodes.currentNode.data);
for (const element of document.querySelectorAll("*"))
  for (const name of ["title", "aria-label", "aria-valuetext", "placeholder", "label"])
    texts.push(element.getAttribute(name) ?? "");
for (const option of document.querySelectorAll("datalist > option")) texts.push(option.value);
return texts.filter(text => hostile.test(text));
"""


@pytest.fixture
def container(api: Api, seeder: Seeder, fresh_id: str) -> str:
    """A running, protected container with a hostile name, label and reason."""
    cause = {"command": "start", "actor": f"ada\u202e{fresh_id}", "reason": REASON}
    seeder.add(fresh_id, ["stopped", "running"], metadata=lambda _statuses, _position: cause)
    changes = {"name": NAME, "labels": {"env": LABEL}, "protection": {"reason": REASON}}
    assert api.patch(fresh_id, changes, user="owner").status_code == 200
    return fresh_id


def hostile_texts(page: ConsolePage) -> list[str]:
    found: list[str] = page.run(FOUND, "".join(HOSTILE))
    return found


def test_the_fleet(console: ConsolePage, container: str) -> None:
    fleet = FleetPage(console.driver, console.url)
    fleet.sign_in_to(name="web-1\u200b")
    fleet.wait(lambda: escaped(NAME) in fleet.names())
    assert escaped(LABEL) in fleet.text(f"tr[data-container='{container}']")
    assert fleet.element(f"tr[data-container='{container}'] input").get_attribute("aria-label") == (
        f"Select {escaped(NAME)}"
    )
    assert hostile_texts(fleet) == []


def test_a_container(console: ConsolePage, container: str) -> None:
    console.sign_in(container)
    console.wait(lambda: console.text("#container-name") == escaped(NAME))
    console.wait(lambda: escaped(REASON) in console.text("#container"))
    assert escaped(NAME) in console.driver.title
    assert escaped(LABEL) in console.text("#container")
    stop = console.element("[data-operation=stop]")
    console.wait(lambda: escaped(REASON) in str(stop.get_attribute("title")))
    assert hostile_texts(console) == []


def test_the_activity(console: ConsolePage, container: str) -> None:
    console.sign_in(container)
    console.wait(lambda: console.text("#container-name") == escaped(NAME))
    console.open("activity")
    console.wait(lambda: escaped(NAME) in console.text("#activity-table"))
    assert hostile_texts(console) == []


TEXTS = [*HOSTILE, "\u0007", "\x7f", "\u00a0", "\u2028", "\ue000", "a b", "é名🙂", "\\u202e", "a\u202eb\u200bc", ""]


def test_escape_sequences_are_those_of_the_command_line(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is missing: it runs the module of the console")
    module = shutil.copy(ROOT / "console" / "dom.js", tmp_path / "dom.mjs")
    script = (
        f'import {{ escaped }} from "{module}";console.log(JSON.stringify(JSON.parse(process.argv[1]).map(escaped)));'
    )
    command = [node, "--input-type=module", "--eval", script, json.dumps(TEXTS)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == [escaped(text) for text in TEXTS]
