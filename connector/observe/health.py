"""Owns whether the service is alive and ready, as far as others may ask.

Never asks anything itself: the loop tells, any thread reads. Invariant: alive means that the loop came round lately;
ready means that the group has taken us in. A halted table changes neither.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_ROUND = 120.0  # seconds; a synchronous commit to a slow broker is the longest thing the loop does


class State(NamedTuple):
    """What the loop last told, in one immutable piece: no reader can see half of it."""

    beat: float
    joined: bool = False
    stopping: bool = False
    brokers_away: str | None = None
    halted: tuple[str, ...] = ()
    troubles: Mapping[str, str] = MappingProxyType({})
    budget: Mapping[str, object] = MappingProxyType({})


class Health:
    """The state of one service; `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._state = State(clock())

    def tell(
        self,
        *,
        joined: bool,
        stopping: bool = False,
        brokers_away: str | None = None,
        halted: tuple[str, ...] = (),
        troubles: Mapping[str, str] = MappingProxyType({}),
        budget: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Say, from the loop, that it came round, and how things stand; `troubles` names what waits for a person."""
        self._state = State(self._clock(), joined, stopping, brokers_away, halted, dict(troubles), dict(budget))

    def alive(self) -> tuple[bool, dict[str, object]]:
        """Return whether the loop turns, and since when it has not."""
        silent = self._clock() - self._state.beat
        return silent < LONGEST_ROUND, {"seconds_since_last_round": round(silent, 1)}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Return whether the group has taken us in and we are not leaving, and what stands in the way."""
        state = self._state
        details: dict[str, object] = {
            "joined": state.joined,
            "stopping": state.stopping,
            "brokers_away": state.brokers_away,
            "halted_tables": list(state.halted),
        }
        return state.joined and not state.stopping, details

    def status(self) -> dict[str, object]:
        """Return how things stand, with the reason and the way out of everything that waits for a person."""
        state = self._state
        return {
            "joined": state.joined,
            "stopping": state.stopping,
            "brokers_away": state.brokers_away,
            "seconds_since_last_round": round(self._clock() - state.beat, 1),
            "budget": dict(state.budget),
            "troubles": dict(state.troubles),
        }
