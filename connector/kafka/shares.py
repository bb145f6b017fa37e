"""Owns how many partitions all topics have that a group reads, and which are not there; asked in a thread of its own.

Never joins a group. Invariant: what is told is what the brokers said last; 0 until they said anything.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from connector.kafka.settings import INTERNAL_TOPICS, client_properties, make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.config import Kafka

log = structlog.get_logger()

ASK_SECONDS = 30.0  # between two questions; a topic that is new counts no later
FIRST_SECONDS = 1.0  # while nothing is known; twice as long each time while a topic is not there
_ANSWER_SECONDS = 5.0


class PartitionCount:
    """Counts the partitions of `topics` (names, or regular expressions that begin with `^`)."""

    def __init__(self, kafka: Kafka, topics: Sequence[str]) -> None:
        self._kafka, self._topics = kafka, tuple(topics)
        self._stop = threading.Event()
        self.total = 0
        self.absent: tuple[str, ...] | None = None  # of `topics`; None while no broker has answered
        threading.Thread(target=self._count, name="kafka-partitions", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _count(self) -> None:
        pause = 0.0
        while not self._stop.is_set():
            try:
                self.total = self._ask()
            except KafkaException as e:
                if not self._stop.is_set():
                    log.info("could not count partitions", error=e.args[0].str())
            pause = pause_after(pause, self.total, self.absent)
            self._stop.wait(pause)

    def _ask(self) -> int:
        """Ask with a client of its own: one that lives on with an unanswered question can bring the process down."""
        known = make(AdminClient, client_properties(self._kafka)).list_topics(timeout=_ANSWER_SECONDS).topics
        readable = [topic for topic in known if not re.search(INTERNAL_TOPICS, topic)]
        self._tell(tuple(p for p in self._topics if not any(takes(p, topic) for topic in readable)))
        return sum(len(known[topic].partitions) for topic in readable if any(takes(p, topic) for p in self._topics))

    def _tell(self, absent: tuple[str, ...]) -> None:
        """Write down, once, what is not there, and that it came."""
        before, self.absent = self.absent or (), absent
        for topic in absent:
            if topic not in before:
                log.warning("found no topic", topic=topic, reason=why_absent(topic))
        for topic in before:
            if topic not in absent:
                log.info("found topic", topic=topic)


def pause_after(pause: float, total: int, absent: Sequence[str] | None) -> float:
    """Return the seconds until the next question; `pause` were those before the last, which found the others."""
    if absent:
        return min(max(2 * pause, FIRST_SECONDS), ASK_SECONDS)
    return ASK_SECONDS if total else FIRST_SECONDS


def why_absent(pattern: str) -> str:
    """Return what is to be said of a name, or a regular expression that begins with `^`, of which Kafka has none."""
    if pattern.startswith("^"):
        return "matches no topic yet: create one, mend it in tables, or grant DESCRIBE"
    return "does not exist: create it, mend its name in tables, or grant DESCRIBE"


def takes(pattern: str, topic: str) -> bool:
    """Return whether `pattern`, a name or a regular expression that begins with `^`, takes `topic`."""
    return re.search(pattern, topic) is not None if pattern.startswith("^") else pattern == topic
