"""Writes the figures of `results.json` into docs/performance.md and docs/cost.md (`python -m benchmarks.report`).

Each table is between `<!-- figures: NAME -->` and `<!-- end -->` and is generated. A test checks that it is current.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import costs_report, results
from benchmarks.prices import ROUND_TRIP
from benchmarks.tables import around, ms, ratio, table, text_table

_DOCS = Path(__file__).parent.parent / "docs"
PAGE = _DOCS / "performance.md"
PAGES = (PAGE, _DOCS / "cost.md")

_BLOCK = re.compile(r"(<!-- figures: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Results = Mapping[str, Any]


def render(page: str, found: Results) -> str:
    """Return the page with all tables generated from the results.

    Raises:
        KeyError: The page contains an unknown table.
    """
    return _BLOCK.sub(lambda block: f"{block[1]}{TABLES[block['name']](found)}\n{block[3]}", page)


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
    filtered = found["depth"]["figures"]["filters"]
    here, in_region = (max(each[name]["median"] for each in filtered) for name in ("ratio", "ratio_in_region"))
    trips_of_filter = max(each["round_trips"] for each in filtered)
    rows = [
        (
            "cold start of `status_logs`, relative to boto3 with a client",
            "≤ 1.00",
            ratio(cold["status_logs"]["ratio"]),
            cold["status_logs"]["ratio"]["median"] <= 1,
        ),
        ("cold start of the other functions behind the API", "≤ 1.08", f"up to {slowest:.2f}", slowest <= 1.08),
        (
            "cold start of the authorizer, until a token is verified with a JWKS key",
            "≤ 0.62",
            ratio(cold["authorizer"]["ratio"]),
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
        ("time of a filtered page, relative to page 1", "≤ 1.25", f"up to {here:.2f}", here <= 1.25),
        (
            f"the same, if each request takes {ms(ROUND_TRIP)} longer, as within a region",
            "≤ 1.25",
            f"up to {in_region:.2f}",
            in_region <= 1.25,
        ),
        ("dependent round trips of a filtered page", "≤ 2", f"{trips_of_filter}", trips_of_filter <= 2),
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
    return text_table(head, [(*row, "yes" if met else "**no**") for *row, met in rows])


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
    shown = text_table(
        ("part", "date", "processor", "memory", "system"),
        [(", ".join(names), *key) for key, names in days.items()],
    )
    some = next(iter(found.values()))["machine"]
    versions = f"botocore {some['botocore']}, pydantic {some['pydantic']}, Powertools {some['powertools']}"
    return f"{shown}\n\n{versions}; {some['dynamodb_local']}."


def cold(found: Results) -> str:
    """Return the table of cold starts: the functions, then the peers."""
    figures = found["cold"]["figures"]
    rows = [
        (
            f"`{name}`" if "_" in name or name.islower() else name,
            f"{ms(one['seconds'])}",
            f"**{ratio(one['ratio'])}**",
            around(one["ratio"]),
            ratio(one["ratio_with_interpreter"]),
            ratio(one["ratio_answered"]),
            one["ready"],
        )
        for name, one in figures["targets"].items()
    ]
    shown = table(("", "CPU", "ratio", "quartiles", "with the interpreter", "with the first call", "ready when"), rows)
    return (
        f"{shown}\n\nThe interpreter alone takes {ms(figures['interpreter_seconds'])}, boto3 with a DynamoDB client"
        f" {ms(figures['baseline_seconds'])}. With the layer that SAM builds by default, without bytecode,"
        f" `status_logs` takes **{ratio(figures['plain_layer']['to_ours'])} times** the CPU"
        f" ({around(figures['plain_layer']['to_ours'])}), a ratio of {ratio(figures['plain_layer']['ratio'])}."
    )


def pieces(found: Results) -> str:
    """Return the table of the parts of a cold start."""
    figures = found["cold"]["figures"]
    return table(
        ("", "CPU", "ratio"),
        [(name, ms(one["seconds"]), f"{one['ratio']:.2f}") for name, one in figures["pieces"].items()],
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
    return table(("", "unzipped"), rows)


def _largest(sizes: dict[str, Any]) -> tuple[str, int]:
    """Return the name and the size of the largest function that serves no files."""
    functions: dict[str, int] = sizes["functions"]
    return max(((name, size) for name, size in functions.items() if name != "pages"), key=lambda item: item[1])


def warm(found: Results) -> str:
    """Return the table of warm calls."""
    figures = found["warm"]["figures"]
    rows = [
        ("bare `json.dumps`", ms(figures["bare_seconds"]), "1.00", ""),
        *(
            (
                f"`{name}`" if "_" in name else name,
                ms(one["seconds"]),
                f"**{ratio(one['ratio'])}**",
                around(one["ratio"]),
            )
            for name, one in figures["targets"].items()
        ),
    ]
    return table(("", "CPU per call", "ratio", "quartiles"), rows)


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
                ms(order["pages"][0]["seconds"]),
                *(ratio(page["ratio"]) for page in order["pages"][1:]),
                f"{max(page['after_access'] for page in order['pages'])}",
                " and ".join(units),
            )
        )
    head = ("", "page 1", *(f"page {page:,}" for page in pages[1:]), "requests after the access check", "total RCU")
    shown = table(head, rows)
    return f"{shown}\n\n{_filtered(figures['filters'])}"


def _filtered(filters: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of filtered pages, relative to the first page of the whole history in the same order."""
    names = list(dict.fromkeys(each["filter"] for each in filters))
    orders = list(dict.fromkeys((each["sort_by"], each["sort_order"]) for each in filters))
    rows = []
    for sort_by, order in orders:
        own = [each for each in filters if (each["sort_by"], each["sort_order"]) == (sort_by, order)]
        trips = max(each["round_trips"] for each in own)
        ratios = {each["filter"]: ratio(each["ratio"]) for each in own}
        rows.append((f"`{sort_by}` {order}", *(ratios.get(name, "") for name in names), str(trips)))
    head = ("middle page of a filter", *names, "dependent round trips")
    return table(head, rows)


