"""`docs/errors.md`: the catalogue of errors, for people."""

from __future__ import annotations

from reference.catalogue import CATALOGUE, Entry

_HEAD = """\
<!-- Made by `make openapi` from reference/errors.yaml. Do not edit. -->

# Errors

An error is `{"statusCode", "error", "code", "message"}`, with `data` where this page says so, and has the header
`X-Request-Id`. Programs go by `code`. The causes are looked for in this order: the first that is found is the answer.
"""


def text() -> str:
    """The page."""
    return "\n".join([_HEAD, *(_section(entry) for entry in CATALOGUE.values())])


def _section(entry: Entry) -> str:
    return "\n".join(
        [
            f"## {entry.code}",
            "",
            f"**{entry.status} {entry.phrase}** · {entry.title}. Message: *{entry.message}*",
            "",
            entry.description,
            "",
            f"**What to do**: {entry.resolution}",
            "",
        ]
    )
