"""Writes the figures of `results.json` into docs/performance.md and docs/cost.md (`python -m benchmarks.report`).

Each table is between `<!-- figures: NAME -->` and `<!-- end -->` and is generated. A test checks that it is current.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import monthly, prices, results
from local import template

_DOCS = Path(__file__).parent.parent / "docs"
PAGE = _DOCS / "performance.md"
PAGES = (PAGE, _DOCS / "cost.md")

_BLOCK = re.compile(r"(<!-- figures: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

_MONTH = ("item", "number", "US dollars per month")

Results = Mapping[str, Any]


def render(page: str, found: Results) -> str:
    """Return the page with all tables generated from the results.

    Raises:
        KeyError: The page contains an unknown table.
    """
    return _BLOCK.sub(lambda block: f"{block[1]}{TABLES[block['name']](found)}\n{block[3]}", page)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds >= 0.001 else f"{seconds * 1e6:,.0f} µs"


def _ratio(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.2f}"


def _around(spread: Mapping[str, float]) -> str:
    return f"{spread['low']:.2f} to {spread['high']:.2f}"


# --- Targets ----------------------------------------------------------------------------------------------------------


def aims(found: Results) -> str:
    """Return the table of targets with the measured values."""
    cold, warm = found["cold"]["figures"]["targets"], found["warm"]["figures"]["targets"]
    functions = ("status_logs", "start", "stop", "force_stop", "restart", "pause", "resume")
    slowest = max(cold[name]["ratio"]["median"] for name in functions if name in cold)
    peers = [name for name in warm if name != "status_logs"]
    slowest_peer, fastest_peer = (pick(cold[name]["ratio"]["median"] for name in peers) for pick in (max, min))
    of_warm = warm["status_logs"]["ratio"]["median"]
    best_warm = min(warm[name]["ratio"]["median"] for name in peers)
    pages = [page for order in found["depth"]["figures"]["orders"] for page in order["pages"]]
    deepest = max(page["ratio"]["median"] for page in pages if page["ratio"])
    after = max(page["after_access"] for page in pages)
    units = {page["rcu"] for page in pages}
    cases = found["costs"]["figures"]["cases"]
    trips_of_page = max(case["round_trips"] for case in cases.values() if case["function"] == "status_logs")
    trips = max(case["round_trips"] for case in cases.values())
    listed = found["lists"]["figures"]
    trips_of_list = max(page["round_trips_of_aws"] for page in listed["pages"])
    cursor = listed["cursor"]["median"]
    sizes = found["sizes"]["figures"]
    layer, largest = sizes["layer"] / 1e6, _largest(sizes)[1] / 1e3
    rows = [
        (
            "cold start of `status_logs`, relative to boto3 with a client",
            "≤ 1.00",
            _ratio(cold["status_logs"]["ratio"]),
            cold["status_logs"]["ratio"]["median"] <= 1,
        ),
        ("cold start of the other functions behind the API", "≤ 1.08", f"up to {slowest:.2f}", slowest <= 1.08),
        (
            "cold start of the authorizer, until a token is verified with a JWKS key",
            "≤ 0.62",
            _ratio(cold["authorizer"]["ratio"]),
            cold["authorizer"]["ratio"]["median"] <= 0.62,
        ),
        (
            "cold start of the peers",
            "> all of these",
            f"{fastest_peer:.2f} to {slowest_peer:.2f}",
            fastest_peer > slowest,
        ),
        ("CPU of a warm call of `status_logs`, relative to `json.dumps`", "≤ 6.0", f"{of_warm:.1f}", of_warm <= 6),
        (
            "CPU of a warm call of the best peer, relative to `status_logs`",
            "≥ 4.0",
            f"{best_warm / of_warm:.1f}",
            best_warm >= 4 * of_warm,
        ),
        ("time of a page at any depth, relative to page 1", "≤ 1.15", f"up to {deepest:.2f}", deepest <= 1.15),
        ("requests of a page after the access check", "≤ 2", f"{after}", after <= 2),
        (
            "read units of pages at any depth",
            "equal",
            " and ".join(f"{unit:g}" for unit in sorted(units)),
            len(units) == 1,
        ),
        ("dependent round trips of a page, with the access check", "≤ 2", f"{trips_of_page}", trips_of_page <= 2),
        ("dependent round trips of an operation", "≤ 4", f"{trips}", trips <= 4),
        ("dependent round trips of a list of 10,000 containers", "≤ 3", f"{trips_of_list}", trips_of_list <= 3),
        ("time of a cursor's last page, relative to its first page", "≤ 1.15", f"{cursor:.2f}", cursor <= 1.15),
        ("size of the layer, unzipped", "≤ 26.5 MB", f"{layer:.1f} MB", layer <= 26.5),
        ("size of the largest function without the layer", "≤ 20 KB", f"{largest:.1f} KB", largest <= 20),
    ]
    head = ("metric", "target", "measured", "met")
    return _text_table(head, [(*row, "yes" if met else "**no**") for *row, met in rows])


# --- Parts ------------------------------------------------------------------------------------------------------------


def machine(found: Results) -> str:
    """Return the dates and machines of the measurements."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for name, part in found.items():
        of = part["machine"]
        key = (part["taken"], of["processor"], of["memory"], f"{of['system']}, Python {of['python']}")
        rows.setdefault(key, []).append(name)
    days: dict[tuple[str, ...], list[str]] = {}
    for (taken, *rest), names in rows.items():
        days.setdefault((taken.split()[0], *rest), []).extend(names)
    table = _text_table(
        ("part", "date", "processor", "memory", "system"),
        [(", ".join(names), *key) for key, names in days.items()],
    )
    some = next(iter(found.values()))["machine"]
    versions = f"botocore {some['botocore']}, pydantic {some['pydantic']}, Powertools {some['powertools']}"
    return f"{table}\n\n{versions}; {some['dynamodb_local']}."


