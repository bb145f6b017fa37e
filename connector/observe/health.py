"""Owns whether the service is alive and ready, as far as others may ask.

Never asks anything itself: the loop tells, any thread reads. Invariant: alive means that the loop came round lately;
ready means that the group has taken us in and nothing that we need is missing. Neither a halted table nor, once we were
ready, a topic that is not there changes that: the other tables go on.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PATIENCE = 5.0  # seconds that something may be missing of a service that was ready: a restart elsewhere is no outage
LONGEST_ROUND = 120.0  # seconds; a synchronous commit to a slow broker is the longest thing the loop does


class State(NamedTuple):
    """What the loop last told, in one immutable piece: no reader can see half of it."""

    beat: float
    joined: bool = False
    stopping: bool = False
    brokers_away: str | None = None
    missing: Mapping[str, str] = MappingProxyType({})
    since: Mapping[str, float] = MappingProxyType({})  # of what is missing
    been_ready: bool = False
    absent: Mapping[str, str] = MappingProxyType({})
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
        missing: Mapping[str, str] = MappingProxyType({}),
        at_first: Mapping[str, str] = MappingProxyType({}),
        absent: Mapping[str, str] = MappingProxyType({}),
        halted: tuple[str, ...] = (),
        troubles: Mapping[str, str] = MappingProxyType({}),
        budget: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        """Say, from the loop, that it came round, and how things stand.

        `missing` are dependencies beside the brokers, each with the reason; `at_first` are those that count no more
        once it was ready. `absent` topics and regular expressions are shown, and `troubles` names what waits for a
        person.
        """
        now, before = self._clock(), self._state
        brokers = {"brokers": brokers_away} if brokers_away else {}
        missing = {**brokers, **({} if before.been_ready else at_first), **missing}
        self._state = State(
            now,
            joined,
            stopping,
            brokers_away,
            missing,
            since={name: before.since.get(name, now) for name in missing},
            been_ready=before.been_ready or (joined and not missing),
            absent=dict(absent),
            halted=halted,
            troubles=dict(troubles),
            budget=dict(budget),
        )

    def alive(self) -> tuple[bool, dict[str, object]]:
        """Return whether the loop turns, and since when it has not."""
        silent = self._clock() - self._state.beat
        return silent < LONGEST_ROUND, {"seconds_since_last_round": round(silent, 1)}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Return whether the group has taken us in, we are not leaving and nothing is missing, and what is in the way.

        The first time everything must be there; from then on, what is missing counts after PATIENCE.
        """
        state = self._state
        details: dict[str, object] = {
            "reasons": list(_reasons(state)),
            "joined": state.joined,
            "stopping": state.stopping,
            "brokers_away": state.brokers_away,
            "absent_topics": dict(state.absent),
            "halted_tables": list(state.halted),
        }
        lasting = [name for name, since in state.since.items() if state.beat - since >= PATIENCE]
        counts = lasting if state.been_ready else state.missing
        return state.joined and not state.stopping and not counts, details

    def status(self) -> dict[str, object]:
        """Return how things stand, with the reason and the way out of everything that waits for a person."""
        state = self._state
        return {
            "joined": state.joined,
            "stopping": state.stopping,
            "brokers_away": state.brokers_away,
            "reasons": list(_reasons(state)),
            "absent_topics": dict(state.absent),
            "seconds_since_last_round": round(self._clock() - state.beat, 1),
            "budget": dict(state.budget),
            "troubles": dict(state.troubles),
        }


def _reasons(state: State) -> Iterator[str]:
    """Yield in words what stands in the way of being ready, or soon will."""
    if state.stopping:
        yield "it was asked to end, and drains"
    elif not state.joined:
        yield "the group has not taken it in"
    for name, reason in state.missing.items():
        yield f"{name}: {reason}"
