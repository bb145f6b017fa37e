"""Owns one life of a replica in a world of the budget: it claims, is granted, executes later or not at all, and tells.

Never knows the true time. Invariant: like the pipeline it never asks for a claim whose execute is on its way, and like
the pusher it executes before the deadline or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from connector.core.budget import Claim, Grant

if TYPE_CHECKING:
    import random

    from connector.core.hours import Now
    from connector.ports import Budget
    from tests.property.budgets.nature import Nature

_LOADS = 3  # more than may execute wait, so that bids compete
_REPLAYS = 2  # at most wait, so that they do not crowd out live loads


class Stage(Protocol):
    """What a replica does to the world."""

    nature: Nature
    dice: random.Random

    def now_of(self, replica: Replica) -> Now:
        """Return what the replica's clocks say."""
        ...

    def share_of(self, replica: Replica) -> float:
        """Return the replica's part, as it sees it."""
        ...

    def has_work(self) -> bool:
        """Return whether new loads come now."""
        ...

    def later(self, seconds: float, execute: Execute) -> None:
        """Let a thread of the replica send an execute in so many seconds."""
        ...


@dataclass(slots=True, eq=False)
class Load:
    """What wants a push. `use_at`: when its grant is to be used (monotonic seconds)."""

    id: str
    replay: bool
    weight: float
    since: float
    use_at: float | None = None
    applying: bool = False


@dataclass(slots=True)
class Execute:
    """An execute on its way through a thread of `replica`."""

    replica: Replica
    load: Load
    deadline: float


class Ended(NamedTuple):
    """What a thread says of its execute; `hint`: seconds that the platform refuses, where it said so."""

    load: Load
    spent: bool
    refused: bool = False
    hint: float | None = None


@dataclass(slots=True, eq=False)
class Replica:
    """One process, from its start to its end."""

    world: Stage
    name: str
    group: int
    budget: Budget
    skew: float
    last_step: float
    alive: bool = True
    frozen_until: float = 0.0
    threads_frozen: bool = False
    made: int = 0
    loads: list[Load] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    deadlines: list[tuple[float, float]] = field(default_factory=list)  # of new grants: when seen, and their deadline

    def step(self, true: float) -> None:
        """Go once around, as the pipeline does."""
        now = self.world.now_of(self)
        self.last_step = true
        self.budget.step(now, self.world.share_of(self))
        for load, spent, refused, hint in self.ended:
            self.budget.end(load.id, spent=spent)
            if refused:
                self.budget.throttled(hint, now)
            elif spent:
                self.loads.remove(load)
            load.applying, load.use_at = False, None
        self.ended.clear()
        self._seal(now)
        self._move(now)

    def _seal(self, now: Now) -> None:
        nature, dice = self.world.nature, self.world.dice
        while self.world.has_work() and len(self.loads) < nature.in_flight + _LOADS:
            self.made += 1
            replay = dice.random() < nature.replays and sum(load.replay for load in self.loads) < _REPLAYS
            self.loads.append(Load(f"{self.name}-{self.made}", replay, dice.random(), now.mono))

    def _move(self, now: Now) -> None:
        free = self.world.nature.in_flight - sum(load.applying for load in self.loads)
        waiting = [load for load in self.loads if not load.applying]
        waiting.sort(key=lambda load: (load.use_at is None, -self._bid(load, now)))
        for load in waiting[: max(0, free)]:
            claim = Claim(load.id, f"table-{load.id[-1]}", self._bid(load, now), load.replay)
            found = self.budget.acquire(claim, now)
            if isinstance(found, Grant):
                self._use(load, found, now)
            else:
                load.use_at = None

    def _bid(self, load: Load, now: Now) -> float:
        return load.weight * (1 + now.mono - load.since)

    def _use(self, load: Load, grant: Grant, now: Now) -> None:
        nature, dice = self.world.nature, self.world.dice
        if load.use_at is None:
            self.deadlines.append((now.mono, grant.deadline))
            load.use_at = now.mono + dice.uniform(0, nature.use) / nature.speed
            if dice.random() < nature.dropped:
                self.budget.end(load.id, spent=False)
                self.loads.remove(load)
                return
        if now.mono >= load.use_at:
            load.applying = True
            self.world.later(dice.choice([0.0, 0.1, 2.0, dice.uniform(0, 10)]), Execute(self, load, grant.deadline))
