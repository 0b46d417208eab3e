"""Mutation operators: find the places of a source text that can be changed, and the changes.

Changes are made in the source text at positions that `ast` and `tokenize` report, so that everything outside a change
keeps its layout and comments. The kinds:

    negate             a condition is negated (`not` is added)
    remove-not         `not` is removed
    comparison         a comparison is inverted, or its boundary is moved
    drop-condition     an operand of `and` or `or`, or the filter of a comprehension, is dropped
    swap-bool          `and` becomes `or`, and the reverse
    branch             a condition is always true or always false; a case, loop or exception handler is skipped
    remove-statement   a call, assignment to an attribute, `raise`, `continue` or `break` becomes `pass`
    remove-call        `min` or `max` is replaced by one of its arguments
    constant           True and False are swapped; numbers are changed
    drop-entry         an entry of `update={...}` or an argument of `_replace(...)` is dropped
    expression         in a DynamoDB condition a clause is dropped, a comparison inverted, AND and OR swapped

The following is not changed, because a change would have no effect or would always be detected: annotations,
docstrings, decorators, `assert`, `assert_never`, `if TYPE_CHECKING`, assignments in `__init__`, and expressions inside
f-strings.
"""

import ast
import io
import tokenize
from dataclasses import dataclass
from itertools import pairwise

from mutation.conditions import Edit, condition_edits

_COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
_COMPARING = {"==", "!=", "<", "<=", ">", ">=", "is", "not", "in"}
_SMALL = 10  # a number up to this is changed by one; a larger number is halved or doubled


@dataclass(frozen=True)
class Site:
    """A place in a source text, with the alternative changes.

    Each alternative is a tuple of edits in ascending order that belong together.
    """

    kind: str
    function: str
    alternatives: tuple[tuple[Edit, ...], ...]


def find_sites(source: str) -> list[Site]:
    """Return the sites of a source text, in the order of the text. No two alternatives give the same text."""
    finder = _Finder(source)
    finder.visit(ast.parse(source))
    data = source.encode()
    seen = {data}
    sites = []
    for site in sorted(finder.sites, key=lambda site: (site.alternatives[0][0], site.kind)):
        fresh = []
        for edits in site.alternatives:
            mutated = apply(data, edits)
            if mutated not in seen:
                seen.add(mutated)
                fresh.append(edits)
        if fresh:
            sites.append(Site(site.kind, site.function, tuple(fresh)))
    return sites


def apply(source: bytes, edits: tuple[Edit, ...]) -> bytes:
    """Return the source with the edits made."""
    for edit in reversed(edits):
        source = source[: edit.start] + edit.text + source[edit.end :]
    return source


