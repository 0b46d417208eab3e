"""Changes of DynamoDB conditions, which are strings in Python."""

import re
from typing import NamedTuple

# A clause of a condition. Fields of f-strings are not clauses: their values are written elsewhere.
_CLAUSE = re.compile(
    rb"(?P<function>attribute_(?:not_)?exists)\([#\w.]+\)"
    rb"|(?<![\w#:{}])[#\w.]+ (?P<sign>=|<>|<=|>=|<|>) :\w+"
)
_JOINT = re.compile(rb"(?<=[\w)}] )(?:AND|OR)(?= [\w#({\"'])")
_AFTER_OR = re.compile(rb"\bOR (?:\"\s*f?\")?$")
_BETWEEN = re.compile(rb"BETWEEN \S+ $")
_UPDATE = re.compile(rb"^f?[\"'] ?(?:SET|REMOVE|ADD|DELETE) ")
_SIGNS = {
    b"=": (b"<>",),
    b"<>": (b"=",),
    b"<": (b"<=", b">="),
    b"<=": (b"<", b">"),
    b">": (b">=", b"<="),
    b">=": (b">", b"<"),
}


class Edit(NamedTuple):
    """Replaces the bytes from `start` to `end` of a source by `text`."""

    start: int
    end: int
    text: bytes


def condition_edits(literal: bytes, offset: int, *, is_key: bool) -> list[list[Edit]]:
    """Return the changes of a DynamoDB condition, as alternatives per place. Empty if the string is not a condition.

    A dropped clause is replaced by a clause that is always true (always false between ORs), because DynamoDB refuses
    requests with unused values, which would reveal the change regardless of the purpose of the clause.

    Args:
        literal: The string as it is written in the source, with its quotes.
        offset: Its position in the source, in bytes.
        is_key: Whether it is a key condition, which has to name a key and supports neither OR nor `<>`.
    """
    if _UPDATE.match(literal):
        return []
    places = []
    for match in _CLAUSE.finditer(literal):
        start, end = offset + match.start(), offset + match.end()
        clause, sign, function = match.group(), match["sign"], match["function"]
        if is_key and (not sign or sign == b"="):
            continue
        if not is_key:
            in_or = _AFTER_OR.search(literal[: match.start()]) or literal[match.end() :].startswith(b" OR ")
            word = b"AND" if in_or else b"OR"
            places.append([Edit(start, end, b"(%s %s NOT %s)" % (clause, word, clause))])
        if sign:
            first, last = (offset + at for at in match.span("sign"))
            places.append([Edit(first, last, other) for other in _SIGNS[sign]])
        else:
            first, last = (offset + at for at in match.span("function"))
            other = b"attribute_exists" if function == b"attribute_not_exists" else b"attribute_not_exists"
            places.append([Edit(first, last, other)])
    if not is_key:
        for match in _JOINT.finditer(literal):
            if not _BETWEEN.search(literal[: match.start()]):
                word = b"OR" if match.group() == b"AND" else b"AND"
                places.append([Edit(offset + match.start(), offset + match.end(), word)])
    return places
