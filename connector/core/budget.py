"""Owns what a push of the team's hour is: claims, grants, waits, and what is learnt from refusals.

Never reads a clock and never sleeps: a denial says until when. Invariant: a grant is for one execute before its
deadline, which lies within seconds, and three seconds or more before the hour turns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from connector.core.hours import HOUR

if TYPE_CHECKING:
    from connector.core.hours import TeamClock

TEAM_LIMIT = 250  # executes of the whole team in a full UTC hour (data-push-api.md, "Limits")
GUARD = 3.0  # seconds before the hour's turn in which nothing is executed: clocks differ
_VALID, _LEAST_VALID = 30.0, 2.0  # seconds of the team's time in which a grant must be used, and true ones at least
SPACING = 0.2  # seconds between two grants: half of the ten a second that the team has
LONG_REFUSAL = 60.0  # seconds: a refusal for longer means the hour, a shorter one the second
QUICKEST = TEAM_LIMIT / 10  # seconds: nobody spends an hour sooner, as the team has ten a second
_MARGIN = 2  # pushes, between what others are thought to leave and what we take
_LEAST = 0.1  # of our limit is claimed even after the worst hour, so that better ones are noticed
_RELAXATION = 0.25  # of what is missing comes back with every hour without a refusal


class Claim(NamedTuple):
    """Who wants a push: the load's (or the job's) id, its table, and its bid in weighted record-seconds."""

    id: str
    table: str
    bid: float = 0.0
    replay: bool = False


class Grant(NamedTuple):
    """One execute for `id`, before `deadline` (monotonic seconds)."""

    id: str
    deadline: float


class Wait(NamedTuple):
    """Nothing yet: ask again at `until` (monotonic seconds)."""

    until: float


def closed_for(wait: float | None, utc: float) -> float:
    """Return for how many seconds of the team's time a refusal at `utc` holds: `wait`, or without a hint the hour.

    An hour that has just begun cannot be spent: such a refusal was of the hour before, and came late.
    """
    if wait is not None:
        return wait
    since = utc % HOUR
    return (QUICKEST if since < QUICKEST else HOUR) - since


def valid_for(clock: TeamClock) -> float:
    """Return the true seconds in which a grant must be used: committing intents and a few requests fit in."""
    return max(clock.seconds(_VALID), _LEAST_VALID)


def after_refusal(limit: float, ours: float, elapsed: float) -> float:
    """Return what to spend in the next hour, after the platform called this one spent.

    `limit` is what we may spend at most, `ours` what we spent, `elapsed` the seconds of the hour until then. The others
    took the rest of 250; they are thought to go on at that rate, though not to take more than half of what was left.
    """
    taken = max(0.0, TEAM_LIMIT - ours)
    foreign = min(taken * HOUR / max(elapsed, 1.0), (taken + TEAM_LIMIT) / 2)
    return min(limit, max(limit * _LEAST, TEAM_LIMIT - foreign - _MARGIN))


def relaxed(limit: float, learnt: float, hours: int) -> float:
    """Return what to spend `hours` after the hour that `learnt` was for, without another refusal."""
    return limit - (limit - learnt) * (1 - _RELAXATION) ** hours


def is_low(left: float, low_water: int, remaining: float, slot: float) -> bool:
    """Return whether fewer than `low_water` pushes are left although more slots (seconds each) remain in the hour."""
    return left < low_water and remaining > (low_water + 1) * slot
