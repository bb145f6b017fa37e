"""Owns the mutants that lack a rule about what is found, given up or lost when the group moves.

Never changes a module. Invariant: a mutant differs from the product in its rule only.
"""

# ruff: noqa: ARG002 - they take what they replace takes

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from connector.core.jobs import Seen, Status
from connector.kafka.commits import NOTHING, Commits
from connector.pipeline import Pipeline
from connector.recovery import Outcome, Recovery
from tests.property.simulation.consumer import SimSource

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from connector.core.hours import Now
    from connector.core.intents import Committed
    from connector.core.offsets import TopicPartition
    from connector.recovery import OpenJob


# --- assign ---------------------------------------------------------------------------------------------------


class IgnoresIntents(Recovery):
    """Partitions go on from the committed offset, whatever stands with it."""

    def assigned(self, committed: Mapping[TopicPartition, Committed]) -> None:
        super().assigned({tp: c._replace(metadata="") for tp, c in committed.items()})


class GoesBackBeforeNew(Recovery):
    """A job that was found in NEW is not rolled forward, but taken for one without effect."""

    def settle(self, seen: Seen) -> Outcome | None:
        return super().settle(replace(seen, status=Status.ERROR) if seen.status is Status.NEW else seen)


class GoesBackBeforeRunning(Recovery):
    """A job that was found running is not waited for."""

    def settle(self, seen: Seen) -> Outcome | None:
        running = seen.status in (Status.QUEUED, Status.RUNNING)
        return super().settle(replace(seen, status=Status.ERROR) if running else seen)


class GoesOnAfterUnknown(Recovery):
    """An append table goes on from the committed offset when the job of its intent is unknown."""

    def _unknown(self, job: OpenJob) -> None:
        return None


class FlowsUnderIntents(Pipeline):
    """Partitions under an intent are read while their job is waited for."""

    def assigned(self, committed: Mapping[TopicPartition, Committed]) -> Collection[TopicPartition]:
        super().assigned(committed)
        return ()

    def held_back(self, now: Now) -> dict[TopicPartition, str]:
        waiting = self.recovery.held
        return {tp: why for tp, why in super().held_back(now).items() if tp not in waiting}


class StartsWhileUnread(SimSource):
    """A partition whose committed offset could not be read flows at once, from its beginning."""

    def _on_assign(self, consumer: Any, partitions: list[Any]) -> None:
        super()._on_assign(consumer, partitions)
        if self._unread:
            self._take(dict.fromkeys(self._unread, NOTHING), [])
            self._unread.clear()


# --- revoke, lost ---------------------------------------------------------------------------------------------


class KeepsBuffers(Pipeline):
    """Positions go, the records of the same partitions stay in the buffer."""

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        self.recovery.drop(partitions)
        self.orders.drop(partitions)
        for sink in self.sinks.values():
            if sink.push:
                sink.push.lost.update(partitions)
        self._dead_letters.drop(partitions)


class TrustsSilence(Commits):
    """A commit without an answer is taken for one that was refused."""

    def _refused(self, error: Any, partitions: Collection[TopicPartition]) -> None:
        super()._refused(error, partitions)
        self.unsure.clear()


class SourceThatTrustsSilence(SimSource):
    def new_commits(self) -> Commits:
        return TrustsSilence(self._contact)
