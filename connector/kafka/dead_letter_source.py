"""Owns the dead letters as a source: those of some topics, up to where their topic ended, as the messages they were.

Never takes a letter off the topic, and never takes one without its value for a tombstone. Invariant: positions and
commits are those of the dead-letter topic, also behind letters that are passed over; each of these is counted with its
reason, and once, though what was read may be read again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from connector.core.messages import MessageBatch
from connector.core.revived import Revived, origin_of, value_dropped
from connector.kafka.bounded import BoundedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from connector.config import Kafka
    from connector.core.bounds import Range
    from connector.core.messages import Message
    from connector.core.offsets import TopicPartition

log = structlog.get_logger()


class DeadLetterSource(BoundedSource):
    """Reads `ranges` of a dead-letter topic; of the letters there those whose topic `belongs`.

    `passed_over` counts the others by reason: `other_topic`, `no_origin`, `no_value`.

    Raises:
        ConfigError: `kafka.properties` holds what the client does not take.
    """

    def __init__(
        self,
        kafka: Kafka,
        ranges: Mapping[TopicPartition, Range],
        belongs: Callable[[str], bool],
        *,
        from_earliest: bool = False,
    ) -> None:
        super().__init__(kafka, ranges, from_earliest=from_earliest)
        self._belongs = belongs
        self._counted: dict[int | None, int] = {}  # by partition of the topic: behind the last letter that was counted

    def poll(self, timeout: float) -> Sequence[MessageBatch]:
        """Return what has come within `timeout` seconds, one batch a dead-letter topic; raises SourceError."""
        batches = [self._revived(batch) for batch in super().poll(timeout)]
        return [batch for batch in batches if batch.messages]

    def _revived(self, batch: MessageBatch) -> MessageBatch:
        found = [revived for m in batch.messages if (revived := self._revive(m))]
        return MessageBatch.of(batch.topic, found)

    def _revive(self, message: Message) -> Revived | None:
        origin = origin_of(message)
        if origin is None:
            self._pass_over(message, "no_origin")
        elif not self._belongs(origin.topic):
            self._pass_over(message, "other_topic")
        elif not value_dropped(message):
            return Revived(message, origin)
        elif self._pass_over(message, "no_value"):
            hint = "its value was too large for the dead-letter topic: replay this offset of the topic itself"
            log.warning("passed over dead letter without value", origin=str(origin), hint=hint)
        return None

    def _pass_over(self, message: Message, reason: str) -> bool:
        """Count a letter that is passed over, and return True; False where it was counted already."""
        partition, offset = message.partition(), message.offset() or 0
        if offset < self._counted.get(partition, 0):
            return False
        self._counted[partition] = offset + 1
        self.passed_over[reason] += 1
        return True
