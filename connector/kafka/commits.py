"""Owns what Kafka has committed of the partitions that are ours, and the one commit that may be on its way.

Never decides what is safe to commit, and never waits for a broker: a commit is sent, and known to be taken once Kafka
has said so on the thread that polls. Invariant: no commit overtakes another, none goes back further than a person has
ordered, and after one whose fate is unknown Kafka is asked before the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.intents import Committed
from connector.core.offsets import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from confluent_kafka import Consumer

    from connector.kafka.contact import Contact

log = structlog.get_logger()

NOTHING = Committed(-1)
_SURELY_REFUSED = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.OFFSET_METADATA_TOO_LARGE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}
_FINAL = (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.FENCED_INSTANCE_ID)


class Commits:
    """The commits of one consumer, which is handed over once it exists."""

    consumer: Consumer

    def __init__(self, contact: Contact) -> None:
        self._contact = contact
        self._sending: dict[TopicPartition, Committed] = {}  # what the commit on its way says
        self._in_flight = False
        self.unsure: set[TopicPartition] = set()  # what is committed of them must be asked of Kafka
        self.known: dict[TopicPartition, Committed] = {}
        self._back: dict[TopicPartition, int] = {}  # how far back the next commit may go

    @property
    def busy(self) -> bool:
        """Whether a commit is on its way, or one failed in a way that does not tell what became of it."""
        return self._in_flight or bool(self.unsure)

    def offer(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        """Send, in one request, what differs from what Kafka has; True once it has all of `wanted`."""
        missing = {tp: c for tp, c in wanted.items() if self._goes_on(tp, c)}
        if missing and not self.busy and self._contact.away is None:
            self._send(missing)  # while brokers are away the client would keep it until others may own the partition
        return not missing

    def let_back(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Let the next commits of these partitions go back, to these offsets at most."""
        self._back.update(offsets)

    def _goes_on(self, tp: TopicPartition, wanted: Committed) -> bool:
        known = self.known.get(tp, NOTHING)
        return wanted != known and wanted.offset >= min(known.offset, self._back.get(tp, known.offset))

    def _know(self, tp: TopicPartition, committed: Committed) -> None:
        self.known[tp] = committed
        if committed.offset <= self._back.get(tp, -1):
            del self._back[tp]

    def _send(self, wanted: Mapping[TopicPartition, Committed]) -> None:
        request = [ClientPartition(tp.topic, tp.partition, c.offset, metadata=c.metadata) for tp, c in wanted.items()]
        try:
            self.consumer.commit(offsets=request, asynchronous=True)
        except KafkaException as e:
            self._refused(e.args[0], wanted)
        else:
            self._in_flight, self._sending = True, dict(wanted)

    def on_commit(self, error: KafkaError | None, partitions: list[ClientPartition]) -> None:
        """Take in what Kafka says of the commit; it may take some partitions and refuse others."""
        sent, self._sending, self._in_flight = self._sending, {}, False
        refused: list[TopicPartition] = []
        for p in partitions:
            tp = TopicPartition(p.topic, p.partition)
            if tp not in sent:
                continue  # it went away meanwhile
            if (p.error or error) is None:
                self._know(tp, sent[tp])
            else:
                refused.append(tp)
                error = error or p.error
        if error is None:
            self._contact.reached()
        elif refused:
            self._refused(error, refused)

    def _refused(self, error: KafkaError, partitions: Collection[TopicPartition]) -> None:
        """Offer it again, where Kafka has surely not taken it; else ask what it has: a timeout does not tell."""
        if error.code() not in _SURELY_REFUSED:
            self.unsure.update(partitions)
        log.warning("could not commit, trying again", partitions=len(partitions), code=error.name(), error=error.str())
        if error.fatal() or error.code() in _FINAL:
            self._contact.on_error(error)

    def read(self, partitions: Collection[TopicPartition], seconds: float) -> dict[TopicPartition, Committed]:
        """Return what is committed of `partitions`; nothing at all when Kafka does not tell within `seconds`."""
        if not partitions:
            return {}
        try:
            found = self.consumer.committed([ClientPartition(*tp) for tp in partitions], timeout=seconds)
        except KafkaException as e:
            log.warning("could not read committed offsets, asking again", code=e.args[0].name(), error=e.args[0].str())
            return {}
        return {
            TopicPartition(p.topic, p.partition): Committed(p.offset, p.metadata or "") if p.offset >= 0 else NOTHING
            for p in found
        }

    def learn(self, found: Mapping[TopicPartition, Committed]) -> None:
        """Take in what was read."""
        self.unsure.difference_update(found)
        for tp, committed in found.items():
            if committed != NOTHING:
                self._know(tp, committed)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Know nothing more of partitions that are no longer ours."""
        self.unsure.difference_update(partitions)
        for tp in partitions:
            self.known.pop(tp, None)
            self._sending.pop(tp, None)
            self._back.pop(tp, None)
