"""Owns the paced budget of a replay: its part of what the service, and other replays, leave it.

Never looks itself who runs. Invariant: before the first push all others had the time to see this replay, and to take
less; who does not know what others take, takes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from connector.core.paced import PacedBudget
from connector.core.replays import rate_beside

if TYPE_CHECKING:
    from connector.core.hours import Now, TeamClock
    from connector.kafka.crowd import Crowd, Lookout

log = structlog.get_logger()

SLACK = 0.02  # of a push: at one an hour what the last minute would earn
LEAST_RATE = 1.0  # pushes an hour: a lower rate would never have earned one when the hour turns
_SETTLE_LOOKS = 3.0  # every other replay has looked by then, and has been answered
_JOIN_SECONDS = 60.0  # a group that was joined is on the list by then


class SharedPace(PacedBudget):
    """Up to `wanted` pushes in an hour, as long as `lookout` sees nobody who takes them."""

    def __init__(self, wanted: float, per_hour: float, lookout: Lookout, clock: TeamClock) -> None:
        super().__init__(wanted, clock, replay_share=1.0, low_water=0, slack=SLACK)
        self._wanted, self._per_hour, self._lookout = wanted, per_hour, lookout
        self._seen_since: float | None = None
        self._missed_since: float | None = None  # others are seen, and we are not
        self._told = self._told_low = False

    def step(self, now: Now, share: float) -> None:
        """Let time pass; `share` is the part of the replay that is ours."""
        super().step(now, share * self._part(now))

    def _part(self, now: Now) -> float:
        seen = self._lookout.seen()
        self._tell_if_missed(now, missed=seen is not None and not seen.ours)
        if seen is None or not seen.ours:
            self._seen_since = None
            return 0.0
        if self._seen_since is None:
            self._seen_since = now.mono
        if now.mono - self._seen_since < _SETTLE_LOOKS * self._lookout.seconds:
            return 0.0
        rate = rate_beside(self._wanted, self._per_hour, service=seen.service, replays=seen.replays)
        self._tell_if_low(rate, seen)
        return rate / self._wanted

    def _tell_if_low(self, rate: float, seen: Crowd) -> None:
        """Tell that what is left does not yield a push an hour, once each time that it comes to that."""
        low = rate < LEAST_RATE
        if low and not self._told_low:
            hint = "it goes on once other replays have ended, or with a lower budget.pushes_per_hour of the service"
            log.warning("nothing is pushed: too little is left", per_hour=round(rate, 2), **seen._asdict(), hint=hint)
        self._told_low = low

    def _tell_if_missed(self, now: Now, *, missed: bool) -> None:
        """Tell once that the list of groups lacks our own: a broker leaves out what we may not see."""
        if not missed:
            self._missed_since = None
            return
        if self._missed_since is None:
            self._missed_since = now.mono
        if now.mono - self._missed_since >= _JOIN_SECONDS and not self._told:
            self._told = True
            own = self._lookout.own
            hint = f"grant DESCRIBE (READ brings it) on group {own}, as on those of all replays and of the service"
            log.warning("nothing is pushed: the list of groups lacks the replay's own", group=own, hint=hint)
