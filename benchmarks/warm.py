"""Warm calls: CPU time of a page of ten rows without AWS, as a ratio to a bare json.dumps.

Every target runs in its own process. They take turns in batches of calls, and each batch is paired with a batch of the
bare function. Logs are discarded.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from benchmarks import samples
from benchmarks.figures import middle, ratios
from benchmarks.progress import bar
from benchmarks.runs import Warm
from benchmarks.targets import WORK, Targets

_BEFORE = 200  # calls that warm up a target


def measure(targets: Targets, rounds: int, calls: int) -> dict[str, Any]:
    """Measure the warm calls of `status_logs` and the peers.

    Args:
        targets: The built functions and peers.
        rounds: The number of pairs of batches.
        calls: The number of calls per batch.

    Raises:
        RuntimeError: The responses differ.
    """
    ours, theirs = samples.write_replies(targets, "status_logs", WORK)
    sent = samples.page_event()
    function = targets.functions["status_logs"]
    with ExitStack() as stack:
        served = {
            target.name: stack.enter_context(
                Warm(targets.python, target, "stubbed", str(theirs if target.resource else ours))
            )
            for target in (function, *targets.peers.values())
        }
        answers = {name: body(warm.call(sent)) for name, warm in served.items()}
        expected = answers[function.name]
        for name, answer in answers.items():
            if answer != expected:
                raise RuntimeError(f"{name} returns a different response:\n{answer}\n{expected}")
        (WORK / "page.json").write_text(json.dumps(expected), encoding="utf-8")
        bare = stack.enter_context(Warm(targets.python, targets.bare, "live"))
        for warm in (bare, *served.values()):
            warm.batch(sent, min(_BEFORE, 10 * calls))
        pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in served}
        for turn in bar(range(rounds), "warm calls"):
            for name, warm in served.items():
                one, other = (bare, warm) if turn % 2 else (warm, bare)
                first, second = one.batch(sent, calls), other.batch(sent, calls)
                pairs[name].append((second, first) if turn % 2 else (first, second))
        for name, warm in served.items():
            if body(warm.call(sent)) != expected:
                raise RuntimeError(f"{name} returns a different response at the end")
    return {
        "bare_seconds": middle([other for each in pairs.values() for _, other in each]),
        "targets": {
            name: {"seconds": middle([one for one, _ in each]), "ratio": ratios(each).as_dict()}
            for name, each in pairs.items()
        },
    }


def body(called: dict[str, Any]) -> Any:
    """Return the parsed body of a 200 response. Raise RuntimeError for any other status."""
    answer = called["answer"]
    if answer["statusCode"] != 200:
        raise RuntimeError(f"the response is not 200: {answer}")
    return json.loads(answer["body"])
