"""Owns what the budget ledger means: a deterministic function of its entries, the same for everyone who reads them.

Never reads a clock: the time is the broker's, as it stands on the entries. Invariant: whoever has read a turn of the
hour, and the refusals of REMEMBERED_HOURS before, holds the same state; no hour has more grants than its writers
brought in, 250 at most.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from connector.core.budget import GUARD, SPACING, TEAM_LIMIT, relaxed
from connector.core.entries import Kind
from connector.core.hours import HOUR, hour_of, next_hour

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from connector.core.entries import Entry, Stamped
    from connector.core.hours import TeamClock

LEASE = 60.0  # seconds of the team's time after its last entry in which a writer counts as alive
REMEMBERED_HOURS = 4  # in which a refusal's lesson counts; a reader begins before them
_EPSILON = 1e-9


class Key(NamedTuple):
    """Whose claim: two replicas may claim the same job one after the other, and neither uses the other's grant."""

    replica: str
    id: str


class Granted(NamedTuple):
    """A grant: when it was made, by the broker's clock (`at`, true seconds since the epoch), and to which claim."""

    at: float
    claim: Entry


class Spender(NamedTuple):
    """Who spent pushes."""

    group: str
    replica: str
    table: str


@dataclass(slots=True)
class _Writer:
    """A replica, as its last entry tells; `seen` in the team's time."""

    entry: Entry
    seen: float