def cold(found: Results) -> str:
    """Return the table of cold starts: the functions, then the peers."""
    figures = found["cold"]["figures"]
    rows = [
        (
            f"`{name}`" if "_" in name or name.islower() else name,
            f"{_ms(one['seconds'])}",
            f"**{_ratio(one['ratio'])}**",
            _around(one["ratio"]),
            _ratio(one["ratio_with_interpreter"]),
            _ratio(one["ratio_answered"]),
            one["ready"],
        )
        for name, one in figures["targets"].items()
    ]
    table = _table(("", "CPU", "ratio", "quartiles", "with the interpreter", "with the first call", "ready when"), rows)
    return (
        f"{table}\n\nThe interpreter alone takes {_ms(figures['interpreter_seconds'])}, boto3 with a DynamoDB client"
        f" {_ms(figures['baseline_seconds'])}. With the layer that SAM builds by default, without bytecode,"
        f" `status_logs` takes **{_ratio(figures['plain_layer']['to_ours'])} times** the CPU"
        f" ({_around(figures['plain_layer']['to_ours'])}), a ratio of {_ratio(figures['plain_layer']['ratio'])}."
    )


def pieces(found: Results) -> str:
    """Return the table of the parts of a cold start."""
    figures = found["cold"]["figures"]
    return _table(
        ("", "CPU", "ratio"),
        [(name, _ms(one["seconds"]), f"{one['ratio']:.2f}") for name, one in figures["pieces"].items()],
    )


def sizes(found: Results) -> str:
    """Return the table of sizes."""
    figures = found["sizes"]["figures"]
    largest = _largest(figures)
    pages = figures["functions"].get("pages")
    rows = [
        ("layer", f"{figures['layer'] / 1e6:.1f} MB"),
        ("layer as SAM builds it by default", f"{figures['plain_layer'] / 1e6:.1f} MB"),
        (f"largest function without the layer, `{largest[0]}`", f"{largest[1] / 1e3:.1f} KB"),
        *([("the function with the console and the API reference", f"{pages / 1e6:.1f} MB")] if pages else []),
        *((name, f"{size / 1e6:.1f} MB") for name, size in figures["peers"].items()),
    ]
    return _table(("", "unzipped"), rows)


def _largest(sizes: dict[str, Any]) -> tuple[str, int]:
    """Return the name and the size of the largest function that serves no files."""
    functions: dict[str, int] = sizes["functions"]
    return max(((name, size) for name, size in functions.items() if name != "pages"), key=lambda item: item[1])


def warm(found: Results) -> str:
    """Return the table of warm calls."""
    figures = found["warm"]["figures"]
    rows = [
        ("bare `json.dumps`", _ms(figures["bare_seconds"]), "1.00", ""),
        *(
            (
                f"`{name}`" if "_" in name else name,
                _ms(one["seconds"]),
                f"**{_ratio(one['ratio'])}**",
                _around(one["ratio"]),
            )
            for name, one in figures["targets"].items()
        ),
    ]
    return _table(("", "CPU per call", "ratio", "quartiles"), rows)


