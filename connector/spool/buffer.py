"""Owns the open records and deletes of one table: batches in memory, then segments on local disk.

Never decides when to flush. Invariant: every record or delete that went in is in exactly one of the pending batches,
the open file or a finished segment of its kind, until its partition is dropped or a load takes it.
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
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt
    import pyarrow as pa

    from connector.core.columns import TableSchema
    from connector.core.flush import Trigger
    from connector.core.loads import Target
    from connector.core.messages import Decoded, MessageBatch, Span


_NO_ROWS = np.empty(0, np.int64)


@dataclass(slots=True)
class _Open:
    """Records of one schema that are not in a finished segment: in memory (`pending`), and before them in `file`.

    `deletes`: these are rows to be deleted.
    """

    schema: TableSchema
    deletes: bool = False
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
        self._open: dict[bool, _Open] = {}  # deletes (True) and records (False)
        self._segments: list[Segment] = []
        self._held: dict[TopicPartition, OffsetRange] = {}
        self._opened_at = self._arrivals = 0.0

    @property
    def fill(self) -> Fill:
        """How full the buffer is, deletes included; dropped records on disk count until the next flush."""
        if not self._held:
            return Fill(0, 0, 0.0)
        rows = sum(s.rows for s in self._segments) + sum(o.rows for o in self._open.values())
        return Fill(rows, self.pending_bytes + self.disk_bytes, self._opened_at, self._arrivals)

    @property
    def disk_bytes(self) -> int:
        """Bytes of this buffer on local disk."""
        return sum(s.size for s in self._segments) + sum(o.file.size for o in self._open.values() if o.file)

    @property
    def pending_bytes(self) -> int:
        """Bytes of this buffer in memory."""
        return sum(o.pending_bytes for o in self._open.values())

    @property
    def must_spill(self) -> bool:
        """Whether the batches in memory make a full row group."""
        return any(o.pending_rows >= ROW_GROUP_ROWS for o in self._open.values())

    @property
    def held(self) -> Iterable[OffsetRange]:
        """One offset range per partition whose records are here."""
        return self._held.values()

    def add(self, messages: MessageBatch, decoded: Decoded, schema: TableSchema, now: float) -> None:
        """Take in what became of `messages`, which stands in `schema`; touches the disk only when the schema widened.

        Raises:
            SpoolFull: the disk took nothing more; what `held` says must be read again after `clear`.
        """
        records, deletes = decoded.rows, decoded.deletes.rows if decoded.deletes else _NO_ROWS
        if not self._held:
            self._opened_at = now
        self._arrivals += (len(records) + len(deletes)) * now
        if len(records):
            self._append(schema, decoded.batch, list(_runs(messages.spans, records, deletes)))
        if decoded.deletes and len(deletes):
            runs = list(_runs(messages.spans, deletes, records))
            self._append(schema.only(self._target.keys), decoded.deletes.batch, runs, deletes=True)

    def _append(
        self, schema: TableSchema, batch: pa.RecordBatch, runs: Sequence[Run], *, deletes: bool = False
    ) -> None:
        if deletes in self._open and not self._open[deletes].schema.stands_like(schema):
            self._finish(self._open[deletes])
        records = self._open.setdefault(deletes, _Open(schema, deletes))
        for run in runs:
            known = self._held.get(run.tp, run.range)
            self._held[run.tp] = known._replace(end=run.range.end)
        records.pending_runs += runs
        records.pending.append(batch)
        records.pending_rows += batch.num_rows
        records.pending_bytes += batch.nbytes

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the records of `partitions`; those that lie between others are left out when chunks are built."""
        for tp in partitions:
            self._held.pop(tp, None)
        if not self._held:
            self.clear()
            return
        for records in self._open.values():
            records.pending_runs = [_without(r, partitions) for r in records.pending_runs]
            records.file_runs = [_without(r, partitions) for r in records.file_runs]
        self._segments = [replace(s, runs=tuple(_without(r, partitions) for r in s.runs)) for s in self._segments]

    def clear(self) -> None:
        """Forget everything and delete its files."""
        for records in self._open.values():
            if records.file:
                records.file.discard()
        for segment in self._segments:
            segment.path.unlink(missing_ok=True)
        self._reset()

    def spill(self) -> None:
        """Write the batches in memory to disk; raises SpoolFull like `add`."""
        for records in self._open.values():
            if records.pending:
                self._write(records)

    def flush(self, schema: TableSchema, trigger: Trigger) -> Load:
        """Seal everything into a load in `schema`, and begin anew; raises SpoolFull like `add`."""
        for records in list(self._open.values()):
            self._finish(records)
        load = Load(
            id=uuid.uuid4().hex[:12],
            target=self._target,
            schema=schema,
            segments=tuple(self._segments),
            ranges=merge_ranges(self._held.values()),
            trigger=trigger,
            opened_at=self._opened_at,
            arrivals=self._arrivals,
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
        del self._open[records.deletes]

    def _close(self, records: _Open, file: ParquetFile) -> None:
        path = file.close([r.range for r in records.file_runs])
        size = check_file(path, file.rows)
        runs = tuple(records.file_runs)
        self._segments.append(Segment(path, records.schema, file.rows, size, runs, records.deletes))
        records.file, records.file_runs = None, []


def _runs(spans: Sequence[Span], rows: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> Iterator[Run]:
    """Yield the runs of `rows`, with their places where rows of the other kind come from the same span."""
    stops = [span.stop for span in spans]
    ends, ends_of_others = np.searchsorted(rows, stops).tolist(), np.searchsorted(others, stops).tolist()
    first = first_of_others = 0
    for span, end, end_of_others in zip(spans, ends, ends_of_others, strict=True):
        places = None
        if end > first and end_of_others > first_of_others:
            places = (rows[first:end] - span.first).astype(np.min_scalar_type(span.stop - span.first))
        if end > first:
            yield Run(span.range, end - first, places=places)
        first, first_of_others = end, end_of_others


def _without(run: Run, partitions: Collection[TopicPartition]) -> Run:
    return run._replace(live=False) if run.tp in partitions else run
