"""Owns what `kafka-celonis check` asks of Kafka: one question a function, each answered within PROBE_SECONDS or so.

Never joins the group, and never creates or changes anything. Invariant: a question without a good answer raises with
its cause and the setting or the right to mend.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AclOperation, ConfigResource, ResourceType

from connector.errors import SourceError
from connector.kafka.asking import PROBE_SECONDS, ask, describe, insist_on, judged, silent, worth_waiting
from connector.kafka.contact import Contact
from connector.kafka.ledger_topic import LedgerTopic
from connector.kafka.settings import at_once, consumer_properties, make

if TYPE_CHECKING:
    from confluent_kafka.admin import ClusterMetadata, ConsumerGroupDescription

    from connector.config import Kafka, Ledger

_NAMES_SHOWN = 5


def brokers_answer(kafka: Kafka) -> str:
    """Return how many brokers answer; raises SourceError, or ConfigError for a property that the client refuses."""
    cluster = _metadata(kafka)
    return f"{len(cluster.brokers)} broker(s) of cluster {cluster.cluster_id} answer"


def topic_exists(kafka: Kafka, topic: str) -> str:
    """Return what is there of `topic` (a name, or a regular expression that begins with `^`); raises SourceError."""
    if topic.startswith("^"):
        names = sorted(name for name in _metadata(kafka).topics if re.search(topic, name))
        if not names:
            hint = "create a topic, mend the expression in tables, or grant DESCRIBE: what we may not see cannot match"
            raise SourceError(f"no topic matches {topic}", hint=hint)
        return f"{len(names)} topic(s) match: {', '.join(names[:_NAMES_SHOWN])}{' …' * (len(names) > _NAMES_SHOWN)}"
    found = describe(kafka, topic, AclOperation.READ)
    if found is None:
        raise SourceError(f"topic {topic} does not exist", hint="create it, or mend its name in tables")
    return f"{len(found.partitions)} partition(s)"


def dead_letter_topic(kafka: Kafka) -> str:
    """Return whether the dead-letter topic takes rejects; raises SourceError."""
    name = kafka.dead_letter_topic or ""
    found = describe(kafka, name, AclOperation.WRITE)
    if found is not None:
        return f"{len(found.partitions)} partition(s)"
    if _created_by_broker(kafka):
        return "does not exist yet; the brokers create it with the first reject (auto.create.topics.enable)"
    command = f"kafka-topics.sh --bootstrap-server {kafka.brokers} --create --topic {name}"
    raise SourceError(
        f"topic {name} does not exist, and a reject would hold its partition",
        hint=f"{command}; or set kafka.dead_letter_topic to another topic, or to null to drop rejects",
    )


def ledger_topic(kafka: Kafka, ledger: Ledger) -> str:
    """Return what is there of the ledger's topic, or that it will be created; raises SourceError."""
    return LedgerTopic(kafka, ledger).check()


def group_readable(kafka: Kafka, group: str) -> str:
    """Return the state of `group`; raises SourceError when we may not read it."""
    about = f"group {group}"
    try:
        found: ConsumerGroupDescription = ask(
            kafka,
            lambda admin: admin.describe_consumer_groups(
                [group], include_authorized_operations=True, request_timeout=PROBE_SECONDS
            ),
        )
    except KafkaException as e:
        if e.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return "does not exist yet; it begins with the first commit"
        raise judged(e.args[0], about, f"grant READ on the {about}, or choose another kafka.group") from None
    insist_on(AclOperation.READ, found.authorized_operations, about)
    return f"{found.state.name.lower()}, {len(found.members)} member(s)"


def _metadata(kafka: Kafka) -> ClusterMetadata:
    contact = Contact(kafka.brokers)
    consumer = make(Consumer, consumer_properties(kafka) | at_once(kafka) | {"error_cb": contact.on_error})
    started = time.monotonic()
    try:
        while worth_waiting(contact, started):
            try:
                found: ClusterMetadata = consumer.list_topics(timeout=1.0)
                return found  # noqa: TRY300 - there is nothing else to do
            except KafkaException:
                consumer.poll(0)  # hands over why
                contact.insist()
    finally:
        consumer.close()
    raise silent(kafka, contact)


def _created_by_broker(kafka: Kafka) -> bool:
    """Return whether the brokers create topics that are written to; not where they do not tell."""
    broker = ConfigResource(ResourceType.BROKER, str(next(iter(_metadata(kafka).brokers))))
    try:
        entries = ask(kafka, lambda admin: admin.describe_configs([broker], request_timeout=PROBE_SECONDS))
    except KafkaException:
        return False
    entry = entries.get("auto.create.topics.enable")
    return entry is not None and entry.value == "true"
