"""Owns who a cluster and its topics are: the ids that Kafka gave them, by which a copy or a namesake is told.

Never decides what a difference means. Invariant: an id that cannot be had is empty, and asked for again later; what is
known once is kept, since a running consumer would notice a topic that is made anew.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from connector.kafka.settings import client_properties, make

if TYPE_CHECKING:
    from collections.abc import Callable

    from connector.config import Kafka

log = structlog.get_logger()

_ANSWER_SECONDS = 2.0  # the loop waits for it, once for each topic
_ASK_AGAIN_SECONDS = 600.0


class Identity:
    """The ids of one cluster; `clock` gives monotonic seconds."""

    def __init__(self, kafka: Kafka, clock: Callable[[], float] = time.monotonic) -> None:
        self._kafka = kafka
        self._clock = clock
        self._cluster = ""
        self._topics: dict[str, str] = {}
        self._silent_until = 0.0

    def cluster(self) -> str:
        """Return the cluster's id, empty where it is not known."""
        if not self._cluster and self._may_ask():
            self._cluster = self._ask(lambda admin: admin.list_topics("", timeout=_ANSWER_SECONDS).cluster_id or "")
        return self._cluster

    def topic(self, name: str) -> str:
        """Return the id of the topic, empty where it is not known."""
        if name not in self._topics and self._may_ask() and (found := self._ask(lambda admin: _topic_id(admin, name))):
            self._topics[name] = found
        return self._topics.get(name, "")

    def _may_ask(self) -> bool:
        return self._clock() >= self._silent_until

    def _ask(self, question: Callable[[AdminClient], str]) -> str:
        """Ask with a client of its own: one that lives on with an unanswered question can bring the process down."""
        try:
            return question(make(AdminClient, client_properties(self._kafka)))
        except (KafkaException, TimeoutError) as e:
            self._silent_until = self._clock() + _ASK_AGAIN_SECONDS
            log.info("could not learn the ids of the cluster and its topics", error=str(e))
            return ""


def _topic_id(admin: AdminClient, name: str) -> str:
    answers = admin.describe_topics(TopicCollection([name]), request_timeout=_ANSWER_SECONDS)
    return str(answers[name].result(_ANSWER_SECONDS).topic_id)
