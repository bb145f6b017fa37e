"""Owns what a run stands on, whoever takes part: broker, registry, emulator, topics, producer, a look from outside.

Never starts a connector and never judges. Invariant: everything is a process or a thread that ends with `parts`.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connector.demo.registry import RegistryServer
from tests.chaos.emulator import EmulatorProcess
from tests.chaos.producing import Producing
from tests.chaos.workload import PARTITIONS, STREAMS
from tests.kafka_broker import SILENT, KafkaBroker

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path


class Ground:
    """Where connectors of `group` stream; `folder` keeps data and logs."""

    broker: KafkaBroker
    emulator: EmulatorProcess
    producing: Producing

    def __init__(self, folder: Path, group: str) -> None:
        self.folder, self.group, self.key = folder, group, uuid.uuid4().hex

    def lay(self, parts: ExitStack, emulator_options: Sequence[str] | None = None) -> None:
        """Start all but the emulator and the producer, and make the topics."""
        (self.folder / "kafka").mkdir(parents=True)
        self.broker = parts.enter_context(KafkaBroker(self.folder / "kafka"))
        self.registry = parts.enter_context(RegistryServer())
        self.emulator = parts.enter_context(EmulatorProcess(self.folder, self.key, emulator_options))
        self.topics = {s.name: self.broker.create_topic(PARTITIONS, f"chaos.{s.name}") for s in STREAMS}
        self.dead_letters = self.broker.create_topic(name="chaos.dead-letters")

    def produce(self, parts: ExitStack, *, messages: int, seconds: float, seed: int) -> None:
        """Begin to write `messages` to each stream within `seconds`."""
        brokers, topics, registry = self.broker.bootstrap, self.topics, self.registry
        made = Producing(brokers, topics, registry, count=messages, seconds=seconds, seed=seed)
        self.producing = parts.enter_context(made)

    def open_partitions(self) -> dict[str, str]:
        """Return the partitions whose end is not committed, or that carry an intent, and how they stand."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": self.group, "logger": SILENT})
        try:
            return self._open(consumer)
        except KafkaException as e:
            return {"all": e.args[0].str()}
        finally:
            consumer.close()

    def _open(self, consumer: Consumer) -> dict[str, str]:
        wanted = [TopicPartition(topic, p) for topic in self.topics.values() for p in range(PARTITIONS)]
        found = {}
        for at in consumer.committed(wanted, timeout=10):
            _, end = consumer.get_watermark_offsets(TopicPartition(at.topic, at.partition), timeout=10)
            if max(at.offset, 0) != end or at.metadata:
                found[f"{at.topic}[{at.partition}]"] = f"{at.offset} of {end} {at.metadata or ''}".strip()
        return found

    def ends(self, name: str) -> int:
        """Return how many messages Kafka has of a stream."""
        consumer = Consumer({"bootstrap.servers": self.broker.bootstrap, "group.id": "look", "logger": SILENT})
        partitions = [TopicPartition(self.topics[name], p) for p in range(PARTITIONS)]
        try:
            return sum(consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions)
        finally:
            consumer.close()
