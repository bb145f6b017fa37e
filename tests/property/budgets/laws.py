"""Owns what must hold in every world of the budget: each law gives back what breaks it, in words.

Never changes a world. Invariant: judged by the true time, the replicas' own clocks, and entries as all read them.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from connector.core.budget import GUARD, valid_for
from connector.core.entries import Kind
from connector.core.hours import HOUR, hour_of, next_hour
from connector.core.ledger import LEASE, Ledger
from tests.property.budgets.nature import Foreign, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from connector.core.entries import Entry, Stamped
    from tests.property.budgets.world import World

_ROUNDING = 1e-3  # the broker's clock tells milliseconds


def broken(world: World) -> list[str]:
    """Return what breaks a law in `world`."""
    return [f"{law.__name__}: {found}" for law in LAWS for found in law(world)]


def no_hour_has_more_executes_than_its_limit(world: World) -> Iterator[str]:
    hours = Counter(hour_of(e.at) for e in world.executed)
    yield from (f"{n} of {world.nature.limit}" for n in hours.values() if n > world.nature.limit)


def no_push_is_executed_before_time_has_earned_it(world: World) -> Iterator[str]:
    """At any moment of an hour: the fastest clock says how much of it has passed."""
    so_far = Counter[int]()
    for e in world.executed:
        so_far[hour_of(e.at)] += 1
        earned = world.nature.limit * (e.at % HOUR + world.nature.skew) / HOUR
        if so_far[hour_of(e.at)] > earned + _ROUNDING:
            yield f"{so_far[hour_of(e.at)]} of {earned:.1f} after {e.at % HOUR:.0f} s"


def no_group_takes_the_pushes_of_another(world: World) -> Iterator[str]:
    """Paced groups keep apart; over a ledger the highest bid takes what all of them earned together."""
    hours = Counter((e.group, hour_of(e.at)) for e in world.executed if world.nature.mode is Mode.PACED)
    yield from (f"{n} of group {group}" for (group, _), n in hours.items() if n > world.nature.rates[group])


def nothing_is_sent_just_before_the_hour_turns(world: World) -> Iterator[str]:
    for e in world.executed:
        if next_hour(e.sent) - e.sent < GUARD - _ROUNDING:
            yield f"{next_hour(e.sent) - e.sent:.2f} s before"


def nothing_arrives_in_the_next_hour(world: World) -> Iterator[str]:
    for e in world.executed:
        if hour_of(e.at - 1.0) != hour_of(e.at):
            yield f"{e.at % 3600:.2f} s after the turn"


def no_grant_is_valid_for_longer_than_seconds(world: World) -> Iterator[str]:
    most = valid_for(world.time.clock) + _ROUNDING
    for replica in world.replicas:
        yield from (f"{until - seen:.2f} s" for seen, until in replica.deadlines if until - seen > most)


def the_reserve_is_left_to_others(world: World) -> Iterator[str]:
    if world.nature.foreign is Foreign.MODEST and (world.foreign_refused or any(e.refused for e in world.executed)):
        yield f"{world.foreign_refused} of another client were refused"


def replays_keep_to_their_share(world: World) -> Iterator[str]:
    hours = Counter(hour_of(e.at) for e in world.executed if e.replay)
    most = world.nature.replay_share * world.nature.limit
    yield from (f"{n} of {most}" for n in hours.values() if n > most)


def the_ledger_grants_in_order(world: World) -> Iterator[str]:
    """No replay before a live claim that could go, the highest bid first, no more in flight than the pool may have."""
    for ledger, claims, granted in _grants(world):
        if len(ledger.in_flight(granted.pool)) > granted.in_flight:
            yield f"{len(ledger.in_flight(granted.pool))} in flight of {granted.in_flight}"
        for other in claims:
            crowded = other.pool == granted.pool
            if (not other.replay, other.bid) > (not granted.replay, granted.bid) and not (other.replay or crowded):
                busy = len(ledger.in_flight(other.pool)) >= other.in_flight
                yield from [] if busy else [f"{granted.bid} before {other.bid}"]
            elif crowded and (not other.replay, other.bid) > (not granted.replay, granted.bid) and not other.replay:
                yield f"{granted.bid} before {other.bid} of the same pool"


def everybody_reads_the_same(world: World) -> Iterator[str]:
    """Whoever begins to read in the first quarter knows after a turn of the hour what all others know."""
    entries = world.log.stamped
    if not entries or any(s.entry.kind is Kind.CLOSED for s in entries):
        return
    first, late = Ledger(world.time.clock), Ledger(world.time.clock)
    start, turned = len(entries) // 8, 0
    for stamped in entries:
        first.apply(stamped)
        if stamped.offset >= start:
            before = hour_of(late.now)
            late.apply(stamped)
            turned += hour_of(late.now) != before
        if turned > 1 and state(first) != state(late):
            yield f"offset {stamped.offset}"


def state(ledger: Ledger) -> tuple[object, ...]:
    """Return what all readers must agree on."""
    return ledger.now, ledger.earned, ledger.spent, ledger.replays, ledger.grants, ledger.claims, ledger.spenders


def _grants(world: World) -> Iterator[tuple[Ledger, list[Entry], Entry]]:
    """Yield the ledger after each grant, the claims of the living that were left waiting, and what was granted."""
    ledger = Ledger(world.time.clock)
    seen: dict[str, float] = {}
    for stamped in world.log.stamped:
        before = set(ledger.grants)
        hour = hour_of(ledger.now)
        ledger.apply(stamped)
        seen = _seen(seen, ledger, stamped, anew=hour_of(ledger.now) != hour)
        for key in set(ledger.grants) - before:
            waiting = [c for c in ledger.claims.values() if ledger.now - seen.get(c.replica, 0.0) < LEASE]
            yield ledger, waiting, ledger.grants[key].claim


def _seen(seen: dict[str, float], ledger: Ledger, stamped: Stamped, *, anew: bool) -> dict[str, float]:
    return ({} if anew else seen) | {stamped.entry.replica: ledger.now}


LAWS: Iterable[Callable[[World], Iterator[str]]] = (
    no_hour_has_more_executes_than_its_limit,
    no_push_is_executed_before_time_has_earned_it,
    no_group_takes_the_pushes_of_another,
    nothing_is_sent_just_before_the_hour_turns,
    nothing_arrives_in_the_next_hour,
    no_grant_is_valid_for_longer_than_seconds,
    the_reserve_is_left_to_others,
    replays_keep_to_their_share,
    the_ledger_grants_in_order,
    everybody_reads_the_same,
)
