"""Owns the quick parts of a replica that hold its records: decoder, buffer, spool, dead letters, observer.

Never touches a disk and never decides about offsets. Invariant: what a partition held is gone once it is dropped, and
a load's chunks hold exactly its live rows, of a key only the last one, as with the real spool.
"""

# ruff: noqa: ARG002 - the ports name their arguments

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from connector.core.columns import TableSchema
from connector.core.flush import Fill
from connector.core.loads import Chunk, Load, Run, Segment
from connector.core.messages import Decoded, MessageBatch, Reject, reject
from connector.core.offsets import OffsetRange, TopicPartition, merge_ranges
from tests.property.simulation.platform import Broken, Row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from random import Random

    from connector.core.flush import Trigger
    from connector.core.loads import Receipt, Target
    from connector.errors import Unavailable

REJECT = b"?"
_SCHEMA = TableSchema()
_NOWHERE = Path("nowhere")


def row_of(tp: TopicPartition, offset: int, value: bytes | None) -> Row | None:
    """Return the record of a message, or None for a tombstone or a reject."""
    if value is None or value.startswith(REJECT):
        return None
    key, _, text = value.decode().partition(":")
    return Row(*tp, offset, key, text)


class SimDecoder:
    """`key:value` is a record, `?` a reject, and no value a tombstone, which leaves nothing."""

    schema = _SCHEMA

    def decode(self, messages: MessageBatch) -> Decoded:
        rows: list[Row] = []
        numbers: list[int] = []
        rejects: list[Reject] = []
        for span in messages.spans:
            tp = span.range.tp
            for number in range(span.first, span.stop):
                value = messages.values[number]
                row = row_of(tp, int(messages.offsets[number]), value)
                if row:
                    rows.append(row)
                    numbers.append(number)
                elif value is not None:
                    rejects.append(reject(messages, number, "broken", "a reject"))
        tombstones = len(messages.values) - len(rows) - len(rejects)
        return Decoded(cast("Any", rows), np.array(numbers, np.int64), rejects, tombstones)

    def establish(self) -> None:
        return None


class SimSpool:
    """The rows of all loads of one process, by the file that would hold them."""

    used = memory = 0

    def __init__(self) -> None:
        self.files: dict[Path, list[Row]] = {}
        self._numbers = 0

    def store(self, rows: list[Row]) -> Path:
        self._numbers += 1
        path = Path(f"{self._numbers}")
        self.files[path] = rows
        return path

    def full(self) -> bool:
        return False

    def pressed(self) -> bool:
        return False

    def overflowing(self) -> Sequence[str]:
        return ()

    def keep(self, load: Load) -> None:
        return None

    def release(self, load: Load) -> None:
        for segment in load.segments:
            self.files.pop(segment.path, None)

    def remember(self, table: str, schema: TableSchema) -> None:
        return None

    def build(self, load: Load) -> tuple[Chunk, ...]:
        """Return the chunks of a load: its live rows, two to a chunk."""
        rows: list[Row] = []
        for segment in load.segments:
            stored, at = self.files[segment.path], 0
            for run in segment.runs:
                rows += stored[at : at + run.rows] if run.live else ()
                at += run.rows
        if load.target.keys:
            rows = list({row.key: row for row in rows}.values())
        parts = [rows] if len(rows) < 4 else [rows[:2], rows[2:]]
        return tuple(Chunk(self.store(part), len(part), 1) for part in parts if part)


class SimBuffer:
    """The open records of one table, as runs of rows."""

    def __init__(self, target: Target, spool: SimSpool) -> None:
        self._target, self._spool = target, spool
        self._sealed = 0
        self._rows: list[Row] = []
        self._runs: list[Run] = []
        self._held: dict[TopicPartition, OffsetRange] = {}
        self._opened_at = 0.0

    @property
    def fill(self) -> Fill:
        return Fill(len(self._rows), len(self._rows), self._opened_at)

    @property
    def held(self) -> Iterable[OffsetRange]:
        return self._held.values()

    def add(self, messages: MessageBatch, decoded: Decoded, schema: TableSchema, now: float) -> None:
        rows = cast("list[Row]", decoded.batch)
        if rows and not self._held:
            self._opened_at = now
        for span in messages.spans:
            mine = [row for row in rows if row.partition == span.range.partition]
            if mine:
                self._rows += mine
                self._runs.append(Run(span.range, len(mine)))
                known = self._held.get(span.range.tp, span.range)
                self._held[span.range.tp] = known._replace(end=span.range.end)

    def spill(self) -> None:
        return None

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        for tp in partitions:
            self._held.pop(tp, None)
        self._rows = [row for row in self._rows if TopicPartition(row.topic, row.partition) not in partitions]
        self._runs = [run for run in self._runs if run.tp not in partitions]

    def clear(self) -> None:
        self._rows, self._runs, self._held, self._opened_at = [], [], {}, 0.0

    def flush(self, schema: TableSchema, trigger: Trigger) -> Load:
        self._sealed += 1
        size = len(self._rows)
        segment = Segment(self._spool.store(self._rows), schema, size, size, tuple(self._runs))
        ranges, opened_at = merge_ranges(self._held.values()), self._opened_at
        self.clear()
        return Load(
            f"{self._target.table}-{self._sealed}", self._target, schema, (segment,), ranges, trigger, opened_at
        )


class SimDeadLetters:
    """The producer of one process: a reject arrives at the topic some time after it was sent, its answer later."""

    def __init__(self, dice: Random, topic: Counter[OffsetRange]) -> None:
        self._dice, self._topic = dice, topic
        self._waiting: list[OffsetRange] = []
        self._arrived: list[OffsetRange] = []
        self._held: Counter[OffsetRange] = Counter()
        self.smooth = False
        self.full = False

    @property
    def held(self) -> Iterable[OffsetRange]:
        return self._held.keys()

    def send(self, rejects: Sequence[Reject]) -> None:
        self._waiting += [r.range for r in rejects]
        self._held.update(r.range for r in rejects)

    def serve(self) -> None:
        """Let some arrive, and take some answers in, also those for what was dropped meanwhile."""
        while self._arrived and self._often():
            at = self._arrived.pop(0)
            if self._held[at] > 1:
                self._held[at] -= 1
            else:
                del self._held[at]
        while self._waiting and self._often():
            self._topic[self._waiting[0]] += 1
            self._arrived.append(self._waiting.pop(0))

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        self._waiting = [r for r in self._waiting if r.tp not in partitions]
        self._held = Counter({r: n for r, n in self._held.items() if r.tp not in partitions})

    def flush(self, timeout: float) -> bool:
        return not self._held

    def _often(self) -> bool:
        return self.smooth or self._dice.random() < 0.3


class SimObserver:
    """Looks away, but for what the product itself calls a bug."""

    def decoded(self, table: str, messages: MessageBatch, decoded: Decoded) -> None:
        return None

    def stalled(self, topic: str, error: Unavailable) -> None:
        return None

    def flushed(self, load: Load, now: float) -> None:
        return None

    def settled(self, receipt: Receipt) -> None:
        return None

    def halted(self, table: str, reason: str) -> None:
        if "this is a bug" in reason:
            raise Broken(reason)

    def rebalanced(self, event: str) -> None:
        return None
