"""Owns the consumer: its group, the positions of its partitions, and who is told when they come and go.

Never decodes, and never decides what is safe to commit. Nothing here waits for a broker longer than seconds, since a
broker that hangs would hold the group membership too. Invariant: every call to the client is made from one thread,
which waits while the group is left; a position is the next offset to read, and exists only for partitions that are
ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.messages import MessageBatch
from connector.core.offsets import TopicPartition
from connector.errors import SourceError
from connector.kafka.commits import Commits
from connector.kafka.contact import Contact
from connector.kafka.membership import Membership, leave
from connector.kafka.settings import consumer_properties, make
from connector.kafka.shares import PartitionCount
from connector.kafka.starts import Starts

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from confluent_kafka import Message

    from connector.config import Kafka
    from connector.core import messages
    from connector.core.assignments import Assignments
    from connector.core.intents import Committed

log = structlog.get_logger()

ASSIGN_SECONDS = 5.0  # the longest a new assignment waits for its committed offsets, which the coordinator has at hand
READ_BACK_SECONDS = 1.0  # the longest one try to ask for them again holds the loop


class KafkaSource:
    """The consumer of one group.

    Raises:
        ConfigError: `kafka.properties` holds what the client does not take.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._contact = Contact(kafka.brokers)
        self._commits, self._starts = Commits(self._contact), Starts(kafka)
        self._membership = Membership(kafka.group_protocol)
        callbacks = {
            "error_cb": self._contact.on_error,
            "stats_cb": self._on_statistics,
            "on_commit": self._commits.on_commit,
        }
        self._consumer = make(Consumer, consumer_properties(kafka) | callbacks)
        self._commits.consumer = self._starts.consumer = self._consumer
        self._listener: Assignments | None = None
        self._subscribed = False
        self._count: PartitionCount | None = None
        self._unread: set[TopicPartition] = set()  # given to us, and not known yet what is committed of them
        self._seeking: dict[TopicPartition, int] = {}  # what the client could not do yet
        self._paused: set[TopicPartition] = set()
        self.positions: dict[TopicPartition, int] = {}
        self.assigned: set[TopicPartition] = set()

    @property
    def joined(self) -> bool:
        """Whether the group has taken us in."""
        return self._membership.joined

    @property
    def away(self) -> str | None:
        """Why no broker can be reached, as far as the client knows."""
        return self._contact.away

    @property
    def forbidden(self) -> Mapping[str, str]:
        """The topics that we may not read, and the way out."""
        return self._contact.forbidden

    @property
    def gone(self) -> Mapping[TopicPartition, str]:
        """The partitions that stand still because what they were to read is gone, and why."""
        return self._starts.gone

    @property
    def lost(self) -> Mapping[str, int]:
        """The messages of each topic that were gone before they were read."""
        return self._starts.lost

    @property
    def absent(self) -> Sequence[str] | None:
        """The topics, and regular expressions, of which Kafka has none; None while that is not known."""
        return self._count.absent if self._count else ()

    def subscribe(self, topics: Sequence[str], listener: Assignments) -> None:
        """Join the group, reading `topics` (names, or regular expressions that begin with `^`)."""
        self._listener, self._subscribed = listener, True
        self._count_partitions(topics)
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _count_partitions(self, topics: Sequence[str]) -> None:
        self._count = PartitionCount(self._kafka, topics)

    # --- reading ----------------------------------------------------------------------------------------------

    def poll(self, timeout: float) -> Sequence[MessageBatch]:
        """Return what has come within `timeout` seconds, one batch a topic; raises SourceError."""
        self._seek()
        self._read_back()
        by_topic, events = _sorted_out(self._consume(timeout))
        ends = self._take_events(events)
        if by_topic or ends:
            self._contact.reached()
        came = [MessageBatch.of(topic, found) for topic, found in by_topic.items()]
        self._starts.found({r.tp for batch in came for r in batch.ranges} | ends.keys())
        batches = [self._ours(batch) for batch in came]
        moved = {r.tp: r.end for batch in batches for r in batch.ranges}
        for tp, end in ends.items():  # of markers and aborted transactions nothing else tells
            if tp in self.assigned and tp not in self._seeking:
                moved[tp] = max(end, moved.get(tp, end))
        self.positions.update(moved)
        return [batch for batch in batches if batch.messages]

    def _take_events(self, events: list[Message]) -> dict[TopicPartition, int]:
        """Return the ends of partitions that were reached; raises what is final."""
        ends: dict[TopicPartition, int] = {}
        for event in events:
            error, tp = event.error(), TopicPartition(event.topic() or "", event.partition() or 0)
            if error is None:
                continue
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                ends[tp] = event.offset() or 0
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
                self._lose(tp, event.offset() or 0)
            else:
                self._contact.on_error(error, event.topic())
        self._contact.insist()
        return ends

    def _lose(self, tp: TopicPartition, offset: int) -> None:
        """Go on after messages that are gone, or hold the partition, as kafka.on_data_loss says."""
        if tp not in self.assigned:
            return
        go_on = self._starts.after_loss(tp, self.positions.get(tp, offset))
        if go_on is not None:
            self._begin_at(tp, go_on)
            self._commits.known.pop(tp, None)  # offsets of the topic as it was would hold back every commit

    def _begin_at(self, tp: TopicPartition, offset: int) -> None:
        """Go on where the client has stopped because an offset is gone: it does not seek after that error."""
        self._consumer.incremental_unassign([ClientPartition(*tp)])
        self._consumer.incremental_assign([ClientPartition(*tp, offset)])
        self._starts.found([tp])
        self._seeking.pop(tp, None)
        self._paused.discard(tp)
        self.positions[tp] = offset

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

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read these partitions again from these offsets."""
        ours = {tp: offset for tp, offset in offsets.items() if tp in self.assigned}
        self.positions.update(ours)
        self._seeking.update(ours)
        self._seek()

    def move(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Let these partitions stand at these offsets by a person's order: commits follow, also back."""
        ours = {tp: offset for tp, offset in offsets.items() if tp in self.assigned}
        self._commits.let_back(ours)
        for tp in self.gone.keys() & ours.keys():
            self._starts.forget([tp])
            self._begin_at(tp, ours.pop(tp))
        self.seek(ours)

    def _seek(self) -> None:
        """Let the client seek. It cannot where it does not fetch yet; until it can, nothing of that is taken."""
        for tp, offset in list(self._seeking.items()):
            if tp in self._starts.looking_up:
                continue
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

    @property
    def share(self) -> float:
        """The part of the partitions of all topics that is ours, 0 to 1; 0 while it is not known how many there are."""
        total = self._count.total if self._count else 0
        return min(1.0, len(self.assigned) / total) if total else 0.0

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
    def committed(self) -> Mapping[TopicPartition, Committed]:
        """What Kafka surely has of each partition that is ours."""
        return self._commits.known

    @property
    def committing(self) -> bool:
        """Whether a commit is on its way, or one failed in a way that does not tell what became of it."""
        return self._commits.busy

    def commit(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        """Send, in one request, what differs from what Kafka has; True once it has all of `wanted`."""
        return self._commits.offer({tp: c for tp, c in wanted.items() if tp in self.assigned})

    def close(self) -> None:
        """Leave the group; partitions are revoked, and what was committed is sent, on the way."""
        if self._count:
            self._count.stop()
        idle, self._subscribed = self._subscribed and not self.assigned, False
        if not leave(self._consumer, idle=idle):
            self._listener = None  # whatever still comes, nobody waits for it

    def _on_statistics(self, document: str) -> None:
        self._contact.on_statistics(document)
        self._membership.on_statistics(document)

    # --- who owns what ----------------------------------------------------------------------------------------

    def _on_assign(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        self._membership.taken_in()
        self._contact.reached()
        tps = [TopicPartition(p.topic, p.partition) for p in partitions]
        log.debug("was given partitions", at=[str(tp) for tp in tps])
        known = self._commits.read(tps, ASSIGN_SECONDS)
        if known or not tps:
            starts = self._starts.of(known)
            consumer.incremental_assign(starts)
            self._take(known, starts)
        else:  # it is given to us all the same; nothing of it is read before its note is
            consumer.incremental_assign([ClientPartition(*tp, OFFSET_BEGINNING) for tp in tps])
            self._hold(tps)
            self._unread.update(tps)

    def _take(self, committed: Mapping[TopicPartition, Committed], starts: list[ClientPartition]) -> None:
        """Own partitions of which it is known what is committed; those under an intent must not flow."""
        self.assigned.update(committed)
        self._commits.learn(committed)
        self.positions.update({TopicPartition(p.topic, p.partition): p.offset for p in starts if p.offset >= 0})
        if self._listener:
            self._hold(self._listener.assigned(committed))

    def _hold(self, partitions: Collection[TopicPartition]) -> None:
        if fresh := set(partitions) - self._paused:
            self._consumer.pause([ClientPartition(*tp) for tp in fresh])
            self._paused |= fresh

    def _read_back(self) -> None:
        """Ask for what is committed where it is not known: at an assignment, or after a commit without an answer."""
        unknown = self._unread | self._commits.unsure
        if not unknown or self.away is not None:
            return
        found = self._commits.read(unknown, READ_BACK_SECONDS)
        self._commits.learn({tp: c for tp, c in found.items() if tp not in self._unread})
        fresh = {tp: c for tp, c in found.items() if tp in self._unread}
        if fresh:
            self._unread.clear()
            starts = self._starts.of(fresh)
            self._consumer.incremental_unassign(starts)
            self._consumer.incremental_assign(starts)
            self._paused.difference_update(fresh)
            self._take(fresh, starts)

    def _on_revoke(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        tps = [TopicPartition(p.topic, p.partition) for p in partitions]
        if self._listener:
            self._listener.revoked(tps)
        log.debug("gave partitions back", at=[str(tp) for tp in tps])
        self._forget(tps)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[ClientPartition]) -> None:
        tps = [TopicPartition(p.topic, p.partition) for p in partitions]
        self._membership.given_up()
        log.debug("lost partitions to others", at=[str(tp) for tp in tps])
        self._forget(tps)
        if self._listener:
            self._listener.lost(tps)
        consumer.incremental_unassign(partitions)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for owned in (self.assigned, self._paused, self._unread):
            owned.difference_update(partitions)
        for known in (self.positions, self._seeking):
            for tp in partitions:
                known.pop(tp, None)
        self._commits.forget(partitions)
        self._starts.forget(partitions)


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
