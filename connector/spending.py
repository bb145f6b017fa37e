"""Owns the look at this hour's budget from outside: what was spent and by whom, what is left, and the next slot.

Never writes into the ledger and never spends. Invariant: where the ledger is not told by `budget.mode`, only what the
service on this machine knows is shown, and that is said.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from connector.core.hours import HOUR, TeamClock, hour_of, next_hour
from connector.core.ledger import Ledger
from connector.errors import SourceError
from connector.inspection import read_status
from connector.kafka.ledger import KafkaLedger
from connector.kafka.ledger_topic import LedgerTopic
from connector.text import aligned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connector.config import Settings

READ_SECONDS = 20.0  # the longest time that reading the ledger to its end may take
_LOOK_SECONDS = 0.02


def spending(settings: Settings) -> Iterator[str]:
    """Yield the lines that tell how this hour's budget stands.

    Raises:
        ConnectorError: no service answers (paced), or the ledger cannot be read.
    """
    if settings.budget.mode == "ledger":
        yield from _of_ledger(settings)
    else:
        yield from _of_service(settings)


def _of_service(settings: Settings) -> Iterator[str]:
    yield f"mode: paced, at most {settings.budget.pushes_per_hour} pushes an hour for all replicas of the group"
    found = read_status(settings.observe)
    budget = found.get("budget")
    for name, value in budget.items() if isinstance(budget, dict) else ():
        yield f"{name}: {value}"
    yield "this is what the service on this machine knows; budget.mode: ledger shows all replicas"


def _of_ledger(settings: Settings) -> Iterator[str]:
    topic = settings.budget.ledger.topic
    if "does not exist" in LedgerTopic(settings.kafka, settings.budget.ledger).check():
        yield f"mode: ledger, but topic {topic} does not exist yet: a service creates it at its start"
        return
    clock = TeamClock(settings.budget.clock_speed)
    known, now = _read(settings, clock), clock.of(time.time())
    if hour_of(known.now) != hour_of(now):
        known = Ledger(clock)  # nobody has written in this hour
    began = datetime.fromtimestamp(next_hour(now) - HOUR, UTC)
    yield f"mode: ledger, topic {topic}; the hour of {began:%Y-%m-%d %H:%M} UTC"
    yield f"spent {known.spent} ({known.replays} by replays), left {known.left(now)}"
    yield _next_slot(known, now)
    yield ""
    yield from _by_replica(known)
    yield ""
    yield from _by_table(known)


def _read(settings: Settings, clock: TeamClock) -> Ledger:
    """Read the ledger to its end."""
    ledger, known = KafkaLedger(settings.kafka, settings.budget), Ledger(clock)
    deadline = time.monotonic() + READ_SECONDS
    try:
        while True:
            for stamped in ledger.read():
                known.apply(stamped)
            if ledger.trouble is None:
                return known
            if time.monotonic() > deadline:
                raise SourceError(
                    f"cannot read the budget ledger: {ledger.trouble}", hint="see what `kafka-celonis check` says of it"
                )
            time.sleep(_LOOK_SECONDS)
    finally:
        ledger.close()


def _next_slot(known: Ledger, now: float) -> str:
    if not list(known.replicas):
        return "no replica has been heard of in this hour"
    if known.closed_until > now:
        return f"the platform refuses pushes for {known.closed_until - now:.0f} s more"
    return f"next slot in {max(0.0, known.opens_at() - now):.0f} s; {known.rate:.0f} an hour come in"


def _by_replica(known: Ledger) -> Iterator[str]:
    spent: Counter[tuple[str, str]] = Counter()
    for spender, pushes in known.spenders.items():
        spent[spender.group, spender.replica] += pushes
    living = {(e.group, e.replica): e for e in known.replicas}
    rows = [("group", "replica", "part", "executing", "waiting", "pushes")]
    for group, replica in sorted(living.keys() | spent.keys()):
        entry = living.get((group, replica))
        part = f"{entry.share:.0%} of {entry.rate:.0f}" if entry else "not heard of"
        executing = sum(g.claim.replica == replica for g in known.grants.values())
        waiting = sum(c.replica == replica for c in known.claims.values())
        rows.append((group, replica, part, str(executing), str(waiting), str(spent[group, replica])))
    yield from aligned(rows)


def _by_table(known: Ledger) -> Iterator[str]:
    spent: Counter[tuple[str, str]] = Counter()
    for spender, pushes in known.spenders.items():
        spent[spender.table, spender.group] += pushes
    waiting = Counter((claim.table, claim.group) for claim in known.claims.values())
    rows = [("table", "group", "waiting", "pushes")]
    rows += [
        (table, group, str(waiting[table, group]), str(spent[table, group]))
        for table, group in sorted(spent.keys() | waiting.keys(), key=lambda k: (-spent[k], k))
    ]
    yield from aligned(rows)
