"""Owns the consumer: its group, the positions of its partitions, and what it has committed.

Never decodes, and never decides what is safe to commit. No commit waits for a broker: it is sent, and known to be
taken once Kafka has said so, because a broker that hangs would hold a synchronous commit, and with it the group
membership, for minutes. Invariant: every call to the client is made from one thread, which waits while the group is
left; one commit at most is on its way, so none overtakes another; a position is the next offset to read, and exists
only for partitions that are ours.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.intents import Committed
from connector.core.messages import MessageBatch
from connector.core.offsets import TopicPartition
from connector.errors import SourceError
from connector.kafka.contact import Contact
from connector.kafka.settings import consumer_properties, make

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from confluent_kafka import Message

    from connector.config import Kafka
    from connector.core import messages
    from connector.core.assignments import Assignments
    from connector.core.offsets import OffsetRange

log = structlog.get_logger()

ASSIGN_SECONDS = 5.0  # the longest a new assignment waits for its committed offsets, which the coordinator has at hand
READ_BACK_SECONDS = 1.0  # the longest one try to ask for them again holds the loop
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
CLOSE_SECONDS = 8.0  # the longest a group is left in good order; a broker that hangs would hold us up for minutes


class KafkaSource:
    """The consumer of one group.

    Raises:
        ConfigError: `kafka.properties` holds what the client does not take.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._contact = Contact(kafka.brokers)
        callbacks = {
            "error_cb": self._contact.on_error,
            "stats_cb": self._contact.on_statistics,
            "on_commit": self._on_commit,
        }
        self._consumer = make(Consumer, consumer_properties(kafka) | callbacks)
        self._listener: Assignments | None = None
        self._sending: dict[TopicPartition, Committed] = {}  # what the commit on its way says
        self._in_flight = False
        self._unread: set[TopicPartition] = set()  # what is committed of them must be asked of Kafka
        self.committed: dict[TopicPartition, Committed] = {}
        self._seeking: dict[TopicPartition, int] = {}  # what the client could not do yet
        self._paused: set[TopicPartition] = set()
        self.positions: dict[TopicPartition, int] = {}
        self.assigned: set[TopicPartition] = set()
        self.joined = False

    @property
    def away(self) -> str | None:
        """Why no broker can be reached, as far as the client knows."""
        return self._contact.away

    def subscribe(self, topics: Sequence[str], listener: Assignments) -> None:
        """Join the group, reading `topics` (names, or regular expressions that begin with `^`)."""
        self._listener = listener
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    # --- reading ----------------------------------------------------------------------------------------------

    def poll(self, timeout: float) -> Sequence[MessageBatch]:
        """Return what has come within `timeout` seconds, one batch a topic; raises SourceError."""
        self._seek()
        self._read_back()
        by_topic, events = _sorted_out(self._consume(timeout))
        ends: dict[TopicPartition, int] = {}
        for event in events:
            error = event.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                ends[TopicPartition(event.topic() or "", event.partition() or 0)] = event.offset() or 0
            elif error is not None:
                self._contact.on_error(error, event.topic())
        self._contact.insist()
        if by_topic or ends:
            self._contact.reached()
        batches = [self._ours(MessageBatch.of(topic, found)) for topic, found in by_topic.items()]
        self._move([r for batch in batches for r in batch.ranges], ends)
        return [batch for batch in batches if batch.messages]

    def _consume(self, timeout: float) -> list[Message]:
        try:
            found = self._consumer.consume(self._kafka.poll_messages, timeout)
        except KafkaException as e:
            self._contact.insist()
            raise SourceError(f"the Kafka client cannot go on: {e.args[0].str()}") from e
        self._contact.insist()
        return found

    def _ours(self, batch: MessageBatch) -> MessageBatch:
        """Leave out partitions that went away while `batch` was fetched, or that are to be read from elsewhere."""
        wanted = self.assigned - self._seeking.keys()
        if all(r.tp in wanted for r in batch.ranges):
            return batch
        kept = [m for m in batch.messages if TopicPartition(batch.topic, m.partition() or 0) in wanted]
        return MessageBatch.of(batch.topic, kept)

    def _move(self, ranges: Sequence[OffsetRange], ends: Mapping[TopicPartition, int]) -> None:
        """Move the positions past what was read, and past what nobody reads: markers and aborted transactions.

        The end of a partition comes after its messages, or before them when more were written meanwhile.
        """
        moved = {r.tp: r.end for r in ranges}
        for r in ranges:
            self._step(r.tp, r.start, r.end)
        for tp, end in ends.items():
            if tp in self.assigned and tp not in self._seeking and end > moved.get(tp, -1):
                self._step(tp, moved.get(tp, end), end)

    def _step(self, tp: TopicPartition, start: int, end: int) -> None:
        expected = self.positions.get(tp, start)
        if start < expected:
            # kept offsets of the topic as it was would hold back every commit of the topic as it is
            self.committed.pop(tp, None)
            log.warning("fell back, the topic was made anew or cut", at=str(tp), expected=expected, found=start)
        elif start > expected and (first := self._first(tp)) > expected:
            hint = "raise retention.ms or retention.bytes of the topic"
            log.error(
                "lost messages, deleted before they were read", at=str(tp), expected=expected, first=first, hint=hint
            )
        self.positions[tp] = end

    def _first(self, tp: TopicPartition) -> int:
        low, _ = self._consumer.get_watermark_offsets(ClientPartition(*tp), cached=True)
        return int(low)

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read these partitions again from these offsets."""
        ours = {tp: offset for tp, offset in offsets.items() if tp in self.assigned}
        self.positions.update(ours)
        self._seeking.update(ours)
        self._seek()

    def _seek(self) -> None:
        """Let the client seek. It refuses for what it does not fetch yet; until it can, nothing of that is taken."""
        for tp, offset in list(self._seeking.items()):
            try:
                self._consumer.seek(ClientPartition(tp.topic, tp.partition, offset))
            except KafkaException as e:
                log.debug("could not seek yet", at=str(tp), offset=offset, error=e.args[0].str())
            else:
                del self._seeking[tp]

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Let exactly these partitions be paused; only what changes is sent to the client."""
        wanted = set(partitions) & self.assigned
        if wanted == self._paused:
            return
        if fresh := wanted - self._paused:
            self._consumer.pause([ClientPartition(*tp) for tp in fresh])
        if over := self._paused - wanted:
            self._consumer.resume([ClientPartition(*tp) for tp in over])
        self._paused = wanted

    def lag(self) -> Mapping[TopicPartition, int]:
        """Return the messages between position and end, as of the last fetch."""
        lags = {}
        for tp, position in self.positions.items():
            _, high = self._consumer.get_watermark_offsets(ClientPartition(*tp), cached=True)
            if high >= 0:
                lags[tp] = max(0, high - position)
        return lags

    # --- committing -------------------------------------------------------------------------------------------

    @property
    def committing(self) -> bool:
        """Whether a commit is on its way, or one failed in a way that does not tell what became of it."""
        return self._in_flight or not self._unread.isdisjoint(self.assigned)

    def commit(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        """Send, in one request, what differs from what Kafka has; True once it has all of `wanted`."""
        missing = {tp: c for tp, c in wanted.items() if tp in self.assigned and self._goes_on(tp, c)}
        if missing and not self.committing and self.away is None:
            self._send(missing)  # while brokers are away the client would keep it until others may own the partition
        return not missing

    def _goes_on(self, tp: TopicPartition, wanted: Committed) -> bool:
        known = self.committed.get(tp, NOTHING)
        return wanted != known and wanted.offset >= known.offset

    def _send(self, wanted: Mapping[TopicPartition, Committed]) -> None:
        request = [ClientPartition(tp.topic, tp.partition, c.offset, metadata=c.metadata) for tp, c in wanted.items()]
        try:
            self._consumer.commit(offsets=request, asynchronous=True)
        except KafkaException as e:
            self._refused(e.args[0], wanted)
        else:
            self._in_flight, self._sending = True, dict(wanted)

    def _on_commit(self, error: KafkaError | None, partitions: list[ClientPartition]) -> None:
        """Take in what Kafka says of one commit; it may take some partitions and refuse others."""
        sent, self._sending, self._in_flight = self._sending, {}, False
        refused: list[TopicPartition] = []
        for p in partitions:
            tp = TopicPartition(p.topic, p.partition)
            if tp not in sent or tp not in self.assigned:
                continue
            if (p.error or error) is None:
                self.committed[tp] = sent[tp]
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
            self._unread.update(partitions)
        log.warning("could not commit, trying again", partitions=len(partitions), code=error.name(), error=error.str())
        if error.fatal() or error.code() in (KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.FENCED_INSTANCE_ID):
            self._contact.on_error(error)

    def close(self) -> None:
        """Leave the group within CLOSE_SECONDS; partitions are revoked, and what was committed is sent, on the way."""
        closer = threading.Thread(target=self._consumer.close, name="kafka-close", daemon=True)
        closer.start()
        closer.join(CLOSE_SECONDS)
        if closer.is_alive():
            self._listener = None  # whatever still comes, nobody waits for it
            log.warning("left the group without its coordinator, which does not answer", seconds=CLOSE_SECONDS)

    # --- who owns what ----------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        self.joined = True
        self._contact.reached()
        known = self._read_committed(partitions, ASSIGN_SECONDS)
        consumer.incremental_assign(known or partitions)
        if known or not partitions:
            self._take(known)
        else:
            self._unread.update(TopicPartition(p.topic, p.partition) for p in partitions)

    def _read_committed(self, partitions: list[ClientPartition], seconds: float) -> list[ClientPartition]:
        """Return `partitions` with what is committed of them; none when Kafka does not tell in time."""
        if not partitions:
            return []
        try:
            return self._consumer.committed(partitions, timeout=seconds)
        except KafkaException as e:
            log.warning("could not read committed offsets, asking again", code=e.args[0].name(), error=e.args[0].str())
            return []

    def _take(self, known: list[ClientPartition]) -> None:
        """Own partitions of which it is known what is committed; those under an intent must not flow."""
        committed = {
            TopicPartition(p.topic, p.partition): Committed(max(-1, p.offset), p.metadata or "") for p in known
        }
        self.assigned.update(committed)
        for tp, found in committed.items():
            if found.offset >= 0:
                self.committed[tp] = found
                self.positions[tp] = found.offset
        if self._listener and (held := self._listener.assigned(committed)):
            self._hold(set(held) & committed.keys())

    def _hold(self, partitions: set[TopicPartition]) -> None:
        if partitions:
            self._consumer.pause([ClientPartition(*tp) for tp in partitions])
            self._paused |= partitions

    def _read_back(self) -> None:
        """Ask for what is committed where it is not known: at an assignment, or after a commit without an answer."""
        if not self._unread or self.away is not None:
            return
        known = self._read_committed([ClientPartition(*tp) for tp in self._unread], READ_BACK_SECONDS)
        if not known:
            return
        self._unread.clear()
        fresh = [p for p in known if TopicPartition(p.topic, p.partition) not in self.assigned]
        for p in known:
            if p not in fresh:
                self.committed[TopicPartition(p.topic, p.partition)] = Committed(max(-1, p.offset), p.metadata or "")
        self._take(fresh)
        self.seek(
            {tp: self.positions[tp] for p in fresh if (tp := TopicPartition(p.topic, p.partition)) in self.positions}
        )

    def _on_revoke(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        tps = [TopicPartition(p.topic, p.partition) for p in partitions]
        if self._listener:
            self._listener.revoked(tps)
        self._forget(tps)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        tps = [TopicPartition(p.topic, p.partition) for p in partitions]
        self._forget(tps)
        if self._listener:
            self._listener.lost(tps)
        consumer.incremental_unassign(partitions)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        self.assigned.difference_update(partitions)
        self._paused.difference_update(partitions)
        self._unread.difference_update(partitions)
        for tp in partitions:
            self.positions.pop(tp, None)
            self.committed.pop(tp, None)
            self._sending.pop(tp, None)
            self._seeking.pop(tp, None)


def _sorted_out(found: list[Message]) -> tuple[dict[str, list[messages.Message]], list[Message]]:
    """Return the messages by topic, and the events among them; most often all are messages of one topic.

    Methods are mapped by their class, a third of what a call in a loop costs.
    """
    if not found:
        return {}, []
    kind = type(found[0])
    errors = list(map(kind.error, found))
    events = [m for m, e in zip(found, errors, strict=True) if e is not None] if any(errors) else []
    if events:
        found = [m for m, e in zip(found, errors, strict=True) if e is None]
    topics = list(map(kind.topic, found))
    by_topic: dict[str, list[messages.Message]] = {topic or "": [] for topic in set(topics)}
    if len(by_topic) == 1:
        return {topics[0] or "": cast("list[messages.Message]", found)}, events
    for topic, message in zip(topics, found, strict=True):
        by_topic[topic or ""].append(cast("messages.Message", message))
    return by_topic, events
