"""Owns the budget that replicas share over the ledger: what we claim, what we were granted, and when to go it alone.

Never talks to Kafka except through its port, and never decides who is granted: every replica computes that alike from
the entries. Invariant: while the ledger cannot be trusted nothing is spent, until our part of it has surely run out
there; then we earn that part by ourselves, and the others the rest.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import structlog

from connector.core.budget import GUARD, LONG_REFUSAL, Grant, Wait, after_refusal, closed_for, is_low, valid_for
from connector.core.entries import Kind
from connector.core.hours import HOUR, Now, hour_of, next_hour
from connector.core.ledger import LEASE, Key, Ledger

if TYPE_CHECKING:
    from connector.core.budget import Claim
    from connector.core.entries import Entry
    from connector.core.hours import TeamClock
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
_UNKNOWN = 1.0  # seconds until it is worth asking again, where nothing tells


class _Claimed(NamedTuple):
    claim: Claim
    sent: float


class LedgerBudget:
    """The budget of one replica over `ledger`.

    `me` says who we are, and is sent with each entry; `alone` is the budget for when the ledger cannot be trusted. A
    guest (`me.guest`) brings its rate only while no other deployment is alive that would, and no guest before it.
    """

    def __init__(self, ledger: LedgerLog, me: Entry, clock: TeamClock, alone: PacedBudget, *, low_water: int) -> None:
        self._ledger, self._me, self._clock, self._alone = ledger, me, clock, alone
        self._low_water, self._rate = low_water, me.rate
        self._known = Ledger(clock)
        self._generation = ledger.generation
        self._claimed: dict[str, _Claimed] = {}
        self._holding: dict[str, Grant] = {}
        self._ending: dict[str, tuple[bool, float]] = {}  # id → spent, and when that was sent; until it is read back
        self._unasked: set[str] = set()  # granted to us before this round
        self._alone_ids: set[str] = set()
        self._sent, self._sent_hour, self._sent_part = -math.inf, 0, (0.0, 0.0)
        self._apart_since: float | None = None
        self._now = Now(-math.inf, 0.0)
        self._share, self._share_since = 0.0, -math.inf
        self._share_alone, self._told_alone = 0.0, False
        self.trouble: str | None = "reading the ledger"

    # --- time passes ------------------------------------------------------------------------------------------

    def step(self, now: Now, share: float) -> None:
        """Read what has come, tell that we are alive, and let time pass."""
        self._now = now
        entries = self._ledger.read()
        if self._ledger.generation != self._generation:  # they are the first ones of the new one
            self._generation, self._known = self._ledger.generation, Ledger(self._clock)
        for stamped in entries:
            self._known.apply(stamped)
            if stamped.entry.kind is Kind.END and stamped.entry.replica == self._me.replica:
                self._ending.pop(stamped.entry.id, None)
        self._judge(now)
        self._take_share(share, now)
        for claim_id, (spent, sent) in list(self._ending.items()):
            if now.mono - sent > self._clock.seconds(RESEND) + _ASK_AGAIN:
                self._tell_end(claim_id, spent=spent)
        self._give_back_unasked()
        if self._due(now):
            self._send(Kind.ALIVE)

    def _judge(self, now: Now) -> None:
        trouble = self._ledger.trouble or (None if self._ledger.anchor else "nothing of ours was read back yet")
        if trouble and self._apart_since is None:
            self._apart_since = now.mono
            log.warning("waiting for the budget ledger", reason=trouble)
        elif self._apart_since is not None and not trouble:
            log.info("joined the budget ledger", left=self._known.left(self._team(now)))
            self._apart_since = None
        elif self.alone(now) and not self._told_alone:
            log.warning("pacing without the budget ledger", reason=trouble)
        self.trouble, self._told_alone = trouble, self.alone(now)

    def _give_back_unasked(self) -> None:
        """Give back what was granted to us and not asked for in a whole round, since other loads have overtaken it.

        The pool may be free for one job only, so that nobody could push before it.
        """
        ours = {key.id for key in self._known.grants if key.replica == self._me.replica}
        unasked = set() if self.trouble else ours - self._holding.keys() - self._ending.keys()
        for claim_id in unasked & self._unasked:
            self._claimed.pop(claim_id, None)
            self._tell_end(claim_id, spent=False)
        self._unasked = unasked

    def alone(self, now: Now) -> bool:
        """Return whether we go it alone: our part of the ledger's income has run out there by now."""
        return self._apart_since is not None and now.mono - self._apart_since > self._lapse

    @property
    def _lapse(self) -> float:
        """The seconds after which nothing that was sent before earns in the ledger any more."""
        return self._clock.seconds(LEASE) + LATE_APPEND

    def _take_share(self, share: float, now: Now) -> None:
        """Let our part earn in one place: in the ledger, or alone, and there only what surely no other earns by it.

        What has come to us since our part last changed may have been the part of one whose lease lasts.
        """
        if share != self._share:
            self._share, self._share_since = share, now.mono
        settled = now.mono - self._share_since > self._lapse
        self._share_alone = share if settled else min(share, self._share_alone)
        self._alone.step(now, self._share_alone if self.alone(now) else 0.0)
        rate = 0.0 if self._me.guest and self._has_host() else self._rate
        self._me = replace(self._me, rate=rate, share=0.0 if self.trouble else share)

    def _has_host(self) -> bool:
        """Return whether somebody else brings in pushes: a service, or the first of several guests."""
        others = [e for e in self._known.replicas if e.replica != self._me.replica]
        return any(not e.guest or e.replica < self._me.replica for e in others)

    def _team(self, now: Now) -> float:
        """Return the team's time by the ledger's clock, or a little more: what is sent now is stamped so."""
        anchor = self._ledger.anchor
        return self._clock.of(anchor.at + now.mono - anchor.sent) if anchor else now.utc

    def _due(self, now: Now) -> bool:
        """Return whether an entry must go out: to be alive, to tell our part, or to let time pass for a claim."""
        since = now.mono - self._sent
        if since < self._clock.seconds(_NUDGE):
            return False
        told = self._sent_hour == hour_of(self._team(now)) and self._sent_part == (self._me.rate, self._me.share)
        if since >= self._clock.seconds(ALIVE) or not told:
            return True
        late = self._team(now) - self._known.opens_at()
        if self.trouble or not self._claimed or late < 0:
            return False
        best = self._known.best()
        return best is not None and (late >= OTHERS_FIRST or best.replica == self._me.replica)

    def _send(self, kind: Kind, **more: object) -> None:
        self._ledger.append(replace(self._me, kind=kind, holding=tuple(sorted(self._holding)), **more))  # type: ignore[arg-type]
        self._sent, self._sent_hour = self._now.mono, hour_of(self._team(self._now))
        self._sent_part = self._me.rate, self._me.share

    def leave(self) -> None:
        """Say goodbye: no claim of ours stands in anybody's way, and our part is our heir's at once."""
        for claim_id in list(self._claimed):
            self.end(claim_id, spent=False)
        self._me = replace(self._me, share=0.0)
        self._send(Kind.ALIVE)

    # --- grants -----------------------------------------------------------------------------------------------

    def acquire(self, claim: Claim, now: Now) -> Grant | Wait:
        """Return a grant for `claim`, the same one as long as it can be used, or when to ask again."""
        if self.alone(now):
            return self._acquire_alone(claim, now)
        if not self.trouble and claim.id not in self._ending:
            if granted := self._known.grants.get(self._key(claim.id)):
                grant = self._holding.get(claim.id) or Grant(claim.id, self._deadline(granted, now))
                if now.mono < grant.deadline:
                    self._holding[claim.id] = grant
                    self._claimed.pop(claim.id, None)
                    return grant
                self.end(claim.id, spent=False)
            else:
                self._holding.pop(claim.id, None)  # its hour is over
                self._claim(claim, now)
        return Wait(now.mono + _ASK_AGAIN)

    def _acquire_alone(self, claim: Claim, now: Now) -> Grant | Wait:
        self._alone_ids.add(claim.id)
        self._holding.pop(claim.id, None)
        found = self._alone.acquire(claim, now)
        if isinstance(found, Grant):
            self._holding[claim.id] = found
        return found

    def _key(self, claim_id: str) -> Key:
        return Key(self._me.replica, claim_id)

    def _claim(self, claim: Claim, now: Now) -> None:
        known, claimed = self._known.claims.get(self._key(claim.id)), self._claimed.get(claim.id)
        waited = now.mono - claimed.sent if claimed else math.inf
        if known is None and waited < self._clock.seconds(RESEND) + _ASK_AGAIN:
            return  # on its way
        if known and claim.bid <= known.bid * BID_GROWTH and waited < self._clock.seconds(LEASE):
            return
        if waited < self._clock.seconds(_NUDGE):
            return
        self._send(Kind.CLAIM, id=claim.id, table=claim.table, bid=claim.bid, replay=claim.replay)
        self._claimed[claim.id] = _Claimed(claim, now.mono)

    def _deadline(self, granted: Granted, now: Now) -> float:
        """Return until when a grant can be used, by our monotonic clock and, for the hour's turn, by all clocks."""
        anchor = self._ledger.anchor
        if anchor is None:
            return now.mono
        made = min(now.mono, anchor.sent + granted.at - anchor.at)
        at = self._clock.of(granted.at)
        last = next_hour(at) - GUARD
        used_by = made + min(valid_for(self._clock), self._clock.seconds(last - at))
        return min(used_by, now.mono + self._clock.seconds(last - now.utc))

    def end(self, claim_id: str, *, spent: bool) -> None:
        """Take in that a claim is over: its push was `spent`, or is free for another."""
        alone = claim_id in self._alone_ids
        if alone:
            self._alone_ids.discard(claim_id)
            self._alone.end(claim_id, spent=spent)
        held = self._holding.pop(claim_id, None) is not None and not alone
        if self._claimed.pop(claim_id, None) or held or self._key(claim_id) in self._known.grants:
            self._tell_end(claim_id, spent=spent)

    def _tell_end(self, claim_id: str, *, spent: bool) -> None:
        self._ending[claim_id] = spent, self._now.mono
        self._send(Kind.END, id=claim_id, spent=spent)

    def throttled(self, wait: float | None, now: Now) -> None:
        """Take in a 429, and tell all others."""
        self._alone.throttled(wait, now)
        seconds = closed_for(None if wait is None else wait * self._clock.speed, now.utc)
        limit = 0.0
        if seconds > LONG_REFUSAL:
            limit = after_refusal(self._known.limit, self._known.spent, now.utc % HOUR)
            log.warning("spent the team's hour with others", ours=self._known.spent, next_hour=round(limit))
        self._send(Kind.CLOSED, until=now.utc + seconds, limit=limit)

    # --- how it stands ----------------------------------------------------------------------------------------

    @property
    def known(self) -> Ledger:
        """What the entries say."""
        return self._known

    def left(self, now: Now) -> int:
        """Return the pushes that all replicas together can still spend in this hour."""
        return self._alone.left(now) if self.alone(now) else self._known.left(self._team(now))

    def next_at(self, now: Now) -> float:
        """Return when the next push can be granted to somebody, in monotonic seconds."""
        if self.alone(now):
            return self._alone.next_at(now)
        if self.trouble:
            return now.mono + _UNKNOWN
        return now.mono + self._clock.seconds(max(0.0, self._known.opens_at() - self._team(now)))

    def slot(self, now: Now) -> float:
        """Return the seconds between two pushes of this replica, as a mean, if all claim alike."""
        if self.alone(now):
            return self._alone.slot(now)
        rate, replicas = self._known.rate, len(list(self._known.replicas))
        return self._clock.seconds(HOUR / rate * replicas) if rate else math.inf

    def low(self, now: Now) -> bool:
        """Return whether so few pushes are left for so long that consumption must pause."""
        if self.alone(now):
            return self._alone.low(now)
        rate = self._known.rate
        slot = HOUR / rate if rate else math.inf
        return is_low(self.left(now), self._low_water, next_hour(now.utc) - now.utc, slot)
