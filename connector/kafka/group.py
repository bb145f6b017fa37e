"""Owns a look at a group from outside: what it has committed of the topics of a configuration.

Never joins the group and never commits. Invariant: a partition that the group has not committed is not in the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.intents import Committed
from connector.core.offsets import TopicPartition
from connector.errors import SourceError
from connector.kafka.settings import make, question_properties
from connector.kafka.shares import takes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.config import Kafka

_SECONDS = 10.0


def committed_offsets(kafka: Kafka, topics: Sequence[str]) -> dict[TopicPartition, Committed]:
    """Return what `kafka.group` has committed of `topics` (names, or regular expressions that begin with `^`).

    Raises:
        SourceError: Kafka does not answer, or not to us.
    """
    consumer = make(Consumer, question_properties(kafka) | {"group.id": kafka.group, "enable.auto.commit": False})
    try:
        known = consumer.list_topics(timeout=_SECONDS).topics
        wanted = [t for t in known if any(takes(topic, t) for topic in topics)]
        asked = [ClientPartition(t, p) for t in sorted(wanted) for p in sorted(known[t].partitions)]
        found = consumer.committed(asked, timeout=_SECONDS) if asked else []
    except KafkaException as e:
        hint = "see what `kafka-celonis check` says of the brokers and the group"
        raise SourceError(f"cannot read what group {kafka.group} has committed: {e.args[0].str()}", hint=hint) from None
    finally:
        consumer.close()
    return {TopicPartition(p.topic, p.partition): Committed(p.offset, p.metadata or "") for p in found if p.offset >= 0}
