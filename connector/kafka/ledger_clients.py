"""Owns the two clients of the ledger, a producer and a consumer, that live and go together.

Never decides when they go. Invariant: once they are replaced nothing they say counts, and nothing they hold is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from confluent_kafka import Consumer, Producer

from connector.kafka.settings import ledger_consumer_properties, ledger_producer_properties, make
from connector.kafka.threads import begin

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError

    from connector.kafka.contact import Contact
    from connector.kafka.ledger_topic import LedgerTopic

log = structlog.get_logger()

FLUSH_SECONDS, CLOSE_SECONDS = 1.0, 2.0


class LedgerClients:
    """The clients of `topic`; `hear` takes their errors.

    Raises:
        ConfigError: the properties hold what the clients do not take.
    """

    def __init__(self, topic: LedgerTopic, hear: Callable[[KafkaError], None], contact: Contact) -> None:
        self._hear, self._contact = hear, contact
        self._counts = True
        ears = {"error_cb": self._on_error, "stats_cb": self._on_statistics}
        self.consumer = make(Consumer, ledger_consumer_properties(topic.kafka) | ears, topic.section)
        self.producer = make(Producer, ledger_producer_properties(topic.kafka) | ears, topic.section)

    def replace(self) -> None:
        """Let go of both, without waiting, and without sending what is not sent yet."""
        self._counts = False
        self.producer.purge(blocking=False)
        begin(self.producer.close, "ledger-producer-close")
        begin(self.consumer.close, "ledger-consumer-close")

    def close(self) -> None:
        """Send what waits, and let go of both, within FLUSH_SECONDS and CLOSE_SECONDS."""
        self.producer.flush(FLUSH_SECONDS)
        closer = begin(self.consumer.close, "ledger-close")
        closer.join(CLOSE_SECONDS)
        if closer.is_alive():
            log.warning("left the ledger without its brokers, which do not answer", seconds=CLOSE_SECONDS)

    def _on_error(self, error: KafkaError) -> None:
        if self._counts:
            self._hear(error)

    def _on_statistics(self, document: str) -> None:
        if self._counts:
            self._contact.on_statistics(document)
