"""Owns how a plan is shown: a table for people, at most 100 columns wide, or a document for programs.

Never decides anything. Invariant: what the numbers rest on is shown with them.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from connector.core.advice import seconds, size
from connector.core.capacity import Bound
from connector.core.hours import HOUR
from connector.planning import PARQUET_RATIO
from connector.text import aligned, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from connector.core.capacity import Plan, TablePlan
    from connector.planning import Assumptions, Outlook

_HEADER = ("table", "rate/s", "weight", "pushes/h", "set by", "mean", "worst", "records", "size", "chunks")
_THOUSAND, _MILLION = 1_000, 1_000_000
_LEGEND = "mean, worst: staleness, from arrival to DONE; records, size, chunks: of one push"


def text(found: Outlook, assumed: Assumptions) -> Iterator[str]:
    """Yield the lines of a plan, and of what is to be said of it."""
    plan = found.plan
    yield from _basis(found, assumed)
    yield ""
    yield from aligned([_HEADER, *(_row(t) for t in plan.tables), *_totals(plan)])
    yield _LEGEND
    yield ""
    yield from _summary(plan)
    for finding in found.findings:
        yield from wrapped("note: " if finding.met else "cannot: ", finding.text)
        if finding.help:
            yield from wrapped("  help: ", finding.help)


def _basis(found: Outlook, assumed: Assumptions) -> Iterator[str]:
    limits = found.plan.limits
    yield (
        f"budget: {limits.pushes_per_hour} pushes an hour, one every {seconds(limits.slot)}; "
        f"a push takes {seconds(limits.service)} (--service)"
    )
    ratio = assumed.parquet_ratio
    shares = f"{ratio:g}" if ratio else ", ".join(f"{r:g} ({name})" for name, r in PARQUET_RATIO.items())
    yield f"size: a row in Parquet takes {shares} of its message (--parquet-ratio)"
    unseen = f"{assumed.record_bytes} B a message where none was seen (--record-bytes)"
    looked = f"{found.measured} topics, measured over {seconds(assumed.window)}" if found.measured else "as given"
    yield f"rates: {looked}; {unseen}"


def _row(table: TablePlan) -> Sequence[str]:
    demand = table.demand
    start = (demand.table, _number(demand.rate), _number(demand.weight))
    if table.bound is Bound.IDLE:
        return (*start, "0", table.bound, *["-"] * 5)
    return (
        *start, _number(table.pushes * HOUR), table.bound,
        seconds(table.mean), seconds(table.worst),
        _number(table.records), size(table.size), _number(table.chunks),
    )  # fmt: skip


def _totals(plan: Plan) -> Iterator[Sequence[str]]:
    """Yield the mean over all tables, and what it would be at fixed intervals."""
    rate, pushes = _number(sum(t.demand.rate for t in plan.tables)), _number(plan.pushes * HOUR)
    worst = max((t.worst for t in plan.tables), default=0.0)
    yield "all, weighted", rate, "", pushes, "", seconds(plan.mean), seconds(worst), "", "", ""
    fixed = seconds(plan.interval + plan.limits.service)
    yield "at fixed intervals", rate, "", pushes, "", seconds(plan.fixed), fixed, "", "", ""


def _summary(plan: Plan) -> Iterator[str]:
    used, fixed = plan.pushes * plan.limits.slot, seconds(plan.fixed)
    yield f"{plan.pushes * HOUR:.0f} pushes an hour, {used:.0%} of what there is"
    yield f"mean staleness: {seconds(plan.mean)}; at fixed intervals: {fixed}; at best: {seconds(plan.optimum)}"
    yield (
        f"spool: {size(plan.spool)} as a rule, {size(plan.spool_hour)} after an hour without a push; "
        f"spool.bytes is {size(plan.limits.spool_bytes)}"
    )
    yield ""


def _number(value: float) -> str:
    if math.isinf(value):
        return "-"
    if value >= _MILLION:
        return f"{value / _MILLION:,.1f}M"
    return f"{value:,.0f}" if value >= _THOUSAND else f"{value:.3g}"


def document(found: Outlook) -> str:
    """Return the plan as JSON; null stands for what has no end."""
    plan, limits = found.plan, found.plan.limits
    body = {
        "slot_seconds": limits.slot,
        "pushes_per_hour": plan.pushes * HOUR,
        "budget_per_hour": HOUR / limits.slot,
        "staleness_seconds": _finite({"mean": plan.mean, "fixed": plan.fixed, "optimum": plan.optimum}),
        "spool_bytes": _finite({"normal": plan.spool, "hour": plan.spool_hour, "limit": limits.spool_bytes}),
        "tables": [_finite(_entry(t)) for t in plan.tables],
        "findings": [{"kind": "note" if f.met else "cannot", "text": f.text, "help": f.help} for f in found.findings],
    }
    return json.dumps(body, indent=2)


def _entry(table: TablePlan) -> dict[str, Any]:
    return {
        "table": table.demand.table,
        "records_per_second": table.demand.rate,
        "record_bytes": table.demand.record_bytes,
        "weight": table.demand.weight,
        "pushes_per_hour": table.pushes * HOUR,
        "set_by": table.bound,
        "mean_seconds": table.mean,
        "worst_seconds": table.worst,
        "records_per_push": table.records,
        "bytes_per_push": table.size,
        "chunks_per_push": table.chunks,
    }


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in values.items()}
