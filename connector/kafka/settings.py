"""Owns the librdkafka properties of every client: what users may set, what the promises rest on, and the log.

Never opens a connection by itself. Invariant: what the promises rest on cannot be overridden.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from confluent_kafka import KafkaException

from connector.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.config import Kafka, Ledger

_FOR_ALL_CLIENTS = (
    "sasl.", "ssl.", "security.", "enable.ssl.", "enable.sasl.", "https.", "client.", "broker.", "socket.", "metadata.",
    "reconnect.", "connections.", "api.version.", "test.mock.", "debug", "log",
)  # fmt: skip
_SECRET = ("password", "secret", ".pem", "sasl.oauthbearer.config")
_LIBRARY_LOG = logging.getLogger("librdkafka")
_ONCE_BACKOFF = 100  # milliseconds, the client's default; ours spares brokers that are away
INTERNAL_TOPICS = "^__(consumer_offsets|transaction_state|share_group_state)$"

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
        "statistics.interval.ms": 5000,  # looked at while the brokers are away, or the group has not taken us in
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
        "topic.blacklist": INTERNAL_TOPICS,  # they match `^.*`, too
        **kafka.properties,
        **ours,
    }


def client_properties(kafka: Kafka) -> Properties:
    """Return the properties of any other client of the same cluster: addresses, security, sockets."""
    shared = {k: v for k, v in kafka.properties.items() if k.startswith(_FOR_ALL_CLIENTS)}
    return {**_DEFAULTS, **shared, "bootstrap.servers": kafka.brokers, "logger": _LIBRARY_LOG}


def question_properties(kafka: Kafka) -> Properties:
    """Return the properties of a client that asks once."""
    return client_properties(kafka) | at_once(kafka)


def at_once(kafka: Kafka) -> Properties:
    """Return what lets a client that asks once connect at once: at first, too, it waits for a backoff."""
    return {} if "reconnect.backoff.ms" in kafka.properties else {"reconnect.backoff.ms": _ONCE_BACKOFF}


class LedgerCluster(NamedTuple):
    """The cluster that holds the budget ledger, and the `section` of the configuration that says how to reach it."""

    kafka: Kafka
    section: str


def ledger_cluster(kafka: Kafka, ledger: Ledger) -> LedgerCluster:
    """Return where the ledger is: beside the messages, unless it has brokers of its own."""
    if ledger.brokers is None:
        return LedgerCluster(kafka, "kafka")
    there = {"brokers": ledger.brokers, "properties": ledger.properties}
    return LedgerCluster(kafka.model_copy(update=there), "budget.ledger")


def ledger_producer_properties(kafka: Kafka) -> Properties:
    """Return the properties of the producer of the ledger: at once, in order, once, and not much later than now."""
    return {
        **client_properties(kafka),
        "acks": "all",
        "enable.idempotence": True,
        "linger.ms": 0,
        "socket.nagle.disable": True,  # TCP would hold a small request back for up to 40 ms
        "message.timeout.ms": 5000,  # what was not taken by then must not come up later
        "allow.auto.create.topics": False,  # the brokers would create it with settings of their own
    }


def ledger_consumer_properties(kafka: Kafka) -> Properties:
    """Return the properties of the reader of the ledger, which is in no group and commits nothing."""
    return {
        **client_properties(kafka),
        "group.id": kafka.group,  # the client wants one; nothing is done with it
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "isolation.level": "read_uncommitted",
        "auto.offset.reset": "error",  # what is gone is to be noticed, and all to be read again
        "allow.auto.create.topics": False,
        "fetch.queue.backoff.ms": 10,
        "socket.nagle.disable": True,
        "queued.max.messages.kbytes": 1024,  # entries are small, and a start reads hours of them
        "statistics.interval.ms": 5000,  # looked at while the brokers are away only
    }


def make(client: Callable[[Properties], Client], properties: Properties, section: str = "kafka") -> Client:
    """Return a new client, whose properties stand in this section of the configuration.

    Raises:
        ConfigError: librdkafka does not take a property, or cannot use the file that it names.
    """
    try:
        return client(properties)
    except KafkaException as e:
        raise ConfigError([f"{section}.properties: {_masked(e.args[0].str(), properties)}"]) from None


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
