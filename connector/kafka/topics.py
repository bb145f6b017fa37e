"""Owns which topics there are: names and regular expressions of the configuration against what the brokers list.

Never creates a topic. Invariant: whatever finds no topic is named with the next step.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException

from connector.errors import SourceError
from connector.kafka.settings import INTERNAL_TOPICS
from connector.kafka.shares import takes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient, TopicMetadata

_ANSWER_SECONDS = 10.0
HINT = "see what `kafka-celonis check` says of brokers and topics"


def listed(client: Consumer | AdminClient) -> Mapping[str, TopicMetadata]:
    """Return the topics that we may see; raises SourceError."""
    try:
        return client.list_topics(timeout=_ANSWER_SECONDS).topics
    except KafkaException as e:
        raise SourceError(f"the brokers do not list their topics: {e.args[0].str()}", hint=HINT) from None


def resolved(
    known: Mapping[str, TopicMetadata], wanted: Collection[str]
) -> tuple[Sequence[str], dict[str, SourceError]]:
    """Return the topics that `wanted` (names, or regular expressions that begin with `^`) means, and what is wrong."""
    topics: dict[str, None] = {}
    troubles = {}
    for name in wanted:
        found = sorted(t for t in known if takes(name, t) and not re.search(INTERNAL_TOPICS, t))
        topics |= dict.fromkeys(found)
        if not found and name.startswith("^"):
            hint = "create a topic, mend the expression in tables, or grant DESCRIBE: what we may not see cannot match"
            troubles[name] = SourceError(f"no topic matches {name}", hint=hint)
        elif not found:
            hint = "create it, mend its name in tables, or grant DESCRIBE on it"
            troubles[name] = SourceError(f"topic {name} does not exist, or we may not see it", hint=hint)
    return list(topics), troubles


def judged(topic: str, error: KafkaError) -> SourceError:
    """Return the error that says what the broker refused of a topic."""
    forbidden = error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    return SourceError(
        f"topic {topic}: {error.str()}", hint=f"grant READ and DESCRIBE on topic {topic}" if forbidden else HINT
    )