def depth(found: Results) -> str:
    """Return the table of deep pages in every order."""
    figures = found["depth"]["figures"]
    pages = figures["pages"]
    rows = []
    for order in figures["orders"]:
        units = sorted({f"{page['rcu']:g}" for page in order["pages"]})
        rows.append(
            (
                f"`{order['sort_by']}` {order['sort_order']}",
                _ms(order["pages"][0]["seconds"]),
                *(_ratio(page["ratio"]) for page in order["pages"][1:]),
                f"{max(page['after_access'] for page in order['pages'])}",
                " and ".join(units),
            )
        )
    head = ("", "page 1", *(f"page {page:,}" for page in pages[1:]), "requests after the access check", "total RCU")
    table = _table(head, rows)
    return f"{table}\n\n{_filtered(figures['filters'])}" if "filters" in figures else table


def _filtered(filters: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of filtered pages, relative to the first page of the whole history in the same order."""
    names = list(dict.fromkeys(each["filter"] for each in filters))
    orders = list(dict.fromkeys((each["sort_by"], each["sort_order"]) for each in filters))
    rows = []
    for sort_by, order in orders:
        own = [each for each in filters if (each["sort_by"], each["sort_order"]) == (sort_by, order)]
        trips = max(each["round_trips"] for each in own)
        rows.append((f"`{sort_by}` {order}", *(_ratio(each["ratio"]) for each in own), str(trips)))
    head = ("middle page of a filter", *(f"filter: {name}" for name in names), "dependent round trips")
    return _table(head, rows)


def lists(found: Results) -> str:
    """Return the table of lists of containers, and a sentence on the usual alternatives."""
    figures = found["lists"]["figures"]
    rows = [
        (
            page["page"],
            _ms(page["seconds"]),
            _ratio(page["ratio"]),
            str(page["requests"]),
            f"{page['round_trips']} ({page['round_trips_of_aws']})",
            f"{page['rcu']:g}",
        )
        for page in figures["pages"]
    ]
    few = figures["containers"] // 100
    head = ("", "time", f"relative to {few} containers", "requests", "dependent round trips (in AWS)", "RCU")
    walked = figures["walk"]
    others = (
        f"The last page of a walk by cursor takes **{_ratio(figures['cursor'])}** times as long as its first page"
        f" ({_around(figures['cursor'])}). A client that follows LastEvaluatedKey to page {walked[-1]['page']:,} sends"
        f" {walked[-1]['requests']:,} requests, which take {_ms(walked[-1]['seconds'])}; page 1 takes"
        f" {_ms(walked[0]['seconds'])}."
    )
    if offset := figures["offset"]:
        first, last = offset["pages"].values()
        others += (
            f" With PostgreSQL {offset['version']} and a matching index, OFFSET takes {_ms(first)} for page 1 and"
            f" {_ms(last)} for the last page, and `count(*)` adds {_ms(offset['count_seconds'])} to every page."
        )
    parts = [_table(head, rows), others]
    if shown := figures["console"]:
        parts.append(
            "In the console, in headless Chromium, the table is updated"
            f" {_ms(shown['seconds'])} after input in the name filter, which includes the 300 ms that the console waits"
            f" for more input: **{_ratio(shown['ratio'])}** times as long as with {few} containers."
        )
    return "\n\n".join(parts)


def growth(found: Results) -> str:
    """Return the table of the usual alternatives."""
    figures = found["depth"]["figures"]
    walk, offset = figures["walk"], figures["offset"]
    first = walk["pages"][0]["seconds"]
    rows = [
        (
            "LastEvaluatedKey",
            f"{page['page']:,}",
            f"{page['requests']:,}",
            f"{page['rcu']:,.1f}",
            _ms(page["seconds"]),
            f"{page['seconds'] / first:,.1f}",
        )
        for page in walk["pages"]
    ]
    far = walk["extrapolated"]
    rows.append(
        (
            "LastEvaluatedKey, extrapolated",
            f"{far['page']:,}",
            f"{far['requests']:,}",
            f"{far['rcu']:,.1f}",
            f"{far['seconds']:,.0f} s",
            f"{far['seconds'] / first:,.0f}",
        )
    )
    if offset:
        rows += [
            ("OFFSET", f"{int(page):,}", "1", "", _ms(seconds), f"{offset['growth'][page]:,.1f}")
            for page, seconds in offset["pages"].items()
        ]
    table = _table(("", "page", "requests", "RCU", "time", "relative to page 1"), rows)
    if not offset:
        return table
    return (
        f"{table}\n\nLastEvaluatedKey is measured with {walk['peer']}, OFFSET with PostgreSQL {offset['version']} and a"
        f" matching index. The `count(*)` for `total` adds {_ms(offset['count_seconds'])} to every page."
    )


def units(found: Results) -> str:
    """Return the table of requests and capacity."""
    rows = [
        (
            name,
            f"{case['round_trips']}",
            f"{case['requests']}",
            ", ".join(
                f"{what.split()[1]}{f' ({count})' if count > 1 else ''}"
                for what, count in case["other_requests"].items()
            )
            or "none",
            f"{case['rcu']:g}",
            f"{case['wcu']:g}",
        )
        for name, case in found["costs"]["figures"]["cases"].items()
    ]
    head = ("", "dependent round trips", "DynamoDB requests", "other requests", "RCU", "WCU")
    return _table(head, rows)


def money(found: Results) -> str:
    """Return the table of prices of a million calls."""
    figures = found["costs"]["figures"]
    memory, architecture = figures["memory"], figures["architecture"]
    rows = []
    for name, case in figures["cases"].items():
        cost = prices.price(case, memory, architecture)
        rows.append(
            (
                name,
                _ms(prices.duration(case, memory)),
                *(f"{part:,.2f}" for part in (cost.gateway, cost.functions, cost.database, cost.logs)),
                f"**{cost.total:,.2f}**",
            )
        )
    table = _table(("call", "duration", "API Gateway", "Lambda", "DynamoDB", "logs", "total"), rows)
    return f"{table}\n\n{memory} MB on {architecture}; list prices in {prices.REGION}, {prices.AS_OF}."


def list_prices(found: Results) -> str:
    """Return the table of the database prices of a million pages of a list."""
    listed = found["lists"]["figures"]
    pages = {"by cursor" if "cursor" in page["page"] else "by page number": page["rcu"] for page in listed["pages"]}
    rows = [(name, f"{rcu:g}", f"{1e6 * rcu * prices.READ_UNIT:,.2f}") for name, rcu in pages.items()]
    head = (f"page of {listed['limit']} of {listed['containers']:,} containers", "RCU", "DynamoDB")
    return _table(head, rows)


def base(found: Results) -> str:
    """Return the table of the monthly costs of a stack without requests and containers."""
    figures = found["costs"]["figures"]
    lines = monthly.base(template.load(), figures["memory"], figures["architecture"])
    rows = [(line.item, line.number, f"{line.cost:,.2f}") for line in lines]
    return _text_table(_MONTH, [*rows, ("**total**", "", f"**{sum(line.cost for line in lines):,.2f}**")])


def usage(found: Results) -> str:
    """Return the table of the monthly costs that grow with the use of a stack."""
    lines = monthly.usage(template.load(), found["costs"]["figures"])
    return _text_table(_MONTH, [(line.item, line.number, f"{line.cost:,.2f}") for line in lines])


def options(_: Results) -> str:
    """Return the table of the costs of parameters."""
    rows = [(line.item, line.number, f"{line.cost:,.2f}") for line in monthly.options()]
    return _text_table(("parameter", "for", "US dollars"), rows)


def rates(found: Results) -> str:
    """Return the table of limits and the resulting rates."""
    figures = found["costs"]["figures"]
    rate, burst = figures["throttle"]
    rows = [
        (limit.scope, limit.name, limit.value, limit.rate, limit.source)
        for limit in prices.limits(figures, figures["memory"], (rate, burst))
    ]
    return _text_table(("scope", "limit", "value", "maximum rate", "source"), rows)


TABLES: dict[str, Callable[[Results], str]] = {
    "aims": aims,
    "machine": machine,
    "cold": cold,
    "pieces": pieces,
    "sizes": sizes,
    "warm": warm,
    "depth": depth,
    "lists": lists,
    "growth": growth,
    "units": units,
    "money": money,
    "rates": rates,
    "list-prices": list_prices,
    "base": base,
    "usage": usage,
    "options": options,
}


def write() -> None:
    """Update the pages from the results."""
    for page in PAGES:
        page.write_text(render(page.read_text(encoding="utf-8"), results.load()), encoding="utf-8")


if __name__ == "__main__":
    write()
