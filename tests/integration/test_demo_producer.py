"""The producer of docker/compose.yaml, as a process of its own, on a real Kafka."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from connector.demo.process import ACTIVITIES, ORDERS
from connector.demo.producer import PARTITIONS
from connector.demo.registry import RegistryServer
from connector.demo.running import free_port
from tests.kafka_broker import SILENT, wait_for

if TYPE_CHECKING:
    from tests.kafka_broker import KafkaBroker


def _command(brokers: str, registry: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "connector.demo", "--brokers", brokers, "--registry", registry, *more]


def _count(kafka: KafkaBroker, topic: str) -> int:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "count", "logger": SILENT})
    try:
        ends = (consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in range(PARTITIONS[topic]))
        return sum(high for _, high in ends)
    finally:
        consumer.close()


def test_it_makes_its_topics_registers_its_schema_and_ends_when_asked(kafka: KafkaBroker) -> None:
    with RegistryServer() as registry:
        process = subprocess.Popen(_command(kafka.bootstrap, registry.url), stdout=subprocess.PIPE, text=True)
        try:
            topics = wait_for(lambda: PARTITIONS.keys() <= kafka.admin.list_topics(timeout=5).topics.keys())
            assert topics
            assert f"/subjects/{ORDERS}-value/versions" in wait_for(lambda: registry.requests)
            assert process.stdout is not None
            assert "telling 20 events/s" in process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            told, _ = process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait(10)
    assert process.returncode == 0
    assert re.fullmatch(r"told [\d,]+ events\n", told)
    there = kafka.admin.list_topics(timeout=5).topics
    assert {topic: len(there[topic].partitions) for topic in PARTITIONS} == PARTITIONS


def test_with_topics_that_are_there_it_tells_for_as_long_as_it_is_told(kafka: KafkaBroker) -> None:
    with RegistryServer() as registry:
        command = _command(kafka.bootstrap, registry.url, "--rate", "200", "--seconds", "0.5")
        _told(command)
        before = _count(kafka, ACTIVITIES), _count(kafka, ORDERS)
        told = _told(command)
    assert told > 0
    assert _count(kafka, ACTIVITIES) + _count(kafka, ORDERS) >= sum(before) + 2 * told


def _told(command: list[str]) -> int:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return int(re.findall(r"told (\d+) events", done.stdout)[0])


def test_a_registry_that_is_away_ends_it_with_a_line(kafka: KafkaBroker) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = subprocess.run(_command(kafka.bootstrap, nowhere), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"demo: {nowhere}: ")
    assert "Traceback" not in done.stderr
