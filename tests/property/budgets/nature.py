"""Owns what differs between worlds of the budget: all of it is drawn from a seed.

Never acts. Invariant: the same seed and mode give the same world.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from connector.core.budget import TEAM_LIMIT
from connector.core.hours import HOUR

SKEW = 2.5  # seconds of the team's time that a wall clock is beside the true one, at most


class Mode(StrEnum):
    """Where the budget is kept."""

    PACED = "paced"
    LEDGER = "ledger"


class Foreign(StrEnum):
    """What another client of the team does."""

    NOTHING = "nothing"
    MODEST = "modest"  # it takes what the deployments leave, and no more
    GREEDY = "greedy"  # it takes what it can, so that the platform refuses


@dataclass(frozen=True, slots=True)
class Nature:
    """One kind of world; times in seconds of the team's time, chances by hour where nothing else is said."""

    mode: Mode
    seed: int
    rates: tuple[int, ...] = (250,)  # of each group, in pushes an hour
    replicas: int = 3  # of each group
    in_flight: int = 4
    speed: float = 1.0
    skew: float = SKEW
    hours: float = 1.15
    pause: float = 4.0  # between two steps, at most
    use: float = 15.0  # between a grant and its execute, at most
    service: float = 12.0  # of an execute, at most
    dropped: float = 0.0  # part of the grants that are given back
    replays: float = 0.0  # part of the loads
    crashes: float = 0.0
    stops: float = 0.0
    freezes: float = 0.0
    moves: float = 0.0
    troubles: float = 0.0
    idle: float = 0.0  # seconds of each hour in which nobody has work, from its first one
    foreign: Foreign = Foreign.NOTHING
    one_pool: bool = False  # all groups push into it
    replay_share: float = 0.25

    @property
    def limit(self) -> int:
        """The pushes that all groups together may execute in an hour."""
        return sum(self.rates)

    @property
    def session(self) -> float:
        """Seconds of silence after which Kafka gives the partitions of a replica to others."""
        return 45.0 if self.speed == 1 else 10.0 * self.speed

    @property
    def lapse(self) -> float:
        """Seconds in which nothing moves again, while a replica may go alone (see the laws)."""
        return (60.0 + 7.0 * self.speed) * 1.1 if self.troubles else 0.0


def drawn(mode: Mode, seed: int) -> Nature:
    """Return the nature of the world number `seed`."""
    dice = random.Random(f"{mode}-{seed}")
    rates = dice.choice([(250,), (240,), (120,), (200, 50), (100, 80, 60)])
    most = 6 if len(rates) == 1 else 3
    foreign = dice.choice([Foreign.NOTHING, Foreign.MODEST, Foreign.GREEDY])
    return Nature(
        mode,
        seed,
        rates=rates,
        replicas=dice.randint(1, most),
        in_flight=dice.choice([1, 3, 6]),
        speed=dice.choice([1.0, 1.0, 1.0, 60.0]),
        service=dice.choice([1.0, 4.0, 12.0, 90.0]),
        use=dice.choice([0.0, 0.0, 5.0, 15.0, 40.0]),
        dropped=dice.choice([0.0, 0.1, 0.3]),
        replays=dice.choice([0.0, 0.3, 0.9]),
        crashes=dice.choice([0, 0, 4]),
        stops=dice.choice([0, 0, 4]),
        freezes=dice.choice([0, 0, 6]),
        moves=dice.choice([0, 0, 20]),
        troubles=dice.choice([0, 4, 9]) if mode is Mode.LEDGER else 0,
        idle=dice.choice([0.0, 0.0, HOUR / 2]),
        hours=2.15 if foreign is Foreign.GREEDY else 1.15,
        foreign=foreign if sum(rates) < TEAM_LIMIT or foreign is not Foreign.MODEST else Foreign.NOTHING,
        one_pool=dice.random() < 0.3,
    )
