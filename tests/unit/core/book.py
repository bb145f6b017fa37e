"""Owns a ledger that tests write by hand, entry by entry. Never decides. Invariant: times begin at noon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connector.core.entries import Entry, Kind, Stamped
from connector.core.hours import HOUR, TeamClock
from connector.core.ledger import Ledger

NOON = 1_767_225_600.0 + 12 * HOUR
SLOT = 15.0  # seconds between two pushes of 240 an hour


class Book:
    """A ledger that is written by hand; `at` moves on from noon, in seconds of the team's time."""

    def __init__(self, speed: float = 1.0) -> None:
        self.clock = TeamClock(speed)
        self.ledger = Ledger(self.clock)
        self.team = NOON
        self.offset = 0

    def write(self, seconds: float, kind: Kind = Kind.ALIVE, replica: str = "a", **more: Any) -> Ledger:
        """Let an entry of `replica`, which has all partitions of its group, come `seconds` after the last one."""
        self.team += seconds
        me = Entry(kind, "g", replica, "pool", 240.0, 1.0, 8)
        begin = NOON - 12 * HOUR
        at = begin + (self.team - begin) / self.clock.speed
        self.ledger.apply(Stamped(self.offset, at, replace(me, **more)))
        self.offset += 1
        return self.ledger

    def live(self, seconds: float, *replicas: str, every: float = 15.0, **more: Any) -> Ledger:
        """Let `replicas` (a) be alive for so long."""
        for _ in range(round(seconds / every)):
            for number, replica in enumerate(replicas or ("a",)):
                self.write(0.0 if number else every, replica=replica, **more)
        return self.ledger

    def claim(self, seconds: float, claim_id: str, replica: str = "a", **more: Any) -> Ledger:
        return self.write(seconds, Kind.CLAIM, replica, id=claim_id, table="orders", **more)

    def end(self, seconds: float, claim_id: str, replica: str = "a", *, spent: bool = True, **more: Any) -> Ledger:
        return self.write(seconds, Kind.END, replica, id=claim_id, spent=spent, **more)

    @property
    def granted(self) -> list[str]:
        return [key.id for key in self.ledger.grants]


def after(opens_at: float) -> float:
    """Return a time of the team as seconds since noon."""
    return pytest.approx(opens_at - NOON)  # type: ignore[return-value]
