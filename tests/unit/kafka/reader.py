"""Owns the small helpers of the tests around Kafka: a listener that keeps what it is told, settings, waiting polls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.config import Kafka
from connector.core.intents import Committed
from connector.core.offsets import TopicPartition
from connector.kafka.bounded import BoundedSource
from connector.kafka.source import KafkaSource
from tests.kafka_broker import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from connector.core.bounds import Range
    from connector.core.messages import MessageBatch

QUICK = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500, "fetch.wait.max.ms": 50}


def settings(brokers: str, group: str = "group", **changes: object) -> Kafka:
    """Return settings that let groups move fast."""
    properties = QUICK | dict(changes.pop("properties", {}))  # type: ignore[call-overload]
    return Kafka.model_validate({"brokers": brokers, "group": group, "properties": properties} | changes)


class Listener:
    """Keeps what it is told; `on_revoked` and `on_assigned` are called on top."""

    def __init__(self) -> None:
        self.events: list[tuple[str, list[TopicPartition]]] = []
        self.on_assigned: Callable[[Mapping[TopicPartition, Committed]], object] = len
        self.on_revoked: Callable[[Collection[TopicPartition]], object] = len

    def names(self) -> list[str]:
        return [name for name, partitions in self.events if partitions]

    def assigned(self, committed: Mapping[TopicPartition, Committed]) -> Collection[TopicPartition]:
        self.events.append(("assigned", sorted(committed)))
        self.on_assigned(committed)
        return [tp for tp, known in committed.items() if known.metadata]

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        self.events.append(("revoked", sorted(partitions)))
        self.on_revoked(partitions)

    def lost(self, partitions: Collection[TopicPartition]) -> None:
        self.events.append(("lost", sorted(partitions)))


class Reader:
    """A source that is polled by hand; `offsets` of all messages that came, by partition, in their order."""

    def __init__(self, kafka: Kafka, *topics: str) -> None:
        self._begin(KafkaSource(kafka))
        self.source.subscribe(topics, self.listener)

    def _begin(self, source: KafkaSource) -> None:
        self.source = source
        self.listener = Listener()
        self.offsets: dict[TopicPartition, list[int]] = {}
        self.values: list[bytes | None] = []

    def poll(self, timeout: float = 0.05) -> list[MessageBatch]:
        """Poll once, and keep what came."""
        batches = list(self.source.poll(timeout))
        for batch in batches:
            self.values += batch.values
            for partition, offset in zip(batch.partitions.tolist(), batch.offsets.tolist(), strict=True):
                self.offsets.setdefault(TopicPartition(batch.topic, partition), []).append(offset)
        return batches

    def until(self, reached: Callable[[], object], seconds: float = 30.0) -> None:
        """Poll until `reached` is true."""
        wait_for(lambda: reached() or (self.poll(), reached())[1], seconds)

    def until_at(self, tp: TopicPartition, position: int) -> None:
        """Poll until the partition is read up to `position`."""
        self.until(lambda: self.source.positions.get(tp) == position)

    def polls(self, count: int) -> None:
        """Poll `count` times, whatever comes."""
        for _ in range(count):
            self.poll()

    def commit(self) -> None:
        """Commit all positions, and poll until Kafka has them."""
        self.until(lambda: self.source.commit(self.at_positions()))

    def at_positions(self) -> dict[TopicPartition, Committed]:
        """Return the commit of all positions."""
        return {tp: Committed(position) for tp, position in self.source.positions.items()}


class BoundedReader(Reader):
    """The same over a source that ends; nothing is held back but what has reached its end."""

    def __init__(
        self,
        kafka: Kafka,
        ranges: Mapping[TopicPartition, Range],
        kind: type[BoundedSource] = BoundedSource,
        *,
        from_earliest: bool = False,
    ) -> None:
        self.bounded = kind(kafka, ranges, from_earliest=from_earliest)
        self._begin(self.bounded)
        self.bounded.join(self.listener)

    def until_finished(self) -> None:
        """Poll until all of the ranges is read."""
        self.until(lambda: self.bounded.finished)
