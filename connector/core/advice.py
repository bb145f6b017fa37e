"""Owns what is to be said of a plan: what cannot be met, what is worth knowing, and what would help.

Never plans itself. Invariant: every finding names its tables or its setting, and what cannot be met comes with what
helps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from connector.core.capacity import Bound
from connector.core.hours import HOUR
from connector.core.schedule import Verdict, feasibility

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from connector.core.capacity import Plan, TablePlan

_TEAM = 250  # pushes an hour, of the whole team
_NAMED = 4  # tables in a line; the others are counted
_MANY_CHUNKS = 8  # in one load, uploaded one after another
_SPARE = 0.8  # of the budget: with less than this in use, more could be asked of it
_WORSE = 1.25  # times the best possible mean: then it is worth a line
_MET = 1.001  # what is late by less than a thousandth is not late


class Finding(NamedTuple):
    """One thing to say. `met`: whether what is configured can be met all the same; `help` may be empty."""

    met: bool
    text: str
    help: str = ""


def findings(plan: Plan) -> Iterator[Finding]:
    """Yield what is to be said of `plan`, what cannot be met first."""
    rules = (_deadlines, _disk, _service, _ages, _held, _spare, _uploads, _idle)
    yield from sorted((finding for rule in rules for finding in rule(plan)), key=lambda f: f.met)


def _deadlines(plan: Plan) -> Iterator[Finding]:
    promised = {t.demand.table: t.demand.max_staleness for t in plan.tables if t.demand.max_staleness is not None}
    if not promised:
        return
    limits = plan.limits
    judged = feasibility(
        promised, slot=HOUR / limits.pushes_per_hour, service=limits.service, executing=limits.in_flight
    )
    if judged.verdict is not Verdict.KEPT:
        text, _, what = judged.explanation.partition(" What helps: ")
        yield Finding(judged.verdict is Verdict.POSSIBLE, text.rstrip("."), what)
    if starved := [t for t in plan.tables if t.demand.rate and not t.pushes]:
        text = f"{_names(starved)}: pushed when the spool is full only, since deadlines take all pushes"
        yield Finding(met=False, text=text, help="what helps the deadlines; or give these a max_staleness, too")


def _disk(plan: Plan) -> Iterator[Finding]:
    have, needed = plan.limits.spool_bytes, plan.spool
    flow = (plan.spool_hour - needed) / HOUR
    if needed > have:
        text = f"spool.bytes ({size(have)}) is less than buffers and loads need ({size(needed)}): consumption pauses"
        yield Finding(False, text, f"raise spool.bytes to {size(needed * 1.25)}, or lower flush.age and flush.bytes")
    elif plan.spool_hour > have:
        text = f"without any push the spool is full after {seconds((have - needed) / flow)}: consumption pauses then"
        yield Finding(
            True, text, f"nothing is lost while Kafka keeps it; a spool of {size(plan.spool_hour)} lasts an hour"
        )


def _service(plan: Plan) -> Iterator[Finding]:
    limits = plan.limits
    if limits.slot > HOUR / limits.pushes_per_hour:
        text = (
            f"a push takes {seconds(limits.service)} with {limits.in_flight} at once: {HOUR / limits.slot:.0f} pushes "
            f"an hour, not {limits.pushes_per_hour}"
        )
        yield Finding(True, text, "ask Celonis if the pool takes more jobs at once: celonis.executes_in_flight")


def _ages(plan: Plan) -> Iterator[Finding]:
    late = [t for t in plan.tables if t.pushes and t.wait > t.demand.policy.age * _MET]
    if not late:
        return
    longest = max(t.wait for t in late)
    wanted = HOUR * sum(t.demand.eligible[0] for t in plan.tables if t.demand.rate)
    more = _more_pushes(wanted)
    text = f"flush.age of {_names(late)} is shorter than the budget allows: they wait up to {seconds(longest)}"
    yield Finding(True, text, f"give those that matter a max_staleness or more weight; {more}")


def _held(plan: Plan) -> Iterator[Finding]:
    held = [t for t in plan.tables if t.bound in (Bound.AGE, Bound.RECORDS, Bound.BYTES)]
    if plan.binding and held and plan.mean > plan.optimum * _WORSE:
        text = f"flush.age, records or bytes let {_names(held)} wait longer than the budget would"
        yield Finding(True, text, f"lower them: all tables together could come to {seconds(plan.optimum)}")


def _more_pushes(wanted: float) -> str:
    if wanted <= _TEAM:
        return f"raise budget.pushes_per_hour to {math.ceil(wanted)}"
    return f"put topics of one kind into one table ({wanted:.0f} pushes an hour are asked for, the team has {_TEAM})"


def _spare(plan: Plan) -> Iterator[Finding]:
    by_age = [t for t in plan.tables if t.bound is Bound.AGE]
    budget = 1 / plan.limits.slot
    if not by_age or plan.pushes > budget * _SPARE:
        return
    spare = budget * _SPARE - plan.pushes + sum(t.pushes for t in by_age)
    age = len(by_age) / spare
    if age < min(t.demand.policy.age for t in by_age):
        text = f"{HOUR * (budget - plan.pushes):.0f} pushes an hour are not needed"
        yield Finding(True, text, f"flush.age may go down to {seconds(age)}")


def _uploads(plan: Plan) -> Iterator[Finding]:
    if many := [t for t in plan.tables if t.chunks > _MANY_CHUNKS]:
        text = f"{_names(many)}: a load has up to {max(t.chunks for t in many)} chunks of spool.chunk_bytes"
        yield Finding(True, text, "raise spool.chunk_bytes (under 1 GB), and see that --service allows for the upload")


def _idle(plan: Plan) -> Iterator[Finding]:
    if idle := [t for t in plan.tables if t.bound is Bound.IDLE]:
        yield Finding(True, f"no messages for {_names(idle)}: planned without", "a longer --window, or --rate")


def _names(tables: Sequence[TablePlan]) -> str:
    names = [t.demand.table for t in tables]
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def seconds(value: float) -> str:
    """Return a duration for people: `8.5 s`, `4 min`, `3.5 h`, `never` when it has no end."""
    if math.isinf(value):
        return "never"
    for unit, length in (("d", 24 * HOUR), ("h", HOUR), ("min", 60.0)):
        if value >= 1.5 * length:
            return f"{_short(value / length)} {unit}"
    return f"{_short(value)} s"


def size(value: float) -> str:
    """Return bytes for people: `640 B`, `12 MiB`, `unbounded` when they have no end."""
    if math.isinf(value):
        return "unbounded"
    for unit, length in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= length:
            return f"{_short(value / length)} {unit}"
    return f"{value:.0f} B"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 10 else f"{value:,.0f}"  # noqa: PLR2004 - digits
