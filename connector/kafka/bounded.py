"""Owns the consumer of a replay: a group of one member, which reads a range of each partition and stops at its end.

Never delivers a message at or beyond an end, and never waits for one either: an end is reached by the last message
below it, by any message behind it, or by the end of the partition. The group is joined like any other, since only of
members does Kafka refuse the commits of the one that was thought dead; what it assigns beyond the ranges is not read.
Invariant: a position never goes beyond its end, and who is not the only member from the beginning does not begin.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import structlog
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.messages import MessageBatch
from connector.core.offsets import TopicPartition
from connector.kafka.alone import taken
from connector.kafka.source import KafkaSource
from connector.kafka.starts import Starts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from confluent_kafka import Consumer, Message

    from connector.config import Kafka
    from connector.core import messages
    from connector.core.assignments import Assignments
    from connector.core.bounds import Range
    from connector.core.intents import Committed

log = structlog.get_logger()

_ANSWER_SECONDS = 5.0
_FORGET = "the same command with --abandon forgets this replay; without it, it then begins anew with what is there"
_GO_ON = f"set kafka.on_data_loss to earliest to go on with what is there; or {_FORGET}"


class BoundedSource(KafkaSource):
    """Reads `ranges` once; of a partition that `kafka.group` has committed, what is behind the committed offset.

    `from_earliest`: a range begins with the first message that is there once it is read, should its start be gone.

    `passed_over` counts by reason the messages that were read and are none of what is wanted: here all are wanted.

    Raises:
        ConfigError: `kafka.properties` holds what the client does not take.
    """

    _whole: ClassVar[bool] = False  # whether all of the ranges counts, or what is there of them, too

    def __init__(self, kafka: Kafka, ranges: Mapping[TopicPartition, Range], *, from_earliest: bool = False) -> None:
        super().__init__(kafka)
        self._ranges = dict(ranges)
        self._bounds = BoundedStarts(kafka, self._ranges, from_earliest=from_earliest, whole=self._whole)
        self._bounds.consumer = self._consumer
        self._starts = self._bounds
        self.passed_over: Counter[str] = Counter()

    def join(self, listener: Assignments) -> None:
        """Begin; raises SourceError from `poll` where another process is in the group."""
        self.subscribe(sorted({tp.topic for tp in self._ranges}), listener)

    @property
    def share(self) -> float:
        """All of the replay is ours, whatever others read of the same topics."""
        return 1.0

    def _count_partitions(self, topics: Sequence[str]) -> None:
        """All of them are ours, or nothing is read."""

    # --- reading up to the ends -------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether every partition is read up to its end; what was read may still have to be pushed."""
        return self._ended() == self._ranges.keys()

    @property
    def gone(self) -> Mapping[TopicPartition, str]:
        """The partitions that stand still before their end because what they were to read is gone, and why."""
        ended = self._ended()
        return {tp: why for tp, why in self._starts.gone.items() if tp not in ended}

    def way_out(self, tp: TopicPartition) -> str:
        """Return the next step for a partition that is `gone`."""
        return self._bounds.hint(tp)

    def poll(self, timeout: float) -> Sequence[MessageBatch]:
        """Return what has come of the ranges within `timeout` seconds; raises SourceError."""
        batches = [self._up_to_end(batch) for batch in super().poll(timeout)]
        ended = self._ended()
        self.positions.update({tp: self._ranges[tp].end for tp in ended})
        self._hold(ended)
        return [batch for batch in batches if batch.messages]

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Let exactly these partitions be paused, and those that are read up to their end."""
        super().pause({*partitions, *self._ended()})

    def lag(self) -> Mapping[TopicPartition, int]:
        """Return the messages between position and end of the range."""
        return {tp: self._ranges[tp].end - position for tp, position in self.positions.items()}

    def _ended(self) -> set[TopicPartition]:
        return {tp for tp, r in self._ranges.items() if self.positions.get(tp, r.start - 1) >= r.end}

    def _up_to_end(self, batch: MessageBatch) -> MessageBatch:
        if all(r.end <= self._ranges[r.tp].end for r in batch.ranges):
            return batch
        kept: list[messages.Message] = []
        for r, first, stop in batch.spans:
            below = np.searchsorted(batch.offsets[first:stop], self._ranges[r.tp].end)
            kept += batch.messages[first : first + int(below)]
        return MessageBatch.of(batch.topic, kept)

    def _take_events(self, events: list[Message]) -> dict[TopicPartition, int]:
        ends = super()._take_events(events)
        for tp, offset in ends.items():
            if tp in self.assigned and offset < self._ranges[tp].end:
                self._bounds.look_whether_cut(tp)
        return ends

    # --- who owns what ----------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        given = {TopicPartition(p.topic, p.partition) for p in partitions}
        if not self.joined and not given >= self._ranges.keys():
            consumer.incremental_assign([])
            self._contact.failure = taken(self._kafka.group, [])
            return
        super()._on_assign(consumer, [p for p in partitions if TopicPartition(p.topic, p.partition) in self._ranges])

    def _on_revoke(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        super()._on_revoke(consumer, self._read(partitions))

    def _on_lost(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        super()._on_lost(consumer, self._read(partitions))

    def _read(self, partitions: list[ClientPartition]) -> list[ClientPartition]:
        read = self.assigned | self._unread
        return [p for p in partitions if TopicPartition(p.topic, p.partition) in read]


class WholeSource(BoundedSource):
    """Reads the ranges of tables that are replaced: an end is committed only where a job has carried it.

    So what is read without a row coming of it can be told from what was pushed, also by a later process. `look` is
    given the topics of a job right before its intents are sent, and raises where it must not be executed.
    """

    _whole = True

    def __init__(
        self,
        kafka: Kafka,
        ranges: Mapping[TopicPartition, Range],
        *,
        from_earliest: bool = False,
        look: Callable[[Collection[str]], None] | None = None,
    ) -> None:
        super().__init__(kafka, ranges, from_earliest=from_earliest)
        self._look = look

    def commit(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        """Send intents, and the ends of intents; True once Kafka has them. Raises what `look` raises."""
        known = self.committed
        topics = {tp.topic for tp, c in wanted.items() if c.metadata and known.get(tp) != c}
        if topics and self._look:
            self._look(topics)
        return super().commit({tp: c for tp, c in wanted.items() if c.metadata or known.get(tp, c).metadata})


class BoundedStarts(Starts):
    """Where the partitions of a replay are read from: what is committed, else where the range begins.

    Whatever is lost, nothing that is there is jumped over. `from_earliest`: before a partition was read, its range
    begins with what is there. `whole`: any other loss holds the partition, whatever the setting is.
    """

    def __init__(
        self, kafka: Kafka, ranges: Mapping[TopicPartition, Range], *, from_earliest: bool, whole: bool
    ) -> None:
        super().__init__(kafka)
        self._ranges, self._from_earliest, self._whole = ranges, from_earliest, whole
        self._on_loss = "halt" if whole or kafka.on_data_loss == "halt" else "earliest"
        self._short: set[TopicPartition] = set()  # those that end below their range

    def of(self, committed: Mapping[TopicPartition, Committed]) -> list[ClientPartition]:
        """Return the partitions with the offset to read from."""
        return [
            ClientPartition(*tp, c.offset if c.offset >= 0 else self._ranges[tp].start) for tp, c in committed.items()
        ]

    def hint(self, tp: TopicPartition) -> str:
        """Return the next step for a partition that is held."""
        return _FORGET if self._whole or tp in self._short else _GO_ON

    def _decide(self, tp: TopicPartition, wanted: int, low: int, high: int) -> int | None:
        """Judge what is lost of the range; what is gone behind its end is nobody's loss."""
        start, end = self._ranges[tp]
        if wanted >= end:
            return high
        if high < end:
            self._cut(tp, high)
            return None
        low = min(low, end)
        if low <= wanted:  # a leader that did not know of it yet: nothing is gone
            return wanted
        if self._from_earliest and wanted <= start:
            self.lost[tp.topic] += low - wanted
            log.warning("begins later, with what is there", at=str(tp), offset=low, lost=low - wanted)
            return low
        return super()._decide(tp, wanted, low, end)

    def look_whether_cut(self, tp: TopicPartition) -> None:
        """Hold a partition that has ended below its range, if its leader says so, too: nothing would ever come."""
        try:
            _, high = self.consumer.get_watermark_offsets(ClientPartition(*tp), timeout=_ANSWER_SECONDS)
        except KafkaException as e:
            log.info("could not look for the end of a partition", at=str(tp), error=e.args[0].str())
            return
        if high < self._ranges[tp].end:
            self._cut(tp, high)

    def _cut(self, tp: TopicPartition, high: int) -> None:
        reason = f"it ends at {high}, below {self._ranges[tp].end}: the topic was made anew, or cut"
        self.gone[tp] = reason
        self._short.add(tp)
        log.error("held partition", at=str(tp), reason=reason, hint=self.hint(tp))
