"""Tests of the console's files as the local stack serves them."""

import re

from local.pages import pages


def test_the_console_is_complete() -> None:
    """Every file that the console refers to is served with its content type, and none comes from another origin."""
    served = {path: page() for path, page in pages().items() if path.startswith("/console")}
    assert served["/console"].status == 307
    assert served["/console"].header("Location") == "/console/"
    index = served["/console/"].body.decode()
    named = set(re.findall(r'(?:href|src)="([^"#]+)"', index))
    scripts = {path: page for path, page in served.items() if path.endswith(".js")}
    for page in scripts.values():
        named |= {name.removeprefix("./") for name in re.findall(r'from "([^"]+)"', page.body.decode())}
    assert {"app.js", "api.js", "console.css", "icon.svg"} <= named
    assert {name for name in named if f"/console/{name}" not in served} == set()
    assert all("javascript" in page.header("Content-Type") for page in scripts.values())
    assert served["/console/console.css"].header("Content-Type").startswith("text/css")


def test_only_scripts_of_the_console_run() -> None:
    index = pages()["/console/"]().body.decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', index)
    directives = dict(directive.strip().split(" ", 1) for directive in policy.split(";"))
    assert directives["default-src"] == "'self'"
    assert "script-src" not in directives
    assert directives["require-trusted-types-for"] == "'script'"
