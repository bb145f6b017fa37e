"""Owns the budget that replicas share over the ledger: what we claim, what we were granted, and when to go it alone.

Never talks to Kafka except through its port, and never decides who is granted: every replica computes that alike from
the entries. Invariant: while the ledger cannot be trusted nothing is spent, until our part of it has surely run out
there; then we earn that part by ourselves, and the others the rest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import structlog

from connector.core.budget import GUARD, LONG_REFUSAL, VALID, Grant, Wait, after_refusal, is_low
from connector.core.entries import Kind
from connector.core.hours import HOUR, hour_of, next_hour
from connector.core.ledger import LEASE, Ledger

if TYPE_CHECKING:
    from connector.core.budget import Claim
    from connector.core.entries import Entry
    from connector.core.hours import Now, TeamClock
    from connector.core.ledger import Granted
    from connector.core.paced import PacedBudget
    from connector.ports import Ledger as LedgerLog

log = structlog.get_logger()

ALIVE = 15.0  # seconds of the team's time between two signs of life
RESEND = 5.0  # seconds of the team's time, after which what is not in the ledger is sent again
LATE_APPEND = 6.0  # seconds in which an entry of ours may still be appended after we sent it
BID_GROWTH = 1.25  # a claim that bids this much more is renewed
OTHERS_FIRST = 2.0  # seconds of the team's time that the next in turn has to ask, before we do
_NUDGE = 0.2  # seconds of the team's time between two entries that only let time pass
_ASK_AGAIN = 0.1  # seconds until an answer may be read


class _Claimed(NamedTuple):
    claim: Claim
    sent: float


class LedgerBudget:
    """The budget of one replica over `ledger`.

    `me` says who we are, and is sent with each entry; `alone` is the budget for when the ledger cannot be trusted.
    """

    def __init__(self, ledger: LedgerLog, me: Entry, clock: TeamClock, alone: PacedBudget, *, low_water: int) -> None:
        self._ledger, self._me, self._clock, self._alone = ledger, me, clock, alone
        self._low_water = low_water
        self._known = Ledger(clock)
        self._generation = ledger.generation
        self._claimed: dict[str, _Claimed] = {}
        self._holding: dict[str, Grant] = {}
        self._ending: dict[str, tuple[bool, float]] = {}  # id → spent, and when that was sent; until it is read back
        self._alone_ids: set[str] = set()
        self._sent = -float("inf")
        self._sent_hour = 0
        self._apart_since: float | None = None
        self._now = -float("inf")
        self.trouble: str | None = "reading the ledger"

    # --- time passes ------------------------------------------------------------------------------------------

    def step(self, now: Now, share: float) -> None:
        """Read what has come, tell that we are alive, and let time pass."""
        self._now = now.mono
        if self._ledger.generation != self._generation:
            self._generation, self._known = self._ledger.generation, Ledger(self._clock)
        for stamped in self._ledger.read():
            self._known.apply(stamped)
        self._judge(now)
        self._alone.step(now, share if self.alone(now) else 0.0)
        self._me = replace(self._me, share=0.0 if self._ledger.trouble else share)
        for claim_id, (spent, sent) in list(self._ending.items()):
            self._see_to_end(claim_id, sent, spent=spent, now=now)
        if self._due(now):
            self._send(Kind.ALIVE, now)

    def _judge(self, now: Now) -> None:
        trouble = self._ledger.trouble or (None if self._ledger.anchor else "nothing of ours was read back yet")
        if trouble and self._apart_since is None:
            self._apart_since = now.mono
            log.warning("waiting for the budget ledger", reason=trouble)
        elif self._apart_since is not None and not trouble:
            log.info("joined the budget ledger", left=self._known.left(now.utc))
            self._apart_since = None
        elif trouble and trouble != self.trouble and self.alone(now):
            log.warning("pacing without the budget ledger", reason=trouble)
        self.trouble = trouble

    def alone(self, now: Now) -> bool:
        """Return whether we go it alone: our part of the ledger's income has run out there by now."""
        lapse = self._clock.seconds(LEASE) + LATE_APPEND
        return self._apart_since is not None and now.mono - self._apart_since > lapse

    def _see_to_end(self, claim_id: str, sent: float, *, spent: bool, now: Now) -> None:
        if claim_id not in self._known.grants and claim_id not in self._known.claims:
            del self._ending[claim_id]
        elif now.mono - sent > self._clock.seconds(RESEND) + _ASK_AGAIN:
            self._tell_end(claim_id, spent=spent, now_mono=now.mono)

    def _due(self, now: Now) -> bool:
        since = now.mono - self._sent
        if since >= self._clock.seconds(ALIVE) or hour_of(now.utc) != self._sent_hour:
            return since >= self._clock.seconds(_NUDGE)
        if self.trouble or not self._claimed or since < self._clock.seconds(_NUDGE):
            return False
        late = now.utc - self._known.opens_at()
        return late >= 0 and (late >= OTHERS_FIRST or self._known.first(self._me.replica))

    def _send(self, kind: Kind, now: Now, **more: object) -> None:
        self._append(kind, now.mono, **more)
        self._sent_hour = hour_of(now.utc)

    def _append(self, kind: Kind, mono: float, **more: object) -> None:
        self._ledger.append(replace(self._me, kind=kind, holding=tuple(sorted(self._holding)), **more))  # type: ignore[arg-type]
        self._sent = mono

    # --- grants -----------------------------------------------------------------------------------------------

    def acquire(self, claim: Claim, now: Now) -> Grant | Wait:
        """Return a grant for `claim`, the same one as long as it can be used, or when to ask again."""
        if self.alone(now):
            self._alone_ids.add(claim.id)
            return self._alone.acquire(claim, now)
        if self.trouble:
            return Wait(now.mono + _ASK_AGAIN)
        granted = self._known.grants.get(claim.id)
        if granted and claim.id not in self._ending:
            grant = Grant(claim.id, self._deadline(granted, now))
            if now.mono < grant.deadline:
                self._holding[claim.id] = grant
                self._claimed.pop(claim.id, None)
                return grant
            self.end(claim.id, spent=False)
        elif not granted:
            self._claim(claim, now)
        return Wait(now.mono + _ASK_AGAIN)

    def _claim(self, claim: Claim, now: Now) -> None:
        known, claimed = self._known.claims.get(claim.id), self._claimed.get(claim.id)
        waited = now.mono - claimed.sent if claimed else float("inf")
        if known is None and waited < self._clock.seconds(RESEND) + _ASK_AGAIN:
            return  # on its way
        if known and claim.bid <= known.bid * BID_GROWTH and waited < self._clock.seconds(LEASE):
            return
        if waited < self._clock.seconds(_NUDGE):
            return
        self._send(Kind.CLAIM, now, id=claim.id, table=claim.table, bid=claim.bid, replay=claim.replay)
        self._claimed[claim.id] = _Claimed(claim, now.mono)

    def _deadline(self, granted: Granted, now: Now) -> float:
        """Return until when a grant can be used, by our monotonic clock and, for the hour's turn, by all clocks."""
        anchor = self._ledger.anchor
        if anchor is None:
            return now.mono
        made = anchor.sent + granted.at - anchor.at
        turn = next_hour(self._clock.of(granted.at)) - GUARD - self._clock.of(granted.at)
        ours = now.mono + self._clock.seconds(next_hour(now.utc) - GUARD - now.utc)
        return min(made + self._clock.seconds(min(VALID, turn)), ours)

    def end(self, claim_id: str, *, spent: bool) -> None:
        """Take in that a claim is over: its push was `spent`, or is free for another."""
        if claim_id in self._alone_ids:
            self._alone_ids.discard(claim_id)
            self._alone.end(claim_id, spent=spent)
        held = self._holding.pop(claim_id, None) is not None
        if self._claimed.pop(claim_id, None) or held or claim_id in self._known.grants:
            self._tell_end(claim_id, spent=spent, now_mono=self._now)

    def _tell_end(self, claim_id: str, *, spent: bool, now_mono: float) -> None:
        self._ending[claim_id] = spent, now_mono
        self._append(Kind.END, now_mono, id=claim_id, spent=spent)

    def throttled(self, wait: float | None, now: Now) -> None:
        """Take in a 429, and tell all others."""
        self._alone.throttled(wait, now)
        turn = next_hour(now.utc)
        until = turn if wait is None else now.utc + wait * self._clock.speed
        limit = 0.0
        if until - now.utc > LONG_REFUSAL:
            limit = after_refusal(self._known.limit, self._known.spent, HOUR - (turn - now.utc))
            log.warning("spent the team's hour with others", ours=self._known.spent, next_hour=round(limit))
        self._send(Kind.CLOSED, now, until=until, limit=limit)

    # --- how it stands ----------------------------------------------------------------------------------------

    @property
    def known(self) -> Ledger:
        """What the entries say."""
        return self._known

    def left(self, now: Now) -> int:
        """Return the pushes that all replicas together can still spend in this hour."""
        return self._alone.left(now) if self.alone(now) else self._known.left(now.utc)

    def next_at(self, now: Now) -> float:
        """Return when the next push can be granted to somebody, in monotonic seconds."""
        if self.alone(now):
            return self._alone.next_at(now)
        return now.mono + self._clock.seconds(max(0.0, self._known.opens_at() - now.utc))

    def slot(self, now: Now) -> float:
        """Return the seconds between two pushes of this replica, as a mean, if all claim alike."""
        if self.alone(now):
            return self._alone.slot(now)
        rate, replicas = self._known.rate, len(list(self._known.replicas))
        return self._clock.seconds(HOUR / rate * replicas) if rate else float("inf")

    def low(self, now: Now) -> bool:
        """Return whether so few pushes are left for so long that consumption must pause."""
        if self.alone(now):
            return self._alone.low(now)
        rate = self._known.rate
        slot = HOUR / rate if rate else float("inf")
        return is_low(self.left(now), self._low_water, next_hour(now.utc) - now.utc, slot)
