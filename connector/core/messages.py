"""Owns messages as Kafka gave them, what decoding makes of them, and what it could not.

Never copies a message's bytes and never decodes. Invariant: decoded rows, records and deletes, stand in the order of
their messages, each with the number of its message, so that a row's partition and offset are always known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from connector.core.offsets import OffsetRange, TopicPartition
from connector.core.revived import Revived

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pyarrow as pa


class Message(Protocol):
    """One Kafka message, as the client library shows it."""

    def topic(self) -> str | None:
        """Return its topic."""
        ...

    def partition(self) -> int | None:
        """Return its partition."""
        ...

    def offset(self) -> int | None:
        """Return its offset."""
        ...

    def key(self) -> bytes | str | None:
        """Return its key."""
        ...

    def value(self) -> bytes | str | None:
        """Return its value; a tombstone has none."""
        ...

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Return its headers, in order."""
        ...

    def timestamp(self) -> tuple[int, int]:
        """Return (type, milliseconds since the epoch)."""
        ...


class Span(NamedTuple):
    """The messages numbered `[first, stop)` of a batch: all of one partition, covering `range`."""

    range: OffsetRange
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """The messages of one topic from one poll.

    `values`, `partitions` (int32) and `offsets` (int64) run parallel to `messages`; a tombstone's value is None.
    The messages of one partition stand together, in offset order; `spans` says where, one per partition.
    """

    topic: str
    messages: Sequence[Message]
    values: list[bytes | None]
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    spans: tuple[Span, ...]

    @property
    def ranges(self) -> tuple[OffsetRange, ...]:
        """The offset ranges these messages cover, one per partition."""
        return tuple(span.range for span in self.spans)

    @property
    def size(self) -> int:
        """The bytes of all values."""
        return sum(map(len, filter(None, self.values)))

    @property
    def origins(self) -> list[OffsetRange] | None:
        """Where each message came from, if these are dead letters; None: where it is."""
        if not self.messages or not isinstance(self.messages[0], Revived):
            return None
        return [m.origin for m in self.messages if isinstance(m, Revived)]

    @classmethod
    def of(cls, topic: str, messages: Sequence[Message]) -> MessageBatch:
        """Read the columns off `messages` (all of `topic`, of one class) and group them by partition.

        Methods are mapped over the messages by their class, a third of what a call in a loop costs.
        """
        count = len(messages)
        if not count:
            return cls(topic, (), [], np.empty(0, np.int32), np.empty(0, np.int64), ())
        kind = type(messages[0])
        partitions = np.fromiter(map(kind.partition, messages), np.int32, count)
        if (np.diff(partitions) < 0).any():
            order = np.argsort(partitions, kind="stable")
            messages = [messages[i] for i in order.tolist()]
            partitions = partitions[order]
        offsets = np.fromiter(map(kind.offset, messages), np.int64, count)
        values: list[bytes | None] = list(map(kind.value, messages))  # type: ignore[arg-type]
        return cls(topic, messages, values, partitions, offsets, _spans(topic, partitions, offsets))


def _spans(topic: str, partitions: npt.NDArray[np.int32], offsets: npt.NDArray[np.int64]) -> tuple[Span, ...]:
    bounds = [0, *(np.flatnonzero(np.diff(partitions)) + 1).tolist(), len(partitions)]
    return tuple(
        Span(OffsetRange(topic, int(partitions[i]), int(offsets[i]), int(offsets[j - 1]) + 1), i, j)
        for i, j in pairwise(bounds)
    )


class Reject(NamedTuple):
    """A message that cannot become a record. `reason` is one of a small set, fit for a metric label."""

    message: Message
    tp: TopicPartition
    offset: int
    reason: str
    detail: str

    @property
    def range(self) -> OffsetRange:
        """The one offset that is held until this reject stands in the dead-letter topic."""
        return OffsetRange(*self.tp, self.offset, self.offset + 1)

    @property
    def origin(self) -> OffsetRange:
        """Where the message came from: of a dead letter that is rejected again, where it was rejected first."""
        return self.message.origin if isinstance(self.message, Revived) else self.range


def reject(messages: MessageBatch, row: int, reason: str, detail: str) -> Reject:
    """Return the reject of message number `row` of `messages`."""
    tp = TopicPartition(messages.topic, int(messages.partitions[row]))
    return Reject(messages.messages[row], tp, int(messages.offsets[row]), reason, detail)


@dataclass(frozen=True, slots=True)
class Deletes:
    """The rows to delete: `batch` holds the table's key columns and no others, `rows` is like that of `Decoded`."""

    batch: pa.RecordBatch
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What became of one MessageBatch.

    `batch` holds the records; `rows` (int64, ascending, as long as `batch`) the number of each record's message;
    `tombstones` counts messages without a value that are ignored; `nulled_dates` dates outside 1400 to 9999 that
    became null; `cut` strings that were truncated by setting; `deletes` is None where there are none.
    """

    batch: pa.RecordBatch
    rows: npt.NDArray[np.int64]
    rejects: list[Reject] = field(default_factory=list)
    tombstones: int = 0
    nulled_dates: int = 0
    cut: int = 0
    deletes: Deletes | None = None
