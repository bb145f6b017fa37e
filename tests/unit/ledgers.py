"""Owns replicas for tests of the budget over a ledger, which share a log and are stepped by hand.

Never decides. Invariant: all of them live in one true time, each with its own clock beside it.
"""

from __future__ import annotations

from connector.core.budget import Claim, Grant, Wait
from connector.core.entries import Entry, Kind
from connector.core.hours import TeamClock
from connector.core.ledger import Key
from connector.core.paced import PacedBudget
from connector.ledger import LedgerBudget
from tests.shared_log import NOON, SharedLedger, SharedLog, TrueTime

SLOT = 15.0  # seconds between two pushes of 240 an hour
LAPSE = 67.0  # seconds after which a replica without the ledger goes alone


class Replica:
    """One replica of a group of `of`, whose wall clock is `skew` seconds ahead."""

    def __init__(
        self, team: Team, name: str, *, share: float, skew: float = 0.0, in_flight: int = 8, guest: bool = False
    ) -> None:
        self.team, self.name, self.share, self.skew = team, name, share, skew
        self.ledger = SharedLedger(team.log, lambda: team.latency)
        me = Entry(Kind.ALIVE, name if guest else "g", name, "pool", 240.0, 0.0, in_flight, guest=guest)
        clock = team.time.clock
        self.alone = PacedBudget(240, clock)
        self.budget = LedgerBudget(self.ledger, me, clock, self.alone, low_water=5)

    @property
    def now(self) -> float:
        return self.team.time.mono

    def ask(self, claim_id: str, bid: float = 1.0, *, replay: bool = False) -> Grant | Wait:
        now = self.team.time.now(self.skew)
        return self.budget.acquire(Claim(claim_id, "orders", bid, replay), now)

    def step(self) -> None:
        self.budget.step(self.team.time.now(self.skew), self.share)

    def said(self, kind: Kind) -> list[Entry]:
        return [e for e in self.ledger.sent if e.kind is kind]

    def throttled(self, wait: float | None = None) -> None:
        self.budget.throttled(wait, self.team.time.now(self.skew))


class Team:
    """Replicas that share a log and are stepped ten times a second of the team's time."""

    def __init__(self, *, at: float = NOON, speed: float = 1.0, broker: float = 0.0) -> None:
        self.time = TrueTime(TeamClock(speed), at)
        self.log = SharedLog(self.time, broker)
        self.latency = 0.0  # of an append, in seconds of the team's time
        self.replicas: list[Replica] = []

    def join(
        self, name: str, *, share: float = 1.0, skew: float = 0.0, in_flight: int = 8, guest: bool = False
    ) -> Replica:
        self.replicas.append(Replica(self, name, share=share, skew=skew, in_flight=in_flight, guest=guest))
        return self.replicas[-1]

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.time.team += 0.1
            for replica in self.replicas:
                replica.step()

    def grants(self, replica: Replica, claim_id: str, seconds: float) -> bool:
        """Let time pass until those who read know of a grant for the claim, `seconds` at most; nobody asks for it."""
        for _ in range(round(seconds * 10)):
            self.run(0.1)
            if any(Key(replica.name, claim_id) in r.budget.known.grants for r in self.replicas):
                return True
        return False

    def wants(self, replica: Replica, claim_id: str, seconds: float) -> Grant | None:
        """Let time pass until the claim is granted, `seconds` at most."""
        for _ in range(round(seconds * 10)):
            if isinstance(found := replica.ask(claim_id), Grant):
                return found
            self.run(0.1)
        return None


def granted(found: Grant | Wait | None) -> Grant:
    assert isinstance(found, Grant)
    return found
