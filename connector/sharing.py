"""Owns the paced budget of a replay: its part of what the service, and other replays, leave it.

Never looks itself who runs. Invariant: before the first push all others had the time to see this replay, and to take
less; who does not know what others take, takes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.core.paced import PacedBudget
from connector.core.replays import rate_beside

if TYPE_CHECKING:
    from connector.core.hours import Now, TeamClock
    from connector.kafka.crowd import Lookout

_SETTLE_LOOKS = 3.0  # every other replay has looked by then, and has been answered


class SharedPace(PacedBudget):
    """Up to `wanted` pushes in an hour, as long as `lookout` sees nobody who takes them."""

    def __init__(self, wanted: float, per_hour: float, lookout: Lookout, clock: TeamClock) -> None:
        super().__init__(wanted, clock, replay_share=1.0, low_water=0)
        self._wanted, self._per_hour, self._lookout = wanted, per_hour, lookout
        self._seen_since: float | None = None

    def step(self, now: Now, share: float) -> None:
        """Let time pass; `share` is the part of the replay that is ours."""
        super().step(now, share * self._part(now))

    def _part(self, now: Now) -> float:
        seen = self._lookout.seen()
        if seen is None or not seen.ours:
            self._seen_since = None
            return 0.0
        if self._seen_since is None:
            self._seen_since = now.mono
        if now.mono - self._seen_since < _SETTLE_LOOKS * self._lookout.seconds:
            return 0.0
        rate = rate_beside(self._wanted, self._per_hour, service=seen.service, replays=seen.replays)
        return rate / self._wanted
