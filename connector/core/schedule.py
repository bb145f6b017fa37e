"""Owns the order of the pushes: which table's buffer the next slot of the budget goes to, and why.

Never reads a clock, spends the budget or flushes: a slot is there already when `choose` is asked. Times are seconds on
one monotonic clock. Invariant: what is chosen has rows, and the same candidates at the same time give the same choice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, floor, inf
from typing import TYPE_CHECKING, NamedTuple

from connector.core.flush import Trigger
from connector.core.hours import HOUR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_KEPT = 1 / 2  # the density up to which `choose` keeps every deadline, see `_Promise`
_SCHEDULABLE = 5 / 6  # the density up to which some schedule keeps them: Kawamura, see `feasibility`
_NAMED = 3  # tables in a message; the others are counted


class Candidate(NamedTuple):
    """What a flush of one table would take now.

    `arrivals` is the sum of the arrival times of its rows, `opened_at` the arrival of the oldest, `size` is in bytes;
    `trigger` says why it is eligible, None when rows, bytes and age all let it wait.
    """

    table: str
    rows: int
    arrivals: float
    opened_at: float
    size: int
    trigger: Trigger | None
    weight: float = 1.0
    max_staleness: float | None = None
    replay: bool = False

    def bid(self, now: float) -> float:
        """Return what its turn is worth, in weighted record-seconds."""
        return bid(self.weight, self.rows, self.arrivals, self.opened_at, now)


def bid(weight: float, rows: int, arrivals: float, opened_at: float, now: float) -> float:
    """Return what a push of `rows` is worth at `now`, in weighted record-seconds; 0 where rounding would go below.

    It is the waiting area w·(rows·now - arrivals), times the mean wait over the longest. That ratio is a half where
    rows come evenly; near one, the burst is over, and waiting brings no more rows; near zero, it is just coming.
    """
    area = max(0.0, rows * now - arrivals)
    longest = rows * (now - opened_at)
    return weight * area * min(1.0, area / longest) if longest > 0 else 0.0


class Choice(NamedTuple):
    """Whose turn it is, and the reason."""

    candidate: Candidate
    reason: Trigger


def choose(
    candidates: Collection[Candidate],
    now: float,
    *,
    slot: float,
    service: float,
    pressed: bool,
    replay_allowed: bool,
) -> Choice | None:
    """Return the table that the slot of now goes to, or None when every table may wait.

    The first rule that names a table decides; within a rule, a tie goes to the name that sorts first.

    1. `pressed` (the spool is near its limit): the largest size.
    2. `max_staleness`, when one more slot for others could make a table late: the earliest deadline.
    3. Eligible live tables: the highest bid. With steady rates it makes the waiting areas at the pushes equal, w·λ/r²
       for all, so r ∝ √(w·λ), which minimises the mean weighted wait Σ w·λ/(2·r) / Σ w·λ under Σ r = B.
    4. Eligible replays, when `replay_allowed`: the highest bid.

    `slot` is the seconds between our pushes, `service` those from a flush to DONE, better a high quantile than the
    mean. Deadlines are only safe when candidates with `max_staleness` are given also while they have nothing to flush.
    """
    filled = [c for c in candidates if c.rows]
    if pressed and filled:
        return Choice(min(filled, key=lambda c: (-c.size, c.table)), Trigger.SPOOL)
    if urgent := _urgent(candidates, now, slot, service):
        return Choice(urgent, Trigger.STALENESS)
    eligible = [Choice(c, c.trigger) for c in filled if c.trigger and (replay_allowed or not c.replay)]
    return min(eligible, key=lambda e: (e.candidate.replay, -e.candidate.bid(now), e.candidate.table), default=None)


class _Promise(NamedTuple):
    """When a table with `max_staleness` must be pushed: `slots` from now, at the latest.

    A table that is pushed comes back, so pushing the earliest deadline early is no progress: it only comes back
    earlier, and a crowd with later deadlines waits until it is too late for all of them. Hence a table is pushed for
    its deadline in the second half of its allowance only. Of an allowance of n slots these are the last ⌈n/2⌉, and
    between the starts of two such halves lie at least as many: sporadic unit jobs with deadlines not above their
    periods. Earliest deadline first keeps all of these when Σ 1/⌈n/2⌉ ≤ 1, so when the density Σ 1/n is at most 1/2.
    """

    candidate: Candidate
    slots: float
    half: int
    every: int  # slots between the starts of two halves, at least

    @classmethod
    def of(cls, candidate: Candidate, now: float, slot: float, service: float) -> _Promise:
        allowance = (candidate.max_staleness or 0.0) - service
        opened_at = candidate.opened_at if candidate.rows else now
        whole = max(1, floor(allowance / slot))
        half = ceil(whole / 2)
        return cls(candidate, (opened_at + allowance - now) / slot, half, whole - half + 1)

    @property
    def ripe(self) -> bool:
        """Whether it may be pushed for its deadline."""
        return self.candidate.rows > 0 and self.slots < self.half


def _urgent(candidates: Iterable[Candidate], now: float, slot: float, service: float) -> Candidate | None:
    """Return the table to push for its deadline, or None when this slot can go to others."""
    promised = (c for c in candidates if c.max_staleness is not None and not c.replay)
    promises = sorted(
        (_Promise.of(c, now, slot, service) for c in promised), key=lambda p: (p.slots, p.candidate.table)
    )
    return None if _can_wait(promises) else next((p.candidate for p in promises if p.ripe), None)


def _can_wait(promises: Iterable[_Promise]) -> bool:
    """Return whether all of them, by deadline, can still be kept when the slot of now goes elsewhere.

    Up to each deadline there must be a slot for every table that is due by then, and for every time that it can have
    come back meanwhile.
    """
    pushes = returning = before = 0.0
    for promise in promises:
        pushes += 1 + returning * (promise.slots - before)
        if pushes > promise.slots:
            return False
        returning, before = returning + 1 / promise.every, promise.slots
    return True


class Verdict(StrEnum):
    """Whether deadlines can be kept."""

    KEPT = "kept"  # at a density of up to 1/2, `choose` keeps all
    POSSIBLE = "possible"  # up to 5/6, some schedule would; `choose` may be late at times
    UNSURE = "unsure"  # up to 1, it depends on the numbers
    IMPOSSIBLE = "impossible"  # above 1, no schedule does


_LIMITS = ((_KEPT, Verdict.KEPT), (_SCHEDULABLE, Verdict.POSSIBLE), (1.0, Verdict.UNSURE))
_ROUNDING = 1e-9
_SAYS = {
    Verdict.KEPT: "all can be kept",
    Verdict.POSSIBLE: "most can be kept, at times one is late",
    Verdict.UNSURE: "some may be late again and again",
    Verdict.IMPOSSIBLE: "they cannot all be kept, and tables without max_staleness wait for their turn in vain",
}


@dataclass(frozen=True, slots=True)
class Feasibility:
    """Whether every `max_staleness` can be kept.

    `shares`: the part of all pushes that each table takes at least, the largest first, infinite where max_staleness is
    too short for any. `slot`: seconds between two pushes of the budget; `service`: seconds that a push takes, of which
    `executing` run at the same time.
    """

    shares: tuple[tuple[str, float], ...]
    slot: float
    service: float
    executing: int

    @property
    def seconds(self) -> float:
        """The seconds between two pushes: as the budget gives them, or longer when pushes take longer."""
        return max(self.slot, self.service / self.executing)

    @property
    def density(self) -> float:
        """The part of all pushes that deadlines take, at least."""
        return sum(share for _, share in self.shares)

    @property
    def verdict(self) -> Verdict:
        """What the density says."""
        total = self.density - _ROUNDING
        return next((verdict for limit, verdict in _LIMITS if total <= limit), Verdict.IMPOSSIBLE)

    @property
    def explanation(self) -> str:
        """What an operator can act on."""
        if hopeless := [table for table, share in self.shares if share == inf]:
            return (
                f"max_staleness of {_names(hopeless)} is too short: a push takes {self.service:.0f} s and one "
                f"begins every {self.seconds:.0f} s. What helps: {ceil(self.service + self.seconds)} s or more"
            )
        said = f"max_staleness (tables that have one: {len(self.shares)}) takes {self.density:.0%} of all pushes: "
        said += _SAYS[self.verdict]
        return said if self.verdict is Verdict.KEPT else f"{said}. {self._help()}"

    def _help(self) -> str:
        times = self.density / _KEPT
        if self.slot >= self.seconds:
            faster = f"a budget of {ceil(HOUR / self.slot * times)} pushes an hour, not {HOUR / self.slot:.0f}"
        else:
            faster = f"pushes {times:.1f} times as fast, or as many more at a time"
        return (
            f"Up to {_KEPT:.0%} all are kept; most goes to {_names([f'{t} ({s:.0%})' for t, s in self.shares])}. "
            f"What helps: fewer tables with max_staleness, values about {times:.1f} times as large, or {faster}"
        )


def feasibility(max_staleness: Mapping[str, float], *, slot: float, service: float, executing: int = 1) -> Feasibility:
    """Judge the `max_staleness` (seconds, by table) of all tables by the density of the pinwheel problem.

    A table must get one of every n pushes in a row, n = ⌊(max_staleness - service) / seconds between pushes⌋; the
    density is Σ 1/n. Above 1 no schedule exists, up to 5/6 one always does (A. Kawamura, "Proof of the Density
    Threshold Conjecture for Pinwheel Scheduling", STOC 2024).
    """
    found = Feasibility((), slot, service, executing)
    periods = {table: floor((most - service) / found.seconds) for table, most in max_staleness.items()}
    shares = {table: 1 / n if n > 0 else inf for table, n in periods.items()}
    return replace(found, shares=tuple(sorted(shares.items(), key=lambda s: (-s[1], s[0]))))


def _names(names: Sequence[str]) -> str:
    """Return the first few, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
