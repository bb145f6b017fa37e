"""Owns the small stand-ins for the pipeline's ports; never talks to anything. Invariant: what they are told is kept."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from connector.core.budget import Grant, Wait
from connector.core.columns import Column, ColumnType, TableSchema
from connector.core.intents import Committed
from connector.core.loads import Done, Prepared
from connector.core.messages import Decoded, MessageBatch, Reject, reject

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from connector.core.budget import Claim
    from connector.core.hours import Now
    from connector.core.jobs import Seen, Unseen
    from connector.core.loads import Load, Receipt
    from connector.core.offsets import OffsetRange, TopicPartition
    from connector.core.orders import Order
    from connector.errors import RegistryUnavailable, Unavailable


@dataclass(frozen=True)
class FakeMessage:
    """One message by its parts."""

    topic_: str = "orders"
    partition_: int = 0
    offset_: int = 0
    value_: bytes | None = b"1"
    key_: bytes | None = None
    headers_: list[tuple[str, bytes | None]] | None = None

    def topic(self) -> str:
        return self.topic_

    def partition(self) -> int:
        return self.partition_

    def offset(self) -> int:
        return self.offset_

    def key(self) -> bytes | None:
        return self.key_

    def value(self) -> bytes | None:
        return self.value_

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self.headers_

    def timestamp(self) -> tuple[int, int]:
        return 1, 0


def message_batch(*values: bytes | None, topic: str = "orders", partition: int = 0, start: int = 0) -> MessageBatch:
    """Return messages of one partition with consecutive offsets from `start`."""
    return MessageBatch.of(topic, [FakeMessage(topic, partition, start + i, v) for i, v in enumerate(values)])


class FakeBudget:
    """`pushes` may be granted, at once and for long; everything is kept."""

    def __init__(self, pushes: int = 1000) -> None:
        self.pushes = pushes
        self.granted: dict[str, Grant] = {}
        self.claims: list[Claim] = []
        self.ended: list[tuple[str, bool]] = []
        self.refusals: list[float | None] = []
        self.valid = 1e9  # seconds
        self.opens_in = 0.0  # seconds until the next grant
        self.seconds = 0.1  # between two pushes

    def step(self, now: Now, share: float) -> None:
        assert 0 <= share <= 1
        assert now.mono >= 0

    def acquire(self, claim: Claim, now: Now) -> Grant | Wait:
        self.claims.append(claim)
        known = self.granted.get(claim.id)
        if known and now.mono < known.deadline:
            return known
        if not self.pushes or self.opens_in:
            return Wait(now.mono + 1)
        self.pushes -= 1
        self.granted[claim.id] = Grant(claim.id, now.mono + self.valid)
        return self.granted[claim.id]

    def end(self, claim_id: str, *, spent: bool) -> None:
        if self.granted.pop(claim_id, None):
            self.ended.append((claim_id, spent))
            self.pushes += not spent

    def throttled(self, wait: float | None, now: Now) -> None:
        assert now.mono >= 0
        self.refusals.append(wait)
        self.pushes = 0

    def left(self, now: Now) -> int:
        assert now.mono >= 0
        return self.pushes

    def next_at(self, now: Now) -> float:
        return now.mono + (self.opens_in if self.pushes else 1e6)

    def slot(self, now: Now) -> float:
        assert now.mono >= 0
        return self.seconds

    def low(self, now: Now) -> bool:
        assert now.mono >= 0
        return not self.pushes


class FakeSource:
    """A log of messages by partition, read in order from the committed offset."""

    share = 1.0

    def __init__(self, log: Mapping[TopicPartition, Sequence[bytes | None]], batch: int = 1000) -> None:
        self.log = {tp: list(values) for tp, values in log.items()}
        self.batch = batch
        self.positions: dict[TopicPartition, int] = {}
        self.assigned: set[TopicPartition] = set()
        self.paused: set[TopicPartition] = set()
        self.committed: dict[TopicPartition, Committed] = {}
        self.commits: list[dict[TopicPartition, Committed]] = []
        self.moves: list[dict[TopicPartition, int]] = []
        self.gone: dict[TopicPartition, str] = {}
        self.accepts_commits = True
        self.committing = False
        self.timeouts: list[float] = []

    @property
    def offsets(self) -> dict[TopicPartition, int]:
        """The committed offsets, without what stands with them."""
        return {tp: c.offset for tp, c in self.committed.items()}

    def own(self, *partitions: TopicPartition) -> dict[TopicPartition, Committed]:
        """Assign `partitions`; they are read from what is committed."""
        known = {tp: self.committed.get(tp, Committed(-1)) for tp in partitions}
        for tp, found in known.items():
            self.assigned.add(tp)
            self.positions[tp] = max(0, found.offset)
        return known

    def disown(self, *partitions: TopicPartition) -> None:
        """Take `partitions` away."""
        for tp in partitions:
            self.assigned.discard(tp)
            self.positions.pop(tp, None)

    def poll(self, timeout: float) -> list[MessageBatch]:
        self.timeouts.append(timeout)
        by_topic: dict[str, list[FakeMessage]] = {}
        for tp in sorted(self.assigned - self.paused):
            first = self.positions[tp]
            values = self.log[tp][first : first + self.batch]
            by_topic.setdefault(tp.topic, []).extend(
                FakeMessage(tp.topic, tp.partition, first + i, v) for i, v in enumerate(values)
            )
            self.positions[tp] = first + len(values)
        return [MessageBatch.of(topic, messages) for topic, messages in by_topic.items() if messages]

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.positions.update(offsets)

    def move(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.moves.append(dict(offsets))
        self.seek(offsets)

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self.paused = set(partitions)

    def commit(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        if not self.accepts_commits:
            return False
        self.commits.append(dict(wanted))
        self.committed.update(wanted)
        return True

    def lag(self) -> dict[TopicPartition, int]:
        return {tp: len(self.log[tp]) - p for tp, p in self.positions.items()}

    def close(self) -> None:
        self.assigned.clear()


@dataclass
class FakePusher:
    """Keeps what it was asked; receipts come when the test says so."""

    to_prepare: deque[Load] = field(default_factory=deque)
    to_apply: deque[Prepared] = field(default_factory=deque)
    to_ask: deque[str] = field(default_factory=deque)
    to_resume: deque[str] = field(default_factory=deque)
    forgotten: list[str] = field(default_factory=list)
    receipts: list[Receipt | Seen | Unseen] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    jobs: int = 0

    def prepare(self, load: Load) -> None:
        self.to_prepare.append(load)

    def apply(self, prepared: Prepared, deadline: float) -> None:
        self.to_apply.append(prepared)
        self.deadlines.append(deadline)

    def ask(self, job_id: str) -> None:
        self.to_ask.append(job_id)

    def resume(self, job_id: str, deadline: float) -> None:
        self.to_resume.append(job_id)
        self.deadlines.append(deadline)

    def forget(self, job_id: str) -> None:
        self.forgotten.append(job_id)

    def finished(self) -> list[Receipt | Seen | Unseen]:
        receipts, self.receipts = self.receipts, []
        return receipts

    def prepared(self) -> Prepared:
        """Let the oldest preparation succeed."""
        self.jobs += 1
        receipt = Prepared(self.to_prepare.popleft(), f"job-{self.jobs}", (), 0.1)
        self.receipts.append(receipt)
        return receipt

    def done(self) -> Done:
        """Let the oldest execution end DONE."""
        prepared = self.to_apply.popleft()
        receipt = Done(prepared.load, prepared.job_id, prepared.load.rows, prepared.load.size, 0.1)
        self.receipts.append(receipt)
        return receipt


class FakeOrders:
    """What stands by partition; a look is taken at every watch while `told`, and answers stand while `taken`."""

    def __init__(self) -> None:
        self.standing: dict[TopicPartition, Order] = {}
        self.answers: list[tuple[TopicPartition, Order]] = []
        self.watched: set[TopicPartition] = set()
        self.unread: set[TopicPartition] = set()
        self.told = self.taken = True

    @property
    def found(self) -> dict[TopicPartition, Order]:
        """The orders of what is watched and read."""
        return {tp: o for tp, o in self.standing.items() if tp in self.watched - self.unread}

    def watch(self, partitions: Collection[TopicPartition]) -> None:
        self.watched |= set(partitions)
        if not self.told:
            self.unread |= set(partitions)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        self.watched -= set(partitions)
        self.unread -= set(partitions)

    def answer(self, tp: TopicPartition, order: Order) -> None:
        self.answers.append((tp, order))
        if self.taken and order.answers(self.standing.get(tp)):
            self.standing[tp] = order

    def close(self) -> None:
        self.watched.clear()


class FakeDeadLetters:
    """Holds rejects until `acknowledge`."""

    def __init__(self) -> None:
        self.sent: list[Reject] = []
        self.full = False
        self.held: list[OffsetRange] = []

    def send(self, rejects: Sequence[Reject]) -> None:
        self.sent += rejects
        self.held += [r.range for r in rejects]

    def acknowledge(self) -> None:
        self.held = []

    def serve(self) -> None:
        return None

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        self.held = [r for r in self.held if r.tp not in partitions]

    def flush(self, timeout: float) -> bool:
        return not self.held and timeout >= 0


class IntegerDecoder:
    """Values are integers in text, one column `v`; anything else is a reject; `away` makes the registry silent."""

    def __init__(self) -> None:
        self.schema = TableSchema((Column("v", ColumnType.INTEGER),))
        self.away: RegistryUnavailable | None = None
        self.fatal: Exception | None = None
        self.establishments = 0

    def decode(self, messages: MessageBatch) -> Decoded:
        if self.away or self.fatal:
            raise self.away or self.fatal  # type: ignore[misc]
        good = [i for i, v in enumerate(messages.values) if v is not None and v.isdigit()]
        bad = [i for i, v in enumerate(messages.values) if v is not None and not v.isdigit()]
        values = pa.array([int(messages.values[i] or b"") for i in good], pa.int64())
        batch = pa.RecordBatch.from_arrays([values], schema=self.schema.arrow())
        rejects = [reject(messages, i, "broken", "not an integer") for i in bad]
        tombstones = len(messages.values) - len(good) - len(bad)
        return Decoded(batch, np.array(good, np.int64), rejects, tombstones)

    def establish(self) -> None:
        self.establishments += 1


class FakeObserver:
    """Keeps the names of what happened."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def decoded(self, table: str, messages: MessageBatch, decoded: Decoded) -> None:
        self.events.append(("decoded", (table, len(messages.values), decoded.batch.num_rows)))

    def stalled(self, topic: str, error: Unavailable) -> None:
        self.events.append(("stalled", (topic, str(error))))

    def flushed(self, load: Load, now: float) -> None:
        self.events.append(("flushed", (load.target.table, load.trigger, now)))

    def settled(self, receipt: Receipt) -> None:
        self.events.append(("settled", receipt))

    def halted(self, table: str, reason: str) -> None:
        self.events.append(("halted", (table, reason)))

    def rebalanced(self, event: str) -> None:
        self.events.append(("rebalanced", event))
