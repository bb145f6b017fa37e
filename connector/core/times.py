"""Owns what is learnt of how long pushes take. Never reads a clock.

Invariant: one push that took unusually long does not change much, and a few say that all do.
"""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_PREPARING, _FIRST_EXECUTING = 1.0, 2.0  # seconds, before anything was seen
_WEIGHT = 0.2  # of the newest
_LEAST_AHEAD = 1.0  # seconds: what the loop and the commit of the intents may take
_MOST_AHEAD = 60.0  # seconds: however long preparing takes, nothing is sealed earlier than this before its turn
_RESERVE = 1.5  # times as long as usual is still in time


@dataclass(slots=True)
class Times:
    """Moving means, in seconds: of building and uploading, of executing, and of both together (`service`)."""

    _prepared: float = _FIRST_PREPARING
    executing: float = _FIRST_EXECUTING
    service: float = _FIRST_PREPARING + _FIRST_EXECUTING

    @property
    def preparing(self) -> float:
        """How long before its turn a load should be sealed, in seconds."""
        return min(_MOST_AHEAD, max(_LEAST_AHEAD, self._prepared * _RESERVE))

    def prepared(self, seconds: float) -> None:
        """Take in how long building and uploading a load took."""
        self._prepared += _WEIGHT * (seconds - self._prepared)

    def done(self, service: float, executing: float) -> None:
        """Take in how long a push took from its build to its end, and from its execute to its end."""
        self.service += _WEIGHT * (service - self.service)
        self.executing += _WEIGHT * (executing - self.executing)
