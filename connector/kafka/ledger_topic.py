"""Owns the ledger's topic: that it is there, that it is made as the ledger needs it, and where to begin reading.

Never writes an entry, and never changes a topic that exists: a person may have reasons. Every call waits for the
brokers, so none is made by the pipeline's thread. Invariant: a topic that was found has one partition, and as far as
we may see its settings, they are right.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition
from confluent_kafka.admin import AclOperation, ConfigResource, NewTopic, OffsetSpec, ResourceType

from connector.errors import SourceError
from connector.kafka.asking import PROBE_SECONDS, Silence, ask, describe, judged
from connector.kafka.settings import ledger_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka.admin import ConfigEntry, TopicDescription

    from connector.config import Kafka, Ledger

log = structlog.get_logger()

_DAY_MS = 86_400_000
_SETTINGS = {
    "message.timestamp.type": "LogAppendTime",  # one clock for all entries, the broker's
    "retention.ms": str(7 * _DAY_MS),  # the ledger looks back for hours; the rest is for people
    "cleanup.policy": "delete",
}
_FORBIDDEN = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
_LOOK_AGAIN_SECONDS = 0.1  # after its creation a topic takes a moment to be seen


class Found(NamedTuple):
    """A topic that fits. `start` is the first offset to read, `end` the next one to be written when we asked.

    `id` is what the broker calls this topic and no other; `seen` is False where its settings are kept from us.
    """

    id: str
    start: int
    end: int
    seen: bool


class LedgerTopic:
    """The topic of `ledger`, on its own brokers or on those of `kafka`."""

    def __init__(self, kafka: Kafka, ledger: Ledger) -> None:
        self.kafka, self.section = ledger_cluster(kafka, ledger)
        self.name = ledger.topic
        self._replicas = ledger.replication_factor

    def find(self, since: float) -> Found:
        """Return the topic, with the first offset of `since` (seconds since the epoch); create it where it is missing.

        Raises:
            Silence: no broker answers.
            SourceError: it cannot be had, or is not as it must be; the hint is the next step.
        """
        described = self._described() or self._create()
        self._judge_partition(described)
        try:
            seen = self._judge_settings()
            end = self._offset(OffsetSpec.latest())  # type: ignore[no-untyped-call]  # first: nothing in between is missed
            start = self._offset(OffsetSpec.for_timestamp(max(0, round(since * 1000))))
        except KafkaException as e:
            raise judged(e.args[0], f"topic {self.name}", "the ledger will be looked for again") from None
        return Found(str(described.topic_id), min(start, end) if start >= 0 else end, end, seen)

    def check(self) -> str:
        """Return what is there of the topic, or that it can be created; raises SourceError like `find`."""
        described = self._described()
        if described is None:
            self._create_it(validate_only=True)
            return "does not exist yet; the service creates it at its start"
        self._judge_partition(described)
        try:
            seen = self._judge_settings()
        except KafkaException as e:
            raise judged(e.args[0], f"topic {self.name}", "grant DESCRIBE_CONFIGS on the topic") from None
        return "1 partition, settings fit" if seen else "1 partition; its settings are hidden: grant DESCRIBE_CONFIGS"

    def _described(self) -> TopicDescription | None:
        return describe(self.kafka, self.name, AclOperation.READ, AclOperation.WRITE, section=self.section)

    # --- creating ---------------------------------------------------------------------------------------------

    def _create(self) -> TopicDescription:
        self._create_it(validate_only=False)
        deadline = time.monotonic() + PROBE_SECONDS
        while time.monotonic() < deadline:
            described = self._described()
            if described is not None and described.partitions and described.partitions[0].leader is not None:
                return described
            time.sleep(_LOOK_AGAIN_SECONDS)
        raise Silence(f"topic {self.name} was created, and is not to be seen yet")

    def _create_it(self, *, validate_only: bool) -> None:
        new = NewTopic(self.name, num_partitions=1, replication_factor=self._replicas, config=dict(_SETTINGS))
        try:
            ask(
                self.kafka,
                lambda admin: admin.create_topics([new], request_timeout=PROBE_SECONDS, validate_only=validate_only),
                self.section,
            )
        except KafkaException as e:
            if e.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another replica was faster
                raise judged(e.args[0], f"topic {self.name} cannot be created", self._creation_hint()) from None
        else:
            if not validate_only:
                log.info("created topic of the ledger", topic=self.name, **{k: str(v) for k, v in _SETTINGS.items()})

    def _creation_hint(self) -> str:
        settings = " ".join(f"--config {name}={value}" for name, value in _SETTINGS.items())
        command = f"kafka-topics.sh --bootstrap-server {self.kafka.brokers} --create --topic {self.name}"
        return f"grant CREATE on the topic, mend budget.ledger, or create it: {command} --partitions 1 {settings}"

    # --- judging ----------------------------------------------------------------------------------------------

    def _judge_partition(self, described: TopicDescription) -> None:
        about = f"topic {self.name}"
        if (count := len(described.partitions)) != 1:
            command = f"kafka-topics.sh --bootstrap-server {self.kafka.brokers} --delete --topic {self.name}"
            hint = f"name another topic in budget.ledger.topic of all deployments, or let it be made anew: {command}"
            raise SourceError(f"{about} has {count} partitions, the ledger needs exactly 1", hint=hint)

    def _judge_settings(self) -> bool:
        """Return False where we may not see them; raises SourceError for what does not fit."""
        resource = ConfigResource(ResourceType.TOPIC, self.name)
        try:
            entries = ask(
                self.kafka,
                lambda admin: admin.describe_configs([resource], request_timeout=PROBE_SECONDS),
                self.section,
            )
        except KafkaException as e:
            if e.args[0].code() in _FORBIDDEN:
                return False
            raise
        if misfits := dict(_misfits(entries)):
            changes = ",".join(f"{name}={_SETTINGS[name]}" for name in misfits)
            command = f"kafka-configs.sh --bootstrap-server {self.kafka.brokers} --alter --entity-type topics"
            raise SourceError(
                f"topic {self.name}: {'; '.join(misfits.values())}",
                hint=f"{command} --entity-name {self.name} --add-config {changes}",
            )
        return True

    def _offset(self, spec: OffsetSpec) -> int:
        partition = ClientPartition(self.name, 0)
        found = ask(
            self.kafka,
            lambda admin: admin.list_offsets({partition: spec}, request_timeout=PROBE_SECONDS),
            self.section,
        )
        return int(found.offset)


def _misfits(entries: Mapping[str, ConfigEntry]) -> Iterator[tuple[str, str]]:
    """Yield each setting that the ledger cannot live with, and what it must be."""
    given = {name: str(entry.value) for name, entry in entries.items()}
    if (kind := given.get("message.timestamp.type")) != "LogAppendTime":
        yield "message.timestamp.type", f"message.timestamp.type is {kind}, it must be LogAppendTime"
    if not (kept := int(given.get("retention.ms", -1))) < 0 and kept < _DAY_MS:
        yield "retention.ms", f"retention.ms is {kept}, it must be {_DAY_MS} (a day) or more"
    if "compact" in (policy := given.get("cleanup.policy", "delete")):
        yield "cleanup.policy", f"cleanup.policy is {policy}, it must be delete"
