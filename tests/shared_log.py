"""Owns a budget ledger in memory, that several replicas share, and the clocks they read.

Never talks to Kafka. Invariant: entries are stamped when they arrive, by the broker's clock and in the one order they
have; each writer's arrive in the order it sent them, unless they are lost.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from connector.core.entries import Anchor, Stamped
from connector.core.hours import HOUR, Now, TeamClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connector.core.entries import Entry

BEGINNING = 1_767_225_600.0  # 2026-01-01T00:00Z, where all speeds agree
NOON = BEGINNING + 12 * HOUR


@dataclass
class TrueTime:
    """The team's true time, which a test moves on."""

    clock: TeamClock = field(default_factory=TeamClock)
    team: float = NOON

    @property
    def mono(self) -> float:
        """Seconds of everybody's monotonic clock."""
        return self.clock.seconds(self.team - BEGINNING)

    def now(self, skew: float = 0.0) -> Now:
        """Return what a replica reads, whose wall clock is `skew` seconds of the team's time ahead."""
        return Now(self.mono, self.team + skew)

    def stamp(self, team: float) -> float:
        """Return the true seconds since the epoch, to the millisecond, at which the team's time is `team`."""
        return round(BEGINNING + self.clock.seconds(team - BEGINNING), 3)


class SharedLog:
    """The topic: what has arrived, and what is on its way; `skew`: seconds that the broker's clock is ahead."""

    def __init__(self, time: TrueTime, skew: float = 0.0) -> None:
        self.time, self.skew = time, skew
        self.stamped: list[Stamped] = []
        self.senders: list[tuple[SharedLedger | None, float]] = []  # of each: who sent it, and when (monotonic)
        self._numbers = count()
        self._coming: list[tuple[float, int, Entry, SharedLedger | None, float]] = []

    def send(self, entry: Entry, arrival: float, sender: SharedLedger | None = None) -> None:
        """Let an entry arrive at `arrival`, of the team's true time."""
        heapq.heappush(self._coming, (arrival, next(self._numbers), entry, sender, self.time.mono))

    def arrive(self) -> None:
        """Take in what has arrived by now."""
        while self._coming and self._coming[0][0] <= self.time.team:
            arrival, _, entry, sender, sent = heapq.heappop(self._coming)
            at = self.time.stamp(arrival + self.skew)
            self.stamped.append(Stamped(len(self.stamped), at, entry))
            self.senders.append((sender, sent))


class SharedLedger:
    """One replica's port to `log`. `deaf` reads nothing, `mute` loses what it sends; both are trouble."""

    def __init__(self, log: SharedLog, latency: Callable[[], float] = lambda: 0.0) -> None:
        self._log, self._latency = log, latency
        self._position = 0
        self._arrival = 0.0  # of our last entry
        self._lost = -1.0  # when the last one that was lost was sent, in monotonic seconds
        self.deaf = self.mute = self.closed = self._anew = False
        self.anchor: Anchor | None = None
        self.generation = 1
        self.sent: list[Entry] = []

    @property
    def trouble(self) -> str | None:
        if self.deaf:
            return "the brokers are away"
        healed = self.anchor is not None and self.anchor.sent > self._lost
        return None if healed or self._lost < 0 else "an entry was not taken"

    def append(self, entry: Entry) -> None:
        self.sent.append(entry)
        if self.mute:
            self._lost = self._log.time.mono
        else:
            self._arrival = max(self._arrival, self._log.time.team + self._latency())
            self._log.send(entry, self._arrival, self)

    def read(self) -> list[Stamped]:
        if self._anew:
            self._anew, self._position, self.anchor = False, 0, None
            self.generation += 1
        return [] if self.deaf else list(self._take())

    def _take(self) -> Iterator[Stamped]:
        self._log.arrive()
        for stamped in self._log.stamped[self._position :]:
            sender, sent = self._log.senders[stamped.offset]
            if sender is self:
                self.anchor = Anchor(sent, stamped.at)
            self._position = stamped.offset + 1
            yield stamped

    def begin_anew(self) -> None:
        """Read all again from the next look on, as of a ledger that was made anew, or lost records."""
        self._anew = True

    def close(self) -> None:
        self.closed = True
