"""Owns a world of the budget: true time, clocks beside it, replicas that come and go, the platform, other clients.

Never judges. Invariant: all chance is drawn from the nature's seed, so a world runs alike every time; what happened is
kept as it was at the true time.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from connector.core.budget import TEAM_LIMIT
from connector.core.entries import Entry, Kind
from connector.core.hours import HOUR, Now, TeamClock, hour_of
from connector.core.paced import PacedBudget
from connector.ledger import LedgerBudget
from tests.property.budgets.nature import Foreign, Mode
from tests.property.budgets.ownership import Ownership
from tests.property.budgets.replica import Ended, Execute, Replica
from tests.shared_log import NOON, SharedLedger, SharedLog, TrueTime

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.ports import Budget
    from tests.property.budgets.nature import Nature

_BEFORE = 300.0  # seconds before the first full hour in which a world begins


class Executed(NamedTuple):
    """An execute, as the platform saw it: `sent` by the replica's own clock, `at` by the true one."""

    at: float
    sent: float
    group: int
    replay: bool
    refused: bool


class World:
    """A world of `nature`; `run` lets it go by."""

    def __init__(self, nature: Nature) -> None:
        self.nature, self.dice = nature, random.Random(f"{nature.mode}-{nature.seed}-world")
        self.time = TrueTime(TeamClock(nature.speed), NOON - _BEFORE)
        self.log = SharedLog(self.time, self._skew())
        self.executed: list[Executed] = []
        self.foreign = Counter[int]()
        self.foreign_refused = 0
        self.replicas: list[Replica] = []
        self.ledgers: dict[int, SharedLedger] = {}
        self._owners = [Ownership(nature.session, self.dice) for _ in nature.rates]
        self._calm_until = [0.0 for _ in nature.rates]
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers, self._names = count(), count()

    def run(self) -> World:
        """Let all hours of the nature pass."""
        for group in range(len(self.nature.rates)):
            for _ in range(self.nature.replicas):
                self._start(group)
        self._at(self.time.team, self._tick)
        self._foresee()
        end = NOON + self.nature.hours * HOUR
        while self._events and self._events[0][0] < end:
            self.time.team, _, happen = heapq.heappop(self._events)
            happen()
        return self

    def _at(self, team: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (team, next(self._numbers), happen))

    # --- what a replica sees and does -------------------------------------------------------------------------

    def now_of(self, replica: Replica) -> Now:
        """Return what the replica's clocks say."""
        return self.time.now(replica.skew)

    def share_of(self, replica: Replica) -> float:
        """Return the replica's part, as it sees it."""
        return self._owners[replica.group].share(replica)

    def has_work(self) -> bool:
        """Return whether new loads come now."""
        return self.time.team % HOUR >= self.nature.idle

    def later(self, seconds: float, execute: Execute) -> None:
        """Let a thread of the replica send an execute in so many seconds."""
        self._at(self.time.team + seconds, lambda: self._send(execute))

    def _send(self, execute: Execute) -> None:
        replica, now = execute.replica, self.now_of(execute.replica)
        if not replica.alive:
            return
        if replica.threads_frozen and self.time.team < replica.frozen_until:
            self._at(replica.frozen_until, lambda: self._send(execute))
        elif now.mono < execute.deadline:
            flight = self.dice.uniform(0, 0.4)
            self._at(self.time.team + flight, lambda: self._execute(execute, now.utc))
        else:
            replica.ended.append(Ended(execute.load, spent=False))

    def _execute(self, execute: Execute, sent: float) -> None:
        """Take or refuse an execute, as the platform does; a refused one counts too."""
        replica, hour = execute.replica, hour_of(self.time.team)
        refused = sum(hour_of(e.at) == hour for e in self.executed[-TEAM_LIMIT:]) + self.foreign[hour] >= TEAM_LIMIT
        self.executed.append(Executed(self.time.team, sent, replica.group, execute.load.replay, refused))
        hint = self.dice.choice([None, HOUR - self.time.team % HOUR + 1.0])
        true_hint = hint if hint is None else self.time.clock.seconds(hint)
        end = Ended(execute.load, True, refused, true_hint)
        service = self.dice.uniform(0.1, 0.5 if refused else self.nature.service)
        self._at(self.time.team + service, lambda: replica.ended.append(end))

    # --- replicas come and go ---------------------------------------------------------------------------------

    def _skew(self) -> float:
        return self.dice.uniform(-1, 1) * self.nature.skew

    def _start(self, group: int) -> None:
        name = f"r{next(self._names)}"
        replica = Replica(self, name, group, self._budget(name, group), self._skew(), self.time.team)
        self.replicas.append(replica)
        self._at(self.time.team + self.dice.uniform(0, 2), lambda: self._step(replica))

    def _budget(self, name: str, group: int) -> Budget:
        nature, clock = self.nature, self.time.clock
        paced = PacedBudget(nature.rates[group], clock, replay_share=nature.replay_share, low_water=5)
        if nature.mode is Mode.PACED:
            return paced
        ledger = SharedLedger(self.log, lambda: self.dice.choice([0.0, 0.02, 0.3]))
        self.ledgers[len(self.replicas)] = ledger
        me = Entry(
            Kind.ALIVE,
            group=f"group-{group}",
            replica=name,
            pool="pool" if nature.one_pool else f"pool-{group}",
            rate=nature.rates[group],
            share=0.0,
            in_flight=nature.in_flight,
            replay_share=nature.replay_share,
        )
        return LedgerBudget(ledger, me, clock, paced, low_water=5)

    def _step(self, replica: Replica) -> None:
        if not replica.alive:
            return
        if self.time.team >= replica.frozen_until:
            replica.step(self.time.team)
            self._owners[replica.group].stepped(replica)
        wait = max(self.dice.uniform(0.2, self.nature.pause), replica.frozen_until - self.time.team)
        self._at(self.time.team + wait, lambda: self._step(replica))

    def _end(self, replica: Replica, *, politely: bool) -> None:
        replica.alive = False
        if politely:
            if isinstance(replica.budget, LedgerBudget):
                replica.budget.leave()
            self._owners[replica.group].left(replica)
        self._at(self.time.team + self.dice.uniform(1, 300), lambda: self._start(replica.group))

    def _tick(self) -> None:
        """Let the groups find their owners."""
        for group, owners in enumerate(self._owners):
            owners.settle(self.time.team)
            members = [r for r in self.replicas if r.group == group and r.alive]
            if owners.silent(members, self.time.team):
                self._rebalance(group, even=True)
        self._at(self.time.team + 1.0, self._tick)

    def _rebalance(self, group: int, *, even: bool) -> None:
        members = [r for r in self.replicas if r.group == group and r.alive]
        present = [r for r in members if self.time.team - r.last_step <= self.nature.session]
        if present and self.time.team >= self._calm_until[group]:
            self._owners[group].rebalance(present, even=even)
            self._calm_until[group] = self.time.team + self.nature.lapse + self.nature.session * bool(self.nature.lapse)

    # --- what happens to them ---------------------------------------------------------------------------------

    def _foresee(self) -> None:
        """Draw what will happen, and when."""
        nature = self.nature
        for often, what in (
            (nature.crashes, lambda: self._end(self._someone(), politely=False)),
            (nature.stops, lambda: self._end(self._someone(), politely=True)),
            (nature.freezes, self._freeze),
            (nature.moves, lambda: self._rebalance(self._someone().group, even=False)),
            (nature.troubles, self._trouble),
        ):
            for _ in range(round(often * nature.hours)):
                self._at(NOON - _BEFORE + self.dice.uniform(60, nature.hours * HOUR), what)
        for hour in range(-1, int(nature.hours)):
            self._foresee_foreign(NOON + hour * HOUR)

    def _someone(self) -> Replica:
        return self.dice.choice([r for r in self.replicas if r.alive] or self.replicas)

    def _freeze(self) -> None:
        replica = self._someone()
        replica.frozen_until = self.time.team + self.dice.choice([8, 40, 90, 400]) * max(1, self.nature.speed / 10)
        replica.threads_frozen = self.dice.random() < 0.5

    def _trouble(self) -> None:
        number = self.dice.choice([*self.ledgers])
        ledger = self.ledgers[number]
        ledger.deaf, ledger.mute = self.dice.choice([(True, True), (True, False), (False, True)])

        def heal() -> None:
            ledger.deaf = ledger.mute = False

        self._at(self.time.team + self.dice.uniform(5, 5 * self.nature.lapse), heal)

    def _foresee_foreign(self, hour: float) -> None:
        """Let the other client take what the deployments leave, or all it can, in one burst or over the hour."""
        pushes = {Foreign.NOTHING: 0, Foreign.MODEST: TEAM_LIMIT - self.nature.limit, Foreign.GREEDY: 200}
        start, length = self.dice.uniform(0, 3000), self.dice.choice([1.0, 500.0])
        for _ in range(pushes[self.nature.foreign]):
            self._at(hour + start + self.dice.uniform(0, length), self._execute_foreign)

    def _execute_foreign(self) -> None:
        hour = hour_of(self.time.team)
        ours = sum(hour_of(e.at) == hour for e in self.executed[-TEAM_LIMIT:])
        self.foreign_refused += ours + self.foreign[hour] >= TEAM_LIMIT
        self.foreign[hour] += 1