class _Finder(ast.NodeVisitor):
    """Collects the sites of one module."""

    def __init__(self, source: str) -> None:
        self.sites: list[Site] = []
        self._source = source.encode()
        self._scope: list[str] = []
        self._is_key_condition = False
        lines = source.encode().splitlines(keepends=True)
        self._line_starts = [0]
        for line in lines:
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._tokens = [
            (self._line_starts[row - 1] + len(line[:column].encode()), token)
            for _, token, (row, column), _, line in _tokens(source)
        ]

    # --- positions -------------------------------------------------------------------------------------------------

    def _start(self, node: ast.AST) -> int:
        return self._line_starts[_int(node, "lineno") - 1] + _int(node, "col_offset")

    def _end(self, node: ast.AST) -> int:
        return self._line_starts[_int(node, "end_lineno") - 1] + _int(node, "end_col_offset")

    def _between(self, start: int, end: int, wanted: set[str]) -> list[tuple[int, int]]:
        """Return the positions of the wanted tokens between two operands."""
        return [(at, at + len(token)) for at, token in self._tokens if start <= at < end and token in wanted]

    def _add(self, kind: str, *alternatives: tuple[Edit, ...]) -> None:
        if alternatives:
            self.sites.append(Site(kind, ".".join(self._scope) or "<module>", alternatives))

    def _replace(self, kind: str, node: ast.AST, *texts: str) -> None:
        start, end = self._start(node), self._end(node)
        self._add(kind, *((Edit(start, end, text.encode()),) for text in texts))

    # --- parts that are not changed ----------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._scope.append(node.name)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        self._visit_all(node.body)
        self._scope.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.append(node.name)
        self._visit_all(node.body)
        self._scope.pop()

    def _visit_all(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_Assert(self, node: ast.Assert) -> None:
        pass

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._removable_assignment(node, [node.target])
        if node.value is not None:
            self.visit(node.value)

    # --- conditions and branches -----------------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self._condition(node.test)
            self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._condition(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        if not isinstance(node.test, ast.Constant):
            self._condition(node.test, "False")
            self.generic_visit(node)
            return
        self._visit_all(node.body)

    def visit_For(self, node: ast.For) -> None:
        self._replace("branch", node.iter, "()")
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._negate(test)
            self._replace("drop-condition", test, "True")
        self.generic_visit(node)

    def visit_match_case(self, node: ast.match_case) -> None:
        if _is_unreachable(node.body[0]):
            return
        if node.guard is None:
            end = self._end(node.pattern)
            # The pattern's position excludes its parentheses.
            end = min(at for at, token in self._tokens if at >= end and token == ":")
            self._add("branch", (Edit(end, end, b" if False"),))
        else:
            self._condition(node.guard)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._add("branch", (Edit(self._start(node.body[0]), self._end(node.body[-1]), b"raise"),))
        self.generic_visit(node)

    def _condition(self, test: ast.expr, *constants: str) -> None:
        self._negate(test)
        self._replace("branch", test, *(constants or ("False", "True")))

    def _negate(self, test: ast.expr) -> None:
        # `not x` and a single comparison have their own operators with the same effect.
        is_single = isinstance(test, ast.Compare) and len(test.ops) == 1
        if not is_single and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
            text = self._source[self._start(test) : self._end(test)].decode()
            self._replace("negate", test, f"not ({text})")

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            start = self._start(node)
            rest = self._source[start + len("not") :]
            self._add("remove-not", (Edit(start, start + len(b"not") + len(rest) - len(rest.lstrip()), b""),))
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for (left, right), op in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
            found = self._between(self._end(left), self._start(right), _COMPARING)
            start, end = found[0][0], found[-1][1]
            self._add("comparison", *((Edit(start, end, text.encode()),) for text in _COMPARISONS[type(op)]))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        word, other = ("and", b"or") if isinstance(node.op, ast.And) else ("or", b"and")
        start, end = self._start(node), self._end(node)
        # Positions of operands exclude their parentheses: the operators separate them.
        operators = [
            self._between(self._end(left), self._start(right), {word})[0] for left, right in pairwise(node.values)
        ]
        starts = [start, *(self._skip_space(after) for _, after in operators)]
        last = operators[-1][0]
        last -= len(self._source[:last]) - len(self._source[:last].rstrip())
        drops = [(Edit(this, following, b""),) for this, following in pairwise(starts)]
        self._add("drop-condition", *drops, (Edit(last, end, b""),))
        swapped = (Edit(at, after, other) for at, after in operators)
        self._add("swap-bool", (Edit(start, start, b"("), *swapped, Edit(end, end, b")")))
        self.generic_visit(node)

    def _skip_space(self, at: int) -> int:
        rest = self._source[at:]
        return at + len(rest) - len(rest.lstrip())

    # --- statements and calls --------------------------------------------------------------------------------------

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and not _is_unreachable(node):
            self._replace("remove-statement", node, "pass")
        if not isinstance(node.value, ast.Constant) and not _is_unreachable(node):
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._removable_assignment(node, node.targets)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._replace("remove-statement", node, "pass")
        self.generic_visit(node)

    def _removable_assignment(self, node: ast.stmt, targets: list[ast.expr]) -> None:
        if self._scope[-1:] != ["__init__"] and all(
            isinstance(each, ast.Attribute | ast.Subscript) for each in targets
        ):
            self._replace("remove-statement", node, "pass")

    def visit_Raise(self, node: ast.Raise) -> None:
        if not _is_unreachable(node):
            self._replace("remove-statement", node, "pass")
            self.generic_visit(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replace("remove-statement", node, "pass")

    def visit_Break(self, node: ast.Break) -> None:
        self._replace("remove-statement", node, "pass")

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if isinstance(node.func, ast.Name) and name in ("min", "max") and len(node.args) > 1:
            texts = [self._source[self._start(each) : self._end(each)].decode() for each in node.args]
            self._replace("remove-call", node, *(f"({text})" for text in texts))
        if name in ("_replace", "replace") and node.keywords:
            self._drop_entries([(self._start(each), self._end(each)) for each in node.keywords])
        for keyword in node.keywords:
            if keyword.arg == "update" and isinstance(keyword.value, ast.Dict):
                pairs = zip(keyword.value.keys, keyword.value.values, strict=True)
                self._drop_entries([(self._start(key or value), self._end(value)) for key, value in pairs])
        self.generic_visit(node)

    def _drop_entries(self, spans: list[tuple[int, int]]) -> None:
        following = [*(start for start, _ in spans[1:]), spans[-1][1]]
        drops = [Edit(start, end, b"") for (start, _), end in zip(spans, following, strict=True)]
        if len(spans) > 1:
            drops[-1] = Edit(spans[-2][1], spans[-1][1], b"")
        self._add("drop-entry", *((drop,) for drop in drops))

    # --- constants and DynamoDB conditions -------------------------------------------------------------------------

    def visit_keyword(self, node: ast.keyword) -> None:
        self._is_key_condition = node.arg == "KeyConditionExpression"
        self.generic_visit(node)
        self._is_key_condition = False

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replace("constant", node, str(not value))
        elif isinstance(value, int) and value <= _SMALL:
            self._replace("constant", node, *(str(each) for each in (value + 1, value - 1) if each >= 0))
        elif isinstance(value, int):
            self._replace("constant", node, str(value * 2), str(value // 2))
        elif isinstance(value, float):
            self._replace("constant", node, str(value * 2), str(value / 2))
        elif isinstance(value, str):
            self._expression(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._expression(node)

    def _expression(self, node: ast.AST) -> None:
        start, end = self._start(node), self._end(node)
        for alternatives in condition_edits(self._source[start:end], start, is_key=self._is_key_condition):
            self._add("expression", *((edit,) for edit in alternatives))


def _is_unreachable(node: ast.stmt) -> bool:
    """Return whether the statement only marks unreachable code."""
    call = node.value if isinstance(node, ast.Expr) else node.exc if isinstance(node, ast.Raise) else None
    name = call.func if isinstance(call, ast.Call) else call
    return isinstance(name, ast.Name) and name.id in ("assert_never", "AssertionError")


def _tokens(source: str) -> list[tokenize.TokenInfo]:
    relevant = (tokenize.NAME, tokenize.OP)
    return [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type in relevant]


def _int(node: ast.AST, name: str) -> int:
    value = getattr(node, name)
    assert isinstance(value, int)
    return value
