"""Owns the floor of every consumer in Python: read value, partition and offset of each message, and do nothing else.

Run as `python -m benchmarks.floor BROKERS TOPIC COUNT`; prints the CPU seconds (user and system, all threads).
"""

from __future__ import annotations

import sys
import time
import uuid

from confluent_kafka import Consumer


def main(brokers: str, topic: str, count: int) -> None:
    """Read `count` messages of `topic` in a group of its own."""
    began = time.process_time()
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe([topic])
    seen = 0
    while seen < count:
        messages = consumer.consume(10_000, 0.1)
        seen += sum(1 for m in messages if (m.value(), m.partition(), m.offset()))
    consumer.close()
    print(time.process_time() - began)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
