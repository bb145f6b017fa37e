"""Owns the librdkafka properties of every client: what users may set, what the promises rest on, and the log.

Never opens a connection. Invariant: what the promises rest on cannot be overridden.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from connector.config import Kafka

_FOR_ALL_CLIENTS = ("sasl.", "ssl.", "security.", "client.", "broker.", "socket.", "metadata.", "test.mock.", "debug")
_LIBRARY_LOG = logging.getLogger("librdkafka")

Properties = dict[str, Any]


def consumer_properties(kafka: Kafka) -> Properties:
    """Return the properties of the consumer: throughput first, then the user's, then what is ours."""
    ours: Properties = {
        "bootstrap.servers": kafka.brokers,
        "group.id": kafka.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,  # moves the position past markers and aborted transactions
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
        "auto.offset.reset": kafka.start,
        "logger": _LIBRARY_LOG,
    }
    if kafka.instance_id:
        ours["group.instance.id"] = kafka.instance_id
    return {
        "client.id": "kafka-celonis",
        "fetch.queue.backoff.ms": 10,  # the default of 1000 costs nine tenths of the throughput
        "queued.max.messages.kbytes": 32 * 1024,  # the most that is fetched ahead, in memory
        "queued.min.messages": 50_000,
        **kafka.properties,
        **ours,
    }


def client_properties(kafka: Kafka) -> Properties:
    """Return the properties of any other client of the same cluster: addresses, security, sockets."""
    shared = {k: v for k, v in kafka.properties.items() if k.startswith(_FOR_ALL_CLIENTS)}
    return {"client.id": "kafka-celonis", **shared, "bootstrap.servers": kafka.brokers, "logger": _LIBRARY_LOG}
