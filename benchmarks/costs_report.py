"""The tables of requests, prices and limits in docs/performance.md and docs/cost.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import monthly, prices
from benchmarks.tables import ms, table, text_table
from local import template

_MONTH = ("item", "number", "US dollars per month")

_MEMORIES = (128, 160, 192, 256, 512, 1024)
_BEFORE = 512  # MB that operations had
_SAVED = {
    "items of containers without default values: less than 1 KB": 3 * prices.WRITE_UNIT,
    "claims that change no attribute of the index `by-project`": 1 * prices.WRITE_UNIT,
    "inconsistent reads while an operation waits": 3.5 * prices.READ_UNIT,
}
"""The price of the units of a start that changes have saved, by the change."""
_WAITS = (0, 2, 5, 8, 20)
_START_SECONDS = (1, 3, 30)

Results = Mapping[str, Any]


def units(found: Results) -> str:
    """Return the table of requests and capacity."""
    rows = []
    for name, case in found["costs"]["figures"]["cases"].items():
        rows.append(_units(name, case))
        rows += [_units("the event that completes it", event) for event in case.get("events", [])]
    head = ("", "dependent round trips", "DynamoDB requests", "other requests", "RCU", "WCU")
    return table(head, rows)


def _units(name: str, case: Mapping[str, Any]) -> tuple[str, ...]:
    others = (
        f"{what.split()[1]}{f' ({count})' if count > 1 else ''}" for what, count in case["other_requests"].items()
    )
    trips, requests = f"{case['round_trips']}", f"{case['requests']}"
    return name, trips, requests, ", ".join(others) or "none", f"{case['rcu']:g}", f"{case['wcu']:g}"


def price(case: Mapping[str, Any], architecture: str) -> prices.Price:
    """Return the price of a million calls with the default parameters."""
    return prices.price(case, prices.memory_of(template.load(), case["function"]), architecture)


def money(found: Results) -> str:
    """Return the table of prices of a million calls."""
    figures, stack = found["costs"]["figures"], template.load()
    architecture = figures["architecture"]
    rows = []
    for name, case in figures["cases"].items():
        cost, memory = price(case, architecture), prices.memory_of(stack, case["function"])
        rows.append(
            (
                name,
                f"{memory} MB",
                ms(prices.duration(case, memory)),
                *(f"{part:,.2f}" for part in (cost.gateway, cost.functions, cost.database, cost.logs)),
                f"**{cost.total:,.2f}**",
            )
        )
    shown = table(("call", "memory", "duration", "API Gateway", "Lambda", "DynamoDB", "logs", "total"), rows)
    return f"{shown}\n\nOn {architecture}; list prices in {prices.REGION}, {prices.AS_OF}."


def memories(found: Results) -> str:
    """Return the table of the price and the overhead of a start at different sizes of memory."""
    figures = found["costs"]["figures"]
    start, page = figures["cases"]["start"], figures["cases"]["page of 10 rows"]
    rows = []
    for memory in _MEMORIES:
        totals = [prices.price(start, memory, architecture).total for architecture in prices.LAMBDA_GB_SECOND]
        overhead = [prices.duration(case, memory, 0.0) for case in (start, page)]
        rows.append((f"{memory} MB", *(f"{total:,.2f}" for total in totals), *map(ms, overhead)))
    head = ("memory", *(f"a million starts, {architecture}" for architecture in prices.LAMBDA_GB_SECOND))
    return table((*head, "start without its wait", "page of 10 rows"), rows)


def waits(found: Results) -> str:
    """Return the table of the price of starts, and of their response, for values of `WaitSeconds`."""
    figures = found["costs"]["figures"]
    start, memory = figures["cases"]["start"], prices.memory_of(template.load(), "start")
    rows = []
    for wait in _WAITS:
        costs = [
            prices.price(start, memory, figures["architecture"], min(effect, wait)).total for effect in _START_SECONDS
        ]
        answers = [202 if effect > wait else 200 for effect in _START_SECONDS]
        rows.append((str(wait), *(f"{cost:,.2f} ({answer})" for cost, answer in zip(costs, answers, strict=True))))
    return table(("`WaitSeconds`", *(f"starts of {effect} s" for effect in _START_SECONDS)), rows)


def savings(found: Results) -> str:
    """Return the table of what each change of the defaults has brought."""
    figures = found["costs"]["figures"]
    start, architecture = figures["cases"]["start"], figures["architecture"]
    stack, metrics = template.load(), template.load(parameters={"MetricsEnabled": "true"})
    alarms, dashboard = (line.cost for line in monthly.options(stack, metrics)[:2])
    idle = sum(line.cost for line in monthly.base(stack, architecture))
    starts = [prices.price(start, memory, architecture).total for memory in (_BEFORE, prices.memory_of(stack, "start"))]
    saved = {change: 1e6 * price for change, price in _SAVED.items()}
    before = (f"{idle + alarms + dashboard:,.2f}", f"{starts[0] + sum(saved.values()):,.2f}")
    rows = [
        ("before: all metrics, 512 MB for operations", *before),
        ("a dashboard only with `MetricsEnabled`", f"-{dashboard:,.2f}", ""),
        ("alarms that watch functions behind the API, and tables, only with it", f"-{alarms:,.2f}", ""),
        (f"operations with {prices.memory_of(stack, 'start')} MB", "", f"-{starts[0] - starts[1]:,.2f}"),
        *((change, "", f"-{cost:,.2f}") for change, cost in saved.items()),
        ("**now**", f"**{idle:,.2f}**", f"**{starts[1]:,.2f}**"),
    ]
    return table(("", "an idle month", "a million starts of 3 s"), rows)


def list_prices(found: Results) -> str:
    """Return the table of the database prices of a million pages of a list."""
    listed = found["lists"]["figures"]
    pages = {"by cursor" if "cursor" in page["page"] else "by page number": page["rcu"] for page in listed["pages"]}
    rows = [(name, f"{rcu:g}", f"{1e6 * rcu * prices.READ_UNIT:,.2f}") for name, rcu in pages.items()]
    head = (f"page of {listed['limit']} of {listed['containers']:,} containers", "RCU", "DynamoDB")
    return table(head, rows)


def base(found: Results) -> str:
    """Return the table of the monthly costs of a stack without requests and containers."""
    lines = monthly.base(template.load(), found["costs"]["figures"]["architecture"])
    rows = [(line.item, line.number, f"{line.cost:,.2f}") for line in lines]
    return text_table(_MONTH, [*rows, ("**total**", "", f"**{sum(line.cost for line in lines):,.2f}**")])


def usage(found: Results) -> str:
    """Return the table of the monthly costs that grow with the use of a stack."""
    lines = monthly.usage(template.load(), found["costs"]["figures"])
    return text_table(_MONTH, [(line.item, line.number, f"{line.cost:,.2f}") for line in lines])


def events(found: Results) -> str:
    """Return the table of the costs of a million published status changes."""
    figures = found["costs"]["figures"]
    lines = monthly.events(prices.memory_of(template.load(), "publish_events"), figures["architecture"])
    rows = [(line.item, line.number, f"{line.cost:,.2f}") for line in lines]
    total = ("**total**", "", f"**{sum(line.cost for line in lines):,.2f}**")
    return text_table(("item", "number", "US dollars"), [*rows, total])


def options(_: Results) -> str:
    """Return the table of the costs of parameters."""
    lines = monthly.options(template.load(), template.load(parameters={"MetricsEnabled": "true"}))
    rows = [(line.item, line.number, f"{line.cost:,.2f}") for line in lines]
    return text_table(("parameter", "for", "US dollars"), rows)


def rates(found: Results) -> str:
    """Return the table of limits and the resulting rates."""
    figures = found["costs"]["figures"]
    rate, burst = figures["throttle"]
    rows = [
        (limit.scope, limit.name, limit.value, limit.rate, limit.source)
        for limit in prices.limits(figures, template.load(), (rate, burst))
    ]
    return text_table(("scope", "limit", "value", "maximum rate", "source"), rows)
