"""Owns the ports: what the pipeline needs of the world, as Protocols; the edges fit them without knowing them.

Never holds code. Invariant: every method is called from the pipeline's thread, returns at once (`Source.poll`: within
its timeout), and hands over immutable values only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from connector.core.budget import Claim, Grant, Wait
    from connector.core.columns import TableSchema
    from connector.core.entries import Anchor, Entry, Stamped
    from connector.core.flush import Fill, Trigger
    from connector.core.hours import Now
    from connector.core.intents import Committed
    from connector.core.jobs import Seen, Unseen
    from connector.core.loads import Load, Prepared, Receipt
    from connector.core.messages import Decoded, MessageBatch, Reject
    from connector.core.offsets import OffsetRange, TopicPartition
    from connector.core.orders import Order
    from connector.errors import Unavailable


class Source(Protocol):
    """The consumer: messages in, positions known, offsets out."""

    @property
    def positions(self) -> Mapping[TopicPartition, int]:
        """The next offset to read of each partition that is ours and whose position is known."""
        ...

    @property
    def assigned(self) -> Collection[TopicPartition]:
        """The partitions that are ours."""
        ...

    @property
    def gone(self) -> Mapping[TopicPartition, str]:
        """The partitions that stand still because the messages they were to read are gone, and why."""
        ...

    def poll(self, timeout: float) -> Sequence[MessageBatch]:
        """Return what has come within `timeout` seconds, one batch a topic; positions move past it.

        Raises:
            SourceError: Kafka refuses for good; leave, and let the orchestrator start us again.
        """
        ...

    def seek(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read these partitions again from these offsets."""
        ...

    def move(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Let these partitions stand at these offsets by a person's order: commits follow, also back."""
        ...

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Let exactly these partitions be paused, and all others flow."""
        ...

    @property
    def committed(self) -> Mapping[TopicPartition, Committed]:
        """What Kafka surely has of each partition that is ours."""
        ...

    @property
    def committing(self) -> bool:
        """Whether a commit is on its way; there is never more than one, so none can overtake another."""
        ...

    def commit(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        """Send, in one request, what differs from what Kafka has; True once it has all of `wanted`.

        False: on its way, refused, or nobody is there: offer it again.
        """
        ...

    @property
    def share(self) -> float:
        """The part of the group's partitions that is ours, 0 to 1; 0 while it is not known how many there are."""
        ...

    def lag(self) -> Mapping[TopicPartition, int]:
        """Return the messages between position and end of each partition, where both are known."""
        ...

    def close(self) -> None:
        """Leave the group."""
        ...


class Orders(Protocol):
    """What replays ask of single partitions."""

    @property
    def found(self) -> Mapping[TopicPartition, Order]:
        """The orders of the watched partitions, as of the last look."""
        ...

    @property
    def unread(self) -> Collection[TopicPartition]:
        """The partitions of which nobody has told, since they are watched, whether there is an order."""
        ...

    def watch(self, partitions: Collection[TopicPartition]) -> None:
        """Look for orders of these partitions too, at once and from then on."""
        ...

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Look no more for orders of these partitions, and give no answer to them."""
        ...

    def answer(self, tp: TopicPartition, order: Order) -> None:
        """Let `order` stand in the place of the one that it answers; it does once it is found."""
        ...

    def close(self) -> None:
        """Let go of them."""
        ...


class DeadLetters(Protocol):
    """Where rejects go."""

    @property
    def held(self) -> Iterable[OffsetRange]:
        """The ranges of rejects that are not acknowledged yet."""
        ...

    @property
    def full(self) -> bool:
        """Whether so much is held that consumption must pause."""
        ...

    def send(self, rejects: Sequence[Reject]) -> None:
        """Hand rejects over; they are held until the dead-letter topic has acknowledged them."""
        ...

    def serve(self) -> None:
        """Take acknowledgements in, and send again what failed."""
        ...

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget what is held of partitions that are no longer ours."""
        ...

    def flush(self, timeout: float) -> bool:
        """Wait until all is acknowledged, `timeout` seconds at most; False when something is still held."""
        ...


class Decoder(Protocol):
    """Messages of one table into columns. Its schema only widens."""

    @property
    def schema(self) -> TableSchema:
        """All columns seen so far."""
        ...

    def decode(self, messages: MessageBatch) -> Decoded:
        """Return records in the Arrow schema of `self.schema`, deletes in its key columns, and the rejects.

        Raises:
            Unavailable: nothing of these messages was taken in; offer them again later.
        """
        ...

    def establish(self) -> None:
        """Fix the types of all columns seen so far: a load goes out with them, and the platform never changes one."""
        ...


class Buffer(Protocol):
    """The open records of one table, in memory and on local disk.

    After SpoolFull the buffer is worth nothing: read `held` again, and `clear` it.
    """

    @property
    def fill(self) -> Fill:
        """How full it is."""
        ...

    @property
    def held(self) -> Iterable[OffsetRange]:
        """The ranges whose records are here, one per partition."""
        ...

    def add(self, messages: MessageBatch, decoded: Decoded, schema: TableSchema, now: float) -> None:
        """Take in the records and deletes of `messages`, which stand in `schema`; raises SpoolFull."""
        ...

    def spill(self) -> None:
        """Write what is in memory to disk; raises SpoolFull."""
        ...

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the records of these partitions."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def flush(self, schema: TableSchema, trigger: Trigger) -> Load:
        """Seal everything into a load in `schema`, and begin anew; raises SpoolFull."""
        ...


class Spool(Protocol):
    """The local disk that buffers and loads share."""

    @property
    def used(self) -> int:
        """Bytes on disk."""
        ...

    @property
    def memory(self) -> int:
        """Bytes of records in memory."""
        ...

    def full(self) -> bool:
        """Return whether consumption must pause until something is pushed."""
        ...

    def pressed(self) -> bool:
        """Return whether the limit is near, so that the largest buffer must go first."""
        ...

    def overflowing(self) -> Sequence[str]:
        """Return the tables whose buffers must spill now, so that memory stays in its bounds."""
        ...

    def keep(self, load: Load) -> None:
        """Count the files of a load until it is released."""
        ...

    def release(self, load: Load) -> None:
        """Delete the files of a load that is done or given up."""
        ...

    def remember(self, table: str, schema: TableSchema) -> None:
        """Keep the columns that a table has on the platform, for the next start."""
        ...


class Observer(Protocol):
    """Who counts and writes down what happens; never fails and never waits."""

    def decoded(self, table: str, messages: MessageBatch, decoded: Decoded) -> None:
        """Messages became records, deletes, rejects and ignored tombstones."""
        ...

    def stalled(self, topic: str, error: Unavailable) -> None:
        """Messages of a topic wait for something that decoding needs."""
        ...

    def flushed(self, load: Load, now: float) -> None:
        """A load was sealed at `now` (monotonic seconds)."""
        ...

    def settled(self, receipt: Receipt) -> None:
        """A push moved on, or ended."""
        ...

    def halted(self, table: str, reason: str) -> None:
        """A table stands still until a person acts."""
        ...

    def rebalanced(self, event: str) -> None:
        """The group moved partitions: `assigned`, `revoked` or `lost`."""
        ...


class Pusher(Protocol):
    """Turns loads into jobs in its own threads; every request ends in exactly one receipt."""

    def prepare(self, load: Load) -> None:
        """Build the chunks, create a job, upload and verify: ends in Prepared, Empty, or a failure."""
        ...

    def apply(self, prepared: Prepared, deadline: float) -> None:
        """Execute the job before `deadline` (monotonic seconds) and wait for its end: ends in Done or a failure."""
        ...

    def ask(self, job_id: str) -> None:
        """Ask for a job that another process may have made: ends in Seen or Unseen."""
        ...

    def resume(self, job_id: str, deadline: float) -> None:
        """Roll such a job forward: execute it before `deadline` if it is NEW, and wait for its end."""
        ...

    def forget(self, job_id: str) -> None:
        """Delete a job that will not be needed again; tells nobody how it went."""
        ...

    def finished(self) -> Sequence[Receipt | Seen | Unseen]:
        """Return the receipts that have come in since the last call."""
        ...


class Budget(Protocol):
    """The pushes that may be executed; times are monotonic seconds."""

    def step(self, now: Now, share: float) -> None:
        """Let time pass, with this replica's part of the group's partitions (0 to 1)."""
        ...

    def acquire(self, claim: Claim, now: Now) -> Grant | Wait:
        """Return a grant for `claim`, the same one as long as it can be used, or when to ask again."""
        ...

    def end(self, claim_id: str, *, spent: bool) -> None:
        """Take in that a claim is over: its job is final, or it was surely not executed (not `spent`)."""
        ...

    def throttled(self, wait: float | None, now: Now) -> None:
        """Take in that the platform refused an execute for `wait` seconds, or without a hint until the hour turns."""
        ...

    def left(self, now: Now) -> int:
        """Return the pushes left in this hour."""
        ...

    def next_at(self, now: Now) -> float:
        """Return when the next push can be granted, if somebody asks for it."""
        ...

    def slot(self, now: Now) -> float:
        """Return the seconds between two pushes of this replica, as a mean."""
        ...

    def low(self, now: Now) -> bool:
        """Return whether so few pushes are left for so long that consumption must pause."""
        ...


class Ledger(Protocol):
    """The budget ledger: one sequence of entries that all replicas write and read."""

    @property
    def trouble(self) -> str | None:
        """Why what is known of it cannot be trusted now; None when it is read to its end."""
        ...

    @property
    def anchor(self) -> Anchor | None:
        """The last entry of ours that was read back."""
        ...

    @property
    def generation(self) -> int:
        """How often reading has begun from the start, 1 at first: a new one says to forget all that was read before."""
        ...

    def append(self, entry: Entry) -> None:
        """Send an entry; it is in the ledger once it is read back, and in trouble perhaps never.

        To be called in trouble too: an entry that is read back is what ends it.
        """
        ...

    def read(self) -> Sequence[Stamped]:
        """Return the entries that have come since the last call, in their order; all are of `generation`, as it is now.

        To be called often: all that goes on with the ledger goes on here.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...
