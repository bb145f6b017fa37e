"""The embedded cluster: real clients of any process use it, and nothing of it stays."""

from __future__ import annotations

import subprocess
import sys

import pytest
from confluent_kafka import Producer

from connector.errors import ConnectorError
from connector.kafka.embedded import EmbeddedCluster

_COUNT = """
import sys
from confluent_kafka import Consumer, TopicPartition
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": "count"})
print([consumer.get_watermark_offsets(TopicPartition("orders", p), timeout=10)[1] for p in range(3)])
consumer.close()
"""


def test_another_process_reads_what_was_produced_to_each_partition() -> None:
    with EmbeddedCluster() as cluster:
        cluster.create_topic("orders", 3)
        producer = Producer({"bootstrap.servers": cluster.bootstrap})
        for partition in (0, 0, 2):
            producer.produce("orders", b"x", partition=partition)
        assert producer.flush(10) == 0
        done = subprocess.run(
            [sys.executable, "-c", _COUNT, cluster.bootstrap], capture_output=True, timeout=60, check=True
        )
    assert done.stdout.strip() == b"[2, 0, 1]"


def test_a_topic_that_exists_is_refused() -> None:
    with EmbeddedCluster() as cluster:
        cluster.create_topic("orders", 1)
        with pytest.raises(ConnectorError, match="already exists"):
            cluster.create_topic("orders", 1)


def test_two_clusters_live_side_by_side() -> None:
    with EmbeddedCluster() as one, EmbeddedCluster(brokers=2) as other:
        assert len({one.bootstrap, *other.bootstrap.split(",")}) == 3
