"""Owns the shape of who is told when partitions come and go; never tells anybody.

Invariant: every call comes from inside the source's `poll` or `close`, on the thread that owns the source, and returns
at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from connector.core.intents import Committed
    from connector.core.offsets import TopicPartition


class Assignments(Protocol):
    """Who is told when partitions come and go."""

    def assigned(self, committed: Mapping[TopicPartition, Committed]) -> Collection[TopicPartition]:
        """These partitions are ours from now on, with what is committed of each (offset -1: nothing).

        Returns those that must not flow yet.
        """
        ...

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions go to someone else when this returns; their offsets may still be committed."""
        ...

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        """These partitions are someone else's already."""
        ...
