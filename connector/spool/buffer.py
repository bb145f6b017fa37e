"""Owns the open records of one table: batches in memory, then segments on local disk.

Never decides when to flush. Invariant: every record that went in is in exactly one of the pending batches, the open
file or a finished segment, in the order of arrival, until its partition is dropped or a load takes it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from connector.core.flush import Fill
from connector.core.loads import Load, Run, Segment
from connector.core.offsets import OffsetRange, TopicPartition, merge_ranges
from connector.spool.segments import ROW_GROUP_ROWS, ParquetFile, check_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    import pyarrow as pa

    from connector.core.columns import TableSchema
    from connector.core.flush import Trigger
    from connector.core.loads import Target
    from connector.core.messages import Decoded, MessageBatch


@dataclass(slots=True)
class _Open:
    """Records of one schema that are not in a finished segment: in memory (`pending`), and before them in `file`."""

    schema: TableSchema
    pending: list[pa.RecordBatch] = field(default_factory=list)
    pending_rows: int = 0
    pending_bytes: int = 0
    pending_runs: list[Run] = field(default_factory=list)
    file: ParquetFile | None = None
    file_runs: list[Run] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return self.pending_rows + (self.file.rows if self.file else 0)


class TableBuffer:
    """The buffer of one table. Files go to `directory`; one is closed when it reaches `chunk_bytes`."""

    def __init__(self, target: Target, directory: Path, chunk_bytes: int) -> None:
        self._target = target
        self._directory = directory
        self._chunk_bytes = chunk_bytes
        self._files = 0
        self._reset()

    def _reset(self) -> None:
        self._open: _Open | None = None
        self._segments: list[Segment] = []
        self._held: dict[TopicPartition, OffsetRange] = {}
        self._opened_at = 0.0

    @property
    def fill(self) -> Fill:
        """How full the buffer is; dropped records on disk count until the next flush."""
        if not self._held:
            return Fill(0, 0, 0.0)
        rows = sum(s.rows for s in self._segments) + (self._open.rows if self._open else 0)
        return Fill(rows, self.pending_bytes + self.disk_bytes, self._opened_at)

    @property
    def disk_bytes(self) -> int:
        """Bytes of this buffer on local disk."""
        file = self._open.file if self._open else None
        return sum(s.size for s in self._segments) + (file.size if file else 0)

    @property
    def pending_bytes(self) -> int:
        """Bytes of this buffer in memory."""
        return self._open.pending_bytes if self._open else 0

    @property
    def must_spill(self) -> bool:
        """Whether the batches in memory make a full row group."""
        return self._open is not None and self._open.pending_rows >= ROW_GROUP_ROWS

    @property
    def held(self) -> Iterable[OffsetRange]:
        """One offset range per partition whose records are here."""
        return self._held.values()

    def add(self, messages: MessageBatch, decoded: Decoded, schema: TableSchema, now: float) -> None:
        """Take in the records of `messages`, which stand in `schema`; touches the disk only when the schema widened.

        Raises:
            SpoolFull: the disk took nothing more; what `held` says must be read again after `clear`.
        """
        if not len(decoded.rows):
            return
        if self._open and not self._open.schema.stands_like(schema):
            self._finish(self._open)
        self._open = self._open or _Open(schema)
        if not self._held:
            self._opened_at = now
        counts = np.searchsorted(decoded.rows, [span.stop for span in messages.spans]).tolist()
        before = 0
        for span, upto in zip(messages.spans, counts, strict=True):
            if upto > before:
                self._open.pending_runs.append(Run(span.range, upto - before))
                known = self._held.get(span.range.tp, span.range)
                self._held[span.range.tp] = known._replace(end=span.range.end)
            before = upto
        self._open.pending.append(decoded.batch)
        self._open.pending_rows += decoded.batch.num_rows
        self._open.pending_bytes += decoded.batch.nbytes

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the records of `partitions`; those that lie between others are left out when chunks are built."""
        for tp in partitions:
            self._held.pop(tp, None)
        if not self._held:
            self.clear()
            return
        if self._open:
            self._open.pending_runs = [_without(r, partitions) for r in self._open.pending_runs]
            self._open.file_runs = [_without(r, partitions) for r in self._open.file_runs]
        self._segments = [replace(s, runs=tuple(_without(r, partitions) for r in s.runs)) for s in self._segments]

    def clear(self) -> None:
        """Forget everything and delete its files."""
        if self._open and self._open.file:
            self._open.file.discard()
        for segment in self._segments:
            segment.path.unlink(missing_ok=True)
        self._reset()

    def spill(self) -> None:
        """Write the batches in memory to disk; raises SpoolFull like `add`."""
        if self._open and self._open.pending:
            self._write(self._open)

    def flush(self, schema: TableSchema, trigger: Trigger) -> Load:
        """Seal everything into a load in `schema`, and begin anew; raises SpoolFull like `add`."""
        if self._open:
            self._finish(self._open)
        load = Load(
            id=uuid.uuid4().hex[:12],
            target=self._target,
            schema=schema,
            segments=tuple(self._segments),
            ranges=merge_ranges(self._held.values()),
            trigger=trigger,
            opened_at=self._opened_at,
        )
        self._reset()
        return load

    def _write(self, records: _Open) -> None:
        if records.file and records.file.size + records.pending_bytes > self._chunk_bytes:
            self._close(records, records.file)
        if records.file is None:
            self._files += 1
            records.file = ParquetFile(self._directory, self._target.table, f"{self._files}", records.schema.arrow())
        records.file.write(records.pending)
        records.file_runs += records.pending_runs
        records.pending, records.pending_runs = [], []
        records.pending_rows = records.pending_bytes = 0

    def _finish(self, records: _Open) -> None:
        if records.pending:
            self._write(records)
        if records.file:
            self._close(records, records.file)
        self._open = None

    def _close(self, records: _Open, file: ParquetFile) -> None:
        path = file.close([r.range for r in records.file_runs])
        size = check_file(path, file.rows)
        self._segments.append(Segment(path, records.schema, file.rows, size, tuple(records.file_runs)))
        records.file, records.file_runs = None, []


def _without(run: Run, partitions: Collection[TopicPartition]) -> Run:
    return run._replace(live=False) if run.tp in partitions else run