@dataclass(slots=True)
class Ledger:
    """What is known after the entries so far; the team's time is in seconds since the epoch."""

    clock: TeamClock
    now: float = 0.0
    earned: float = 0.0
    spent: int = 0
    replays: int = 0
    closed_until: float = 0.0
    claims: dict[Key, Entry] = field(default_factory=dict)
    grants: dict[Key, Granted] = field(default_factory=dict)
    spenders: Counter[Spender] = field(default_factory=Counter)
    _writers: dict[str, _Writer] = field(default_factory=dict)
    _last: float = -math.inf
    _learnt: dict[int, float] = field(default_factory=dict)  # hour → what to spend in it, after a refusal

    # --- entries ----------------------------------------------------------------------------------------------

    def apply(self, stamped: Stamped) -> None:
        """Take in the next entry."""
        self._pass_to(max(self.now, self.clock.of(stamped.at)))
        entry = stamped.entry
        self._writers[entry.replica] = _Writer(entry, self.now)
        match entry.kind:
            case Kind.CLAIM if _key(entry) not in self.grants:
                self.claims[_key(entry)] = entry
            case Kind.END:
                self._end(entry)
            case Kind.CLOSED:
                self._close(entry)
            case _:
                pass
        self._admit(stamped.at)

    def _pass_to(self, now: float) -> None:
        """Let time pass: what the writers bring in is earned, and when the hour turns all begins anew."""
        if hour_of(now) != hour_of(self.now):
            self.earned, self.spent, self.replays = 0.0, 0, 0
            for of_the_hour in (self.claims, self.grants, self.spenders, self._writers):
                of_the_hour.clear()
        else:
            self.earned += self._income(self.now, now)
        self.now = now

    def _income(self, since: float, until: float) -> float:
        """Return what is earned between two times of one hour."""
        groups: dict[str, list[_Writer]] = {}
        for writer in self._writers.values():
            if writer.seen + LEASE > since:
                groups.setdefault(writer.entry.group, []).append(writer)
        pushes = 0.0
        for writers in groups.values():
            present = sum(w.entry.share * max(0.0, min(until, w.seen + LEASE) - since) for w in writers)
            pushes += min(w.entry.rate for w in writers) * min(until - since, present)
        return min(pushes, self.limit * (until - since)) / HOUR

    def _end(self, entry: Entry) -> None:
        self.claims.pop(_key(entry), None)
        granted = self.grants.pop(_key(entry), None)
        if granted and not entry.spent:
            self.spent -= 1
            self.replays -= granted.claim.replay
            self.spenders[_spender(granted.claim)] -= 1

    def _close(self, entry: Entry) -> None:
        hour = hour_of(self.now)
        if entry.limit:
            self._learnt[hour + 1] = min(entry.limit, self._learnt.get(hour + 1, TEAM_LIMIT))
            self._learnt = {h: n for h, n in self._learnt.items() if h > hour - REMEMBERED_HOURS}
        remembered = (hour + REMEMBERED_HOURS) * HOUR
        self.closed_until = max(self.closed_until, min(entry.until, remembered))

    # --- grants -----------------------------------------------------------------------------------------------

    def _admit(self, at: float) -> None:
        if self.opens_at() <= self.now and (claim := self.best()):  # the next one is SPACING later
            del self.claims[_key(claim)]
            self.grants[_key(claim)] = Granted(at, claim)
            self.spenders[_spender(claim)] += 1
            self.spent += 1
            self.replays += claim.replay
            self._last = self.now

    def opens_at(self) -> float:
        """Return when the next grant can be made if somebody asks for it, of the team's time."""
        turn = next_hour(self.now)
        missing = self.spent + 1 - self.earned
        rate = self._income(self.now, self.now + 1.0)
        earned = self.now if missing <= _EPSILON else self.now + missing / rate if rate > 0 else turn
        opens = max(earned, self.closed_until, self._last + SPACING)
        return opens if opens + GUARD < turn else max(turn, self.closed_until)

    def best(self) -> Entry | None:
        """Return the claim that is next, as far as is known: live ones before replays, then the highest bid."""
        pools = self._in_flight()
        ready = [c for c in self.claims.values() if self._alive(c.replica) and self._may(c)]
        free = [c for c in ready if len(pools.get(c.pool, ())) < c.in_flight]
        return max(free, key=lambda c: (not c.replay, c.bid, c.id, c.replica), default=None)

    def _alive(self, replica: str) -> bool:
        writer = self._writers.get(replica)
        return writer is not None and writer.seen + LEASE >= self.now

    def _may(self, claim: Entry) -> bool:
        return not claim.replay or self.replays + 1 <= claim.replay_share * self.earned + _EPSILON

    def in_flight(self, pool: str) -> set[str]:
        """Return the ids that execute in `pool`, or may do so any moment."""
        return self._in_flight().get(pool, set())

    def _in_flight(self) -> dict[str, set[str]]:
        pools: dict[str, set[str]] = {}
        for writer in self._living():
            pools.setdefault(writer.entry.pool, set()).update(writer.entry.holding)
        for granted in self.grants.values():
            if self._alive(granted.claim.replica):
                pools.setdefault(granted.claim.pool, set()).add(granted.claim.id)
        return pools

    def _living(self) -> Iterator[_Writer]:
        return (w for w in self._writers.values() if w.seen + LEASE >= self.now)

    # --- how it stands ----------------------------------------------------------------------------------------

    @property
    def limit(self) -> float:
        """The pushes that may be spent in this hour, after what refusals taught."""
        ages = ((hour_of(self.now) - hour, n) for hour, n in self._learnt.items())
        learnt = (relaxed(TEAM_LIMIT, n, age) for age, n in ages if 0 <= age < REMEMBERED_HOURS)
        return min(learnt, default=TEAM_LIMIT)

    @property
    def rate(self) -> float:
        """The pushes an hour that the living writers bring in."""
        return self._income(self.now, self.now + 1.0) * HOUR

    @property
    def replicas(self) -> Iterable[Entry]:
        """The last entry of each living writer."""
        return [w.entry for w in self._living()]

    def left(self, at: float) -> int:
        """Return the pushes that can still be spent in the hour of `at`, of the team's time."""
        rest = next_hour(at) - max(at, self.closed_until)
        if rest <= 0:
            return 0
        unspent = max(0.0, self.earned - self.spent) if hour_of(at) == hour_of(self.now) else 0.0
        return int(unspent + self.rate * rest / HOUR + _EPSILON)


def _key(claim: Entry) -> Key:
    return Key(claim.replica, claim.id)


def _spender(claim: Entry) -> Spender:
    return Spender(claim.group, claim.replica, claim.table)