def lists(found: Results) -> str:
    """Return the table of lists of containers, and a sentence on the usual alternatives."""
    figures = found["lists"]["figures"]
    rows = [
        (
            page["page"],
            ms(page["seconds"]),
            ratio(page["ratio"]),
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
        f"The last page of a walk by cursor takes **{ratio(figures['cursor'])}** times as long as its first page"
        f" ({around(figures['cursor'])}). A client that follows LastEvaluatedKey to page {walked[-1]['page']:,} sends"
        f" {walked[-1]['requests']:,} requests, which take {ms(walked[-1]['seconds'])}; page 1 takes"
        f" {ms(walked[0]['seconds'])}."
    )
    if offset := figures["offset"]:
        first, last = offset["pages"].values()
        others += (
            f" With PostgreSQL {offset['version']} and a matching index, OFFSET takes {ms(first)} for page 1 and"
            f" {ms(last)} for the last page, and `count(*)` adds {ms(offset['count_seconds'])} to every page."
        )
    parts = [table(head, rows), others]
    if shown := figures["console"]:
        parts.append(
            "In the console, in headless Chromium, the table is updated"
            f" {ms(shown['seconds'])} after input in the name filter, which includes the 300 ms that the console waits"
            f" for more input: **{ratio(shown['ratio'])}** times as long as with {few} containers."
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
            ms(page["seconds"]),
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
            ("OFFSET", f"{int(page):,}", "1", "", ms(seconds), f"{offset['growth'][page]:,.1f}")
            for page, seconds in offset["pages"].items()
        ]
    shown = table(("", "page", "requests", "RCU", "time", "relative to page 1"), rows)
    if not offset:
        return shown
    return (
        f"{shown}\n\nLastEvaluatedKey is measured with {walk['peer']}, OFFSET with PostgreSQL {offset['version']} and a"
        f" matching index. The `count(*)` for `total` adds {ms(offset['count_seconds'])} to every page."
    )


def throughput(found: Results) -> str:
    """Return the table of the throughput of starts."""
    figures = found["throughput"]["figures"]
    rows = [
        (
            f"{case['launch']}, {case['offered']:g} requested per second, {case['run_delay']:g} s",
            f"**{case['reached']:.1f}**",
            f"{case['accepted']:.0%}",
            f"{case['errors']}",
            f"{case['run_tasks']:.2f}",
            f"{case['describe_tasks']:.2f}",
            f"{case['dynamodb_reads']:.1f}",
            f"{case['function_seconds']:.1f}",
        )
        for case in figures["cases"]
    ]
    head = ("starts", "running per second", "answered 202", "answered 500", "RunTask", "DescribeTasks", "GetItem", "s")
    return table(head, rows)


TABLES: dict[str, Callable[[Results], str]] = {
    "aims": aims,
    "machine": machine,
    "cold": cold,
    "pieces": pieces,
    "sizes": sizes,
    "warm": warm,
    "depth": depth,
    "lists": lists,
    "throughput": throughput,
    "growth": growth,
    "units": costs_report.units,
    "money": costs_report.money,
    "memories": costs_report.memories,
    "waits": costs_report.waits,
    "savings": costs_report.savings,
    "rates": costs_report.rates,
    "list-prices": costs_report.list_prices,
    "base": costs_report.base,
    "usage": costs_report.usage,
    "events": costs_report.events,
    "options": costs_report.options,
}


def write() -> None:
    """Update the pages from the results."""
    for page in PAGES:
        page.write_text(render(page.read_text(encoding="utf-8"), results.load()), encoding="utf-8")


if __name__ == "__main__":
    write()
