"""Owns what the edge tells of single requests to whoever counts them; holds no numbers itself.

Never fails and never waits. Invariant: it may be called from any thread, once for each request, never for a record.
"""

from __future__ import annotations

from typing import Protocol


class Calls(Protocol):
    """Who counts requests."""

    def retried(self, operation: str, outcome: str) -> None:
        """Count that a request is sent again, since its answer, or the absence of one, asked for `outcome`."""
        ...

    def refreshed(self) -> None:
        """Count that there is a new OAuth token."""
        ...


class Uncounted:
    """Counts nothing."""

    def retried(self, operation: str, outcome: str) -> None:
        """Look away."""

    def refreshed(self) -> None:
        """Look away."""


UNCOUNTED = Uncounted()
