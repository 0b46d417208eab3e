"""The tables of requests, prices and limits in docs/performance.md and docs/cost.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import monthly, prices
from benchmarks.tables import ms, table, text_table
from local import template

_MONTH = ("item", "number", "US dollars per month")

Results = Mapping[str, Any]


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
    return table(head, rows)


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
                ms(prices.duration(case, memory)),
                *(f"{part:,.2f}" for part in (cost.gateway, cost.functions, cost.database, cost.logs)),
                f"**{cost.total:,.2f}**",
            )
        )
    shown = table(("call", "duration", "API Gateway", "Lambda", "DynamoDB", "logs", "total"), rows)
    return f"{shown}\n\n{memory} MB on {architecture}; list prices in {prices.REGION}, {prices.AS_OF}."


def list_prices(found: Results) -> str:
    """Return the table of the database prices of a million pages of a list."""
    listed = found["lists"]["figures"]
    pages = {"by cursor" if "cursor" in page["page"] else "by page number": page["rcu"] for page in listed["pages"]}
    rows = [(name, f"{rcu:g}", f"{1e6 * rcu * prices.READ_UNIT:,.2f}") for name, rcu in pages.items()]
    head = (f"page of {listed['limit']} of {listed['containers']:,} containers", "RCU", "DynamoDB")
    return table(head, rows)


def base(found: Results) -> str:
    """Return the table of the monthly costs of a stack without requests and containers."""
    figures = found["costs"]["figures"]
    lines = monthly.base(template.load(), figures["memory"], figures["architecture"])
    rows = [(line.item, line.number, f"{line.cost:,.2f}") for line in lines]
    return text_table(_MONTH, [*rows, ("**total**", "", f"**{sum(line.cost for line in lines):,.2f}**")])


def usage(found: Results) -> str:
    """Return the table of the monthly costs that grow with the use of a stack."""
    lines = monthly.usage(template.load(), found["costs"]["figures"])
    return text_table(_MONTH, [(line.item, line.number, f"{line.cost:,.2f}") for line in lines])


def events(found: Results) -> str:
    """Return the table of the costs of a million published status changes."""
    figures = found["costs"]["figures"]
    lines = monthly.events(figures["memory"], figures["architecture"])
    rows = [(line.item, line.number, f"{line.cost:,.2f}") for line in lines]
    total = ("**total**", "", f"**{sum(line.cost for line in lines):,.2f}**")
    return text_table(("item", "number", "US dollars"), [*rows, total])


def options(_: Results) -> str:
    """Return the table of the costs of parameters."""
    rows = [(line.item, line.number, f"{line.cost:,.2f}") for line in monthly.options()]
    return text_table(("parameter", "for", "US dollars"), rows)


def rates(found: Results) -> str:
    """Return the table of limits and the resulting rates."""
    figures = found["costs"]["figures"]
    rate, burst = figures["throttle"]
    rows = [
        (limit.scope, limit.name, limit.value, limit.rate, limit.source)
        for limit in prices.limits(figures, figures["memory"], (rate, burst))
    ]
    return text_table(("scope", "limit", "value", "maximum rate", "source"), rows)
