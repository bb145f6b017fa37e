"""Owns the paced budget of one replica: its part of the hour's pushes, earned evenly and spent within the hour.

Never reads a clock: `step` is told the time and the part. Invariant: over all replicas whose parts add up to 1, no
more than `limit` grants in any UTC hour, whatever starts, stops, freezes or moves: a push is earned by time that
passes here, nothing is earned in advance, and what is not spent when the hour turns is gone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from connector.core.budget import (
    GUARD,
    LONG_REFUSAL,
    SPACING,
    Grant,
    Wait,
    after_refusal,
    closed_for,
    is_low,
    relaxed,
    valid_for,
)
from connector.core.hours import HOUR, Now, hour_of, next_hour

if TYPE_CHECKING:
    from connector.core.budget import Claim
    from connector.core.hours import TeamClock

_LONGEST_STEP = 5.0  # seconds: a process that stood still longer does not know what was its part meanwhile
_JUMP = 1.0  # seconds by which the two clocks may differ in a step before what was earned is forgotten
_UNKNOWN = 1.0  # seconds until it is worth asking again, where nothing tells
_EPSILON = 1e-9


class PacedBudget:
    """Up to `limit` pushes in an hour of the team's clock, for the whole group; `replay_share` of them for replays.

    Of a push `slack` (0 to 1) may be missing when it is granted: the hour's last push is earned only as the hour turns,
    when none is granted any more, and at a low rate there are few others. A limit that much below a whole number counts
    as that. Only for who has `limit` for itself: the slack of many would add up.
    """

    def __init__(
        self, limit: float, clock: TeamClock, *, replay_share: float = 0.25, low_water: int = 5, slack: float = 0.0
    ) -> None:
        self._limit, self._clock, self._slack = limit, clock, slack
        self._replay_share, self._low_water = replay_share, low_water
        self._at: Now | None = None
        self._share = 0.0
        self._earned = 0.0  # in this hour
        self._spent = 0.0  # in this hour, and what was forfeited
        self._replays = 0
        self._granted = 0
        self._last = self._closed_until = -math.inf  # the last grant, and the end of a refusal: monotonic seconds
        self._era = 0  # moves on with every hour, and where a clock jumps: nothing is given back over it
        self._grants: dict[str, tuple[Grant, int, bool]] = {}  # with the era, and whether it is a replay's
        self._learnt: tuple[int, float] | None = None  # the hour it is for, and what to spend in it

    # --- time passes ------------------------------------------------------------------------------------------

    def step(self, now: Now, share: float) -> None:
        """Let time pass; `share` (0 to 1) is this replica's part from now on."""
        before, self._at = self._at, now
        if before is None:
            self._share = share
            return
        elapsed = max(0.0, now.mono - before.mono)
        jumped = abs((now.utc - before.utc) - elapsed * self._clock.speed) > _JUMP * self._clock.speed
        if hour_of(now.utc) != hour_of(before.utc):
            self._era += 1
            self._earned = self._spent = 0.0
            self._replays = self._granted = 0
        elif jumped:
            self._era += 1
            self._spent = max(self._spent, self._earned)
        else:
            seconds = min(elapsed, _LONGEST_STEP) * self._clock.speed
            self._earned += self._share * self.limit(now) * seconds / HOUR
        self._share = share

    def limit(self, now: Now) -> float:
        """Return the pushes that the whole group may spend in this hour, after what refusals taught."""
        if self._learnt is None:
            return self._limit
        hour, learnt = self._learnt
        return relaxed(self._limit, learnt, max(0, hour_of(now.utc) - hour))

    # --- grants -----------------------------------------------------------------------------------------------

    def acquire(self, claim: Claim, now: Now) -> Grant | Wait:
        """Return a grant for `claim`, the same one while it can be used, or when to ask again."""
        if known := self._grants.get(claim.id):
            if now.mono < known[0].deadline and known[1] == self._era:
                return known[0]
            self.end(claim.id, spent=False)
        wait = self._wait(claim, now)
        if wait > 0:
            return Wait(now.mono + wait)
        ends = next_hour(now.utc) - GUARD - now.utc
        grant = Grant(claim.id, now.mono + min(valid_for(self._clock), self._clock.seconds(ends)))
        self._grants[claim.id] = grant, self._era, claim.replay
        self._spent += 1
        self._granted += 1
        self._replays += claim.replay
        self._last = now.mono
        return grant

    def end(self, claim_id: str, *, spent: bool) -> None:
        """Take in that a claim is over; a grant that was surely not `spent` may be used by another in its hour."""
        grant, era, replay = self._grants.pop(claim_id, (None, 0, False))
        if grant and not spent and era == self._era:
            self._spent -= 1
            self._granted -= 1
            self._replays -= replay

    def throttled(self, wait: float | None, now: Now) -> None:
        """Take in a 429: nothing for `wait` seconds, or without a hint until the hour turns."""
        seconds = closed_for(None if wait is None else wait * self._clock.speed, now.utc)
        if seconds > LONG_REFUSAL and self._share:
            ours = min(self._limit, self._granted / self._share)
            self._learnt = hour_of(now.utc) + 1, after_refusal(self._limit, ours, now.utc % HOUR)
        self._closed_until = max(self._closed_until, now.mono + self._clock.seconds(seconds))

    def _wait(self, claim: Claim, now: Now) -> float:
        """Return the seconds until `claim` can be granted; 0: now."""
        return self._clock.seconds(self._team_wait(now, replay=claim.replay))

    def _team_wait(self, now: Now, *, replay: bool = False) -> float:
        rest = next_hour(now.utc) - now.utc
        earned = self._earned + self._slack
        missing = 1 + self._spent - earned
        if replay and self._replay_share:
            missing = max(missing, (self._replays + 1) / self._replay_share - earned)
        rate = self._share * self.limit(now) / HOUR
        earning = 0.0 if missing <= _EPSILON else missing / rate if rate else _UNKNOWN * self._clock.speed
        closed = self._closed(now)
        wait = max(earning, closed, SPACING - (now.mono - self._last) * self._clock.speed, 0.0)
        if (replay and not self._replay_share) or wait + GUARD >= rest:
            return max(rest, closed, _EPSILON)
        return wait

    def _closed(self, now: Now) -> float:
        """Return for how many seconds of the team's time the platform refuses executes; 0: it does not."""
        return max(0.0, self._closed_until - now.mono) * self._clock.speed

    # --- how it stands ----------------------------------------------------------------------------------------

    @property
    def granted(self) -> int:
        """The pushes granted in this hour."""
        return self._granted

    def left(self, now: Now) -> int:
        """Return the pushes that this replica can still spend in this hour."""
        rest = next_hour(now.utc) - now.utc - self._closed(now)
        if rest <= 0:
            return 0
        unspent = max(0.0, self._earned + self._slack - self._spent)
        return int(unspent + self._share * self.limit(now) * rest / HOUR + _EPSILON)

    def next_at(self, now: Now) -> float:
        """Return when the next push can be granted, in monotonic seconds."""
        return now.mono + self._clock.seconds(self._team_wait(now))

    def slot(self, now: Now) -> float:
        """Return the seconds between two pushes of this replica, as a mean."""
        rate = self._share * self.limit(now)
        return self._clock.seconds(HOUR / rate) if rate else math.inf

    def low(self, now: Now) -> bool:
        """Return whether so few pushes are left for so long that consumption must pause."""
        slot = self.slot(now) * self._clock.speed
        return is_low(self.left(now), self._low_water, next_hour(now.utc) - now.utc, slot)
