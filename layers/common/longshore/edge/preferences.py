"""The request header `Prefer` (RFC 7240): how long a caller is willing to wait for the effect of an operation.

Two preferences are supported; all others are ignored, and so are malformed ones:

    respond-async             answer 202 as soon as the operation is sent to ECS
    wait=10                   wait for the effect for at most ten seconds
    respond-async, wait=10    the same as wait=10
"""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

PREFER = "Prefer"
PREFERENCE_APPLIED = "Preference-Applied"

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# A quoted string without a closing quote extends to the end of the header, so that no part of it is applied.
_QUOTED = r'"(?:[^"\\]|\\.)*(?:"|\\?$)'
_ELEMENT = re.compile(rf'(?:[^",]|{_QUOTED})+')
_PREFERENCE = re.compile(rf"[ \t]*({_TOKEN})[ \t]*(?:=[ \t]*(?:({_TOKEN}|{_QUOTED})[ \t]*)?)?(?:;.*)?", re.DOTALL)
_SECONDS = re.compile(r"[0-9]+")
# More digits are not needed: the number is then longer than any stack waits. Python refuses to read thousands of them.
_DIGITS = 6


class Preferences(NamedTuple):
    """The caller's preferences.

    Attributes:
        respond_async: Whether the caller prefers a 202 to waiting.
        wait: The longest time that the caller prefers to wait; None if the caller does not say.
    """

    respond_async: bool = False
    wait: timedelta | None = None

    @classmethod
    def parse(cls, headers: Iterable[str]) -> "Preferences":
        """Read the values of all `Prefer` headers of a request.

        If a preference is repeated, only its first occurrence counts, even if its value is not valid.
        """
        given: dict[str, str] = {}
        for header in headers:
            for element in _ELEMENT.findall(header):
                found = _PREFERENCE.fullmatch(element)
                if found:
                    given.setdefault(found[1].lower(), _unquoted(found[2] or ""))
        seconds = given.get("wait", "")
        wait = None
        if _SECONDS.fullmatch(seconds):
            wait = timedelta(seconds=int(seconds.lstrip("0")[:_DIGITS] or "0"))
        return cls(respond_async=given.get("respond-async") == "", wait=wait)

    @property
    def longest_wait(self) -> timedelta | None:
        """The longest time to wait for an effect; None if the caller has no preference."""
        return timedelta() if self.wait is None and self.respond_async else self.wait

    def within(self, longest: timedelta) -> "Preferences":
        """Return the preferences with a wait of at most `longest`."""
        return self if self.wait is None else self._replace(wait=min(self.wait, longest))

    def applied(self, *, accepted: bool) -> dict[str, str]:
        """Return the response header that names the applied preferences. Empty if there are none.

        Args:
            accepted: Whether the response is a 202. A response that states the effect is not asynchronous.
        """
        names = ["respond-async"] if self.respond_async and accepted else []
        if self.wait is not None:
            names.append(f"wait={self.wait.total_seconds():g}")
        return {PREFERENCE_APPLIED: ", ".join(names)} if names else {}


NO_PREFERENCES = Preferences()


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word
