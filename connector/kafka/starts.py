"""Owns where a partition is read from when nothing is committed of it, or when what is committed is gone.

Never jumps in silence: every gap is measured and written down, and by default it holds the partition. Invariant: an
offset that this room chooses is one that the partition has.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.offsets import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from confluent_kafka import Consumer

    from connector.config import Kafka
    from connector.core.intents import Committed

log = structlog.get_logger()

_ANSWER_SECONDS = 5.0
DATA_LOSS_HINT = "set kafka.on_data_loss to earliest or latest and restart, or move the group's offset of the partition"


class Starts:
    """The starting offsets of one consumer, which is handed over once it exists.

    `gone` says why partitions stand still, `lost` counts by topic the messages that nobody read. `looking_up` has the
    partitions whose first offset the client still asks for: the answer would undo a seek that it took before.
    """

    consumer: Consumer

    def __init__(self, kafka: Kafka) -> None:
        self._start, self._on_loss = kafka.start, kafka.on_data_loss
        self._start_ms = kafka.start_milliseconds
        self.gone: dict[TopicPartition, str] = {}
        self.lost: Counter[str] = Counter()
        self.looking_up: set[TopicPartition] = set()

    def of(self, committed: Mapping[TopicPartition, Committed]) -> list[ClientPartition]:
        """Return the partitions with the offset to read from: what is committed, else as `kafka.start` says."""
        known = [ClientPartition(*tp, c.offset) for tp, c in committed.items() if c.offset >= 0]
        new = self._of_new([tp for tp, c in committed.items() if c.offset < 0])
        self.looking_up.update(TopicPartition(p.topic, p.partition) for p in new if p.offset < 0)
        return known + new

    def _of_new(self, partitions: Collection[TopicPartition]) -> list[ClientPartition]:
        if partitions and self._start_ms is not None:
            return self._from_time(partitions, self._start_ms)
        logical = OFFSET_END if self._start == "latest" else OFFSET_BEGINNING
        return [ClientPartition(*tp, logical) for tp in partitions]

    def _from_time(self, partitions: Collection[TopicPartition], milliseconds: int) -> list[ClientPartition]:
        asked = [ClientPartition(*tp, milliseconds) for tp in partitions]
        try:
            return self.consumer.offsets_for_times(asked, timeout=_ANSWER_SECONDS)
        except KafkaException as e:
            log.warning("could not look up kafka.start, reading from the beginning", error=e.args[0].str())
            return [ClientPartition(*tp, OFFSET_BEGINNING) for tp in partitions]

    def found(self, partitions: Iterable[TopicPartition]) -> None:
        """Take note that something of these partitions has come."""
        if self.looking_up:
            self.looking_up.difference_update(partitions)

    def after_loss(self, tp: TopicPartition, wanted: int) -> int | None:
        """Return the offset to go on from, now that Kafka does not have `wanted`; None holds the partition."""
        try:
            low, high = self.consumer.get_watermark_offsets(ClientPartition(*tp), timeout=_ANSWER_SECONDS)
        except KafkaException as e:
            self.gone[tp] = f"offset {wanted} is gone, and the broker does not say what is there: {e.args[0].str()}"
            log.error("held partition", at=str(tp), reason=self.gone[tp], hint=self.hint(tp))
            return None
        return self._decide(tp, wanted, low, high)

    def hint(self, tp: TopicPartition) -> str:  # noqa: ARG002 - of a replay it depends on the partition
        """Return the next step for a partition that is held."""
        return DATA_LOSS_HINT

    def _decide(self, tp: TopicPartition, wanted: int, low: int, high: int) -> int | None:
        where = low if self._on_loss == "earliest" else high
        gap = max(0, where - wanted) if self._on_loss != "halt" else max(0, low - wanted)
        reason = (
            f"messages {wanted} to {low - 1} were deleted before they were read"
            if wanted < low
            else f"offset {wanted} is beyond the end, {high}: the topic was made anew, or cut"
        )
        self.lost[tp.topic] += gap
        if self._on_loss == "halt":
            self.gone[tp] = reason
            log.error("held partition", at=str(tp), reason=reason, lost=gap, hint=self.hint(tp))
            return None
        log.error("lost messages, going on", at=str(tp), reason=reason, lost=gap, offset=where)
        return where

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Know nothing more of partitions that are no longer ours."""
        self.looking_up.difference_update(partitions)
        for tp in partitions:
            self.gone.pop(tp, None)
