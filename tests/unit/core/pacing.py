"""Owns a paced budget that tests step by hand. Never decides. Invariant: both clocks go on together but where told."""

from __future__ import annotations

from connector.core.budget import Claim, Grant, Wait
from connector.core.hours import HOUR, Now, TeamClock
from connector.core.paced import PacedBudget

NOON = 1_767_225_600.0 + 12 * HOUR
SLOT = 15.0  # seconds between two pushes of 240 an hour


class Paced:
    """A budget of 240 an hour that is stepped every second of the team's time."""

    def __init__(self, *, share: float = 1.0, at: float = NOON, speed: float = 1.0, replay_share: float = 0.25) -> None:
        self.clock = TeamClock(speed)
        self.budget = PacedBudget(240, self.clock, replay_share=replay_share, low_water=5)
        self.share, self.now = share, Now(100.0, at)
        self.budget.step(self.now, share)

    def run(self, seconds: float) -> Paced:
        """Let whole seconds of the team's time pass, a step each."""
        for _ in range(int(seconds)):
            self.stand(1.0)
        return self

    def stand(self, seconds: float, *, jump: float = 0.0) -> Paced:
        """Let time pass without a step until its end; `jump`: what somebody sets the wall clock forward."""
        mono = self.now.mono + self.clock.seconds(seconds)
        self.now = Now(mono, self.now.utc + seconds + jump)
        self.budget.step(self.now, self.share)
        return self

    def ask(self, claim_id: str, *, replay: bool = False) -> Grant | Wait:
        return self.budget.acquire(Claim(claim_id, "orders", replay=replay), self.now)

    def take(self, count: int, *, replay: bool = False) -> int:
        """Return how many of `count` claims are granted, a second apart; each is spent."""
        granted = 0
        for number in range(count):
            granted += isinstance(self.ask(f"{self.now.mono}-{number}", replay=replay), Grant)
            self.budget.end(f"{self.now.mono}-{number}", spent=True)
            self.run(1)
        return granted


def until(found: Grant | Wait) -> float:
    assert isinstance(found, Wait)
    return found.until


def deadline(found: Grant | Wait) -> float:
    assert isinstance(found, Grant)
    return found.deadline
