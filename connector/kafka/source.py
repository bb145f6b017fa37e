"""Owns the consumer: its group, the positions of its partitions, and what it has committed.

Never decodes, and never decides what is safe to commit. Invariant: every call to the client is made from one thread; a
position is the next offset to read, and exists only for partitions that are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.messages import MessageBatch
from connector.core.offsets import TopicPartition
from connector.errors import SourceError
from connector.kafka.settings import consumer_properties

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from confluent_kafka import Message

    from connector.config import Kafka

log = structlog.get_logger()

_FATAL = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "grant READ and DESCRIBE on the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "grant READ on the group, kafka.group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "grant the cluster permission that the broker names",
    KafkaError.SASL_AUTHENTICATION_FAILED: "check sasl.username and sasl.password in kafka.properties",
    KafkaError._AUTHENTICATION: "check the sasl.* and ssl.* settings in kafka.properties",  # noqa: SLF001
    KafkaError._SSL: "check the ssl.* settings in kafka.properties",  # noqa: SLF001
    KafkaError.FENCED_INSTANCE_ID: "give every replica a kafka.instance_id of its own",
    KafkaError.UNSUPPORTED_VERSION: "use a broker of version 2.4 or later",
}
_AWAY = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE}  # noqa: SLF001


class Assignments(Protocol):
    """Who is told when partitions come and go."""

    def assigned(self, partitions: Collection[TopicPartition]) -> None: ...  # noqa: D102 - see connector.ports
    def revoked(self, partitions: Collection[TopicPartition]) -> None: ...  # noqa: D102
    def lost(self, partitions: Collection[TopicPartition]) -> None: ...  # noqa: D102


class KafkaSource:
    """The consumer of one group. `away` says why the brokers cannot be reached, as far as the client knows."""

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._consumer = Consumer(consumer_properties(kafka) | {"error_cb": self._on_error})
        self._listener: Assignments | None = None
        self._committed: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._failure: SourceError | None = None
        self.positions: dict[TopicPartition, int] = {}
        self.assigned: set[TopicPartition] = set()
        self.joined = False
        self.away: str | None = None

    def subscribe(self, topics: Sequence[str], listener: Assignments) -> None:
        """Join the group, reading `topics` (names, or regular expressions that begin with `^`)."""
        self._listener = listener
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def poll(self, timeout: float) -> Sequence[MessageBatch]:
        """Return what has come within `timeout` seconds, one batch a topic; raises SourceError."""
        messages = self._consumer.consume(self._kafka.poll_messages, timeout)
        if self._failure:
            raise self._failure
        by_topic: dict[str, list[Message]] = {}
        for message in messages:
            if message.error() is None:
                by_topic.setdefault(message.topic(), []).append(message)  # type: ignore[arg-type]
            else:
                self._take_error(message)
        batches = [MessageBatch.of(topic, found) for topic, found in by_topic.items()]
        return [ours for batch in batches if (ours := self._ours(batch))]

    def _ours(self, batch: MessageBatch) -> MessageBatch | None:
        """Move the positions past `batch`, leaving out partitions that went away while it was fetched."""
        gone = [span for span in batch.spans if span.range.tp not in self.assigned]
        if gone:
            kept = [m for m in batch.messages if TopicPartition(batch.topic, m.partition() or 0) in self.assigned]
            batch = MessageBatch.of(batch.topic, kept)
        for r in batch.ranges:
            self.positions[r.tp] = r.end
        if batch.messages:
            self.away = None
        return batch if batch.messages else None

    def _take_error(self, message: Message) -> None:
        error = message.error()
        if error is None:
            return
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            tp = TopicPartition(message.topic() or "", message.partition() or 0)
            if tp in self.assigned:
                self.positions[tp] = message.offset() or 0
            self.away = None
            return
        self._on_error(error, message.topic())
        if self._failure:
            raise self._failure

    def _on_error(self, error: KafkaError, topic: str | None = None) -> None:
        """Take an error of the client in; what is fatal is raised by the next poll."""
        about = f"topic {topic}" if topic else f"brokers {self._kafka.brokers}"
        hint = _FATAL.get(error.code())
        if error.fatal() or hint:
            self._failure = SourceError(f"Kafka refuses for good ({about}): {error.str()}", hint=hint or "")
        elif error.code() in _AWAY:
            if self.away is None:
                log.warning("lost brokers, the client keeps trying", brokers=self._kafka.brokers, error=error.str())
            self.away = error.str()
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning("found no such topic yet", topic=topic, error=error.str())
        else:
            log.warning("took error of the Kafka client", about=about, code=error.name(), error=error.str())

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read these partitions again from these offsets."""
        for tp, offset in offsets.items():
            if tp in self.assigned:
                self._consumer.seek(ClientPartition(tp.topic, tp.partition, offset))
                self.positions[tp] = offset

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Let exactly these partitions be paused; only what changes is sent to the client."""
        wanted = set(partitions) & self.assigned
        if wanted == self._paused:
            return
        if fresh := wanted - self._paused:
            self._consumer.pause([ClientPartition(*tp) for tp in fresh])
        if over := self._paused - wanted:
            self._consumer.resume([ClientPartition(*tp) for tp in over])
        self._paused = wanted

    def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit next offsets synchronously, those that moved; False when Kafka did not take all of them."""
        moved = {tp: o for tp, o in offsets.items() if tp in self.assigned and o > self._committed.get(tp, -1)}
        if not moved:
            return True
        request = [ClientPartition(tp.topic, tp.partition, o, metadata="") for tp, o in moved.items()]
        try:
            results = self._consumer.commit(offsets=request, asynchronous=False) or []
        except KafkaException as e:
            self._refused(e.args[0], moved)
            return False
        for result in results:
            if result.error is None:
                self._committed[TopicPartition(result.topic, result.partition)] = result.offset
            else:
                self._refused(result.error, moved)
        return all(result.error is None for result in results)

    def _refused(self, error: KafkaError, offsets: Mapping[TopicPartition, int]) -> None:
        self._on_error(error) if error.fatal() or error.code() in _FATAL else None
        log.warning("could not commit, trying again", partitions=len(offsets), code=error.name(), error=error.str())

    def lag(self) -> Mapping[TopicPartition, int]:
        """Return the messages between position and end, as of the last fetch."""
        lags = {}
        for tp, position in self.positions.items():
            _, high = self._consumer.get_watermark_offsets(ClientPartition(*tp), cached=True)
            if high >= 0:
                lags[tp] = max(0, high - position)
        return lags

    def close(self) -> None:
        """Leave the group; partitions are revoked on the way."""
        self._consumer.close()

    # --- who owns what ----------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        self.joined = True
        known = consumer.committed(partitions, timeout=30) if partitions else []
        for p in known:
            tp = TopicPartition(p.topic, p.partition)
            self.assigned.add(tp)
            if p.offset != OFFSET_INVALID and p.offset >= 0:
                self._committed[tp] = p.offset
                self.positions[tp] = p.offset
        consumer.incremental_assign(partitions)
        if self._listener:
            self._listener.assigned([TopicPartition(p.topic, p.partition) for p in partitions])

    def _on_revoke(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        tps = [TopicPartition(p.topic, p.partition) for p in partitions]
        if self._listener:
            self._listener.revoked(tps)
        self._forget(tps)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        tps = [TopicPartition(p.topic, p.partition) for p in partitions]
        self._forget(tps)
        if self._listener:
            self._listener.lost(tps)
        consumer.incremental_unassign(partitions)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for tp in partitions:
            self.assigned.discard(tp)
            self._paused.discard(tp)
            self.positions.pop(tp, None)
            self._committed.pop(tp, None)
