"""Owns the librdkafka properties of every client: what users may set, what the promises rest on, and the log.

Never opens a connection by itself. Invariant: what the promises rest on cannot be overridden.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from confluent_kafka import KafkaException

from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.config import Kafka

_FOR_ALL_CLIENTS = (
    "sasl.", "ssl.", "security.", "enable.ssl.", "enable.sasl.", "https.", "client.", "broker.", "socket.", "metadata.",
    "reconnect.", "connections.", "api.version.", "test.mock.", "debug", "log",
)  # fmt: skip
_SECRET = ("password", "secret", ".pem", "sasl.oauthbearer.config")
_LIBRARY_LOG = logging.getLogger("librdkafka")
_INTERNAL_TOPICS = "^__(consumer_offsets|transaction_state|share_group_state)$"

Properties = dict[str, Any]
Client = TypeVar("Client")


def consumer_properties(kafka: Kafka) -> Properties:
    """Return the properties of the consumer: throughput first, then the user's, then what is ours."""
    ours: Properties = {
        "bootstrap.servers": kafka.brokers,
        "group.id": kafka.group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,  # moves the position past markers and aborted transactions
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",  # connector.kafka.starts decides
        "statistics.interval.ms": 5000,  # looked at while the brokers are away only
        "logger": _LIBRARY_LOG,
    }
    if kafka.group_protocol == "consumer":
        ours["group.protocol"] = "consumer"  # the broker assigns, and decides about sessions and heartbeats
    else:
        ours["partition.assignment.strategy"] = "cooperative-sticky"
    if kafka.instance_id:
        ours["group.instance.id"] = kafka.instance_id
    return {
        **_DEFAULTS,
        "fetch.queue.backoff.ms": 10,  # the default of 1000 costs nine tenths of the throughput
        "queued.max.messages.kbytes": 12 * 1024,  # the most that is fetched ahead, in memory
        "fetch.max.bytes": 4 << 20,  # and the most that one answer adds to it; default 50 MiB
        "queued.min.messages": 50_000,
        "topic.metadata.refresh.interval.ms": 30_000,  # how soon a regular expression finds a new topic; default 300 s
        "topic.blacklist": _INTERNAL_TOPICS,  # they match `^.*`, too
        **kafka.properties,
        **ours,
    }


def client_properties(kafka: Kafka) -> Properties:
    """Return the properties of any other client of the same cluster: addresses, security, sockets."""
    shared = {k: v for k, v in kafka.properties.items() if k.startswith(_FOR_ALL_CLIENTS)}
    return {**_DEFAULTS, **shared, "bootstrap.servers": kafka.brokers, "logger": _LIBRARY_LOG}


def make(client: Callable[[Properties], Client], properties: Properties) -> Client:
    """Return a new client.

    Raises:
        ConfigError: librdkafka does not take a property, or cannot use the file that it names.
    """
    try:
        return client(properties)
    except KafkaException as e:
        raise ConfigError([f"kafka.properties: {_masked(e.args[0].str(), properties)}"]) from None


def _masked(text: str, properties: Properties) -> str:
    for name, value in properties.items():
        if isinstance(value, str) and value and any(word in name for word in _SECRET):
            text = text.replace(value, "***")
    return text


_DEFAULTS: Properties = {
    "client.id": "kafka-celonis",
    "reconnect.backoff.ms": 1000,  # default 100: brokers that refuse are tried, and logged, 20 times a second
    "socket.timeout.ms": 10_000,  # the default of 60 s is how long a broker that hangs would hold up its group
}
