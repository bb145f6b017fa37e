"""Owns the parts of rows that are too many for memory: scratch files, by the hash of the rows' keys.

Never keeps a file beyond its `with` block, and never takes a part that the disk lost for one without rows. Invariant:
all rows of a key are in one part, in the order in which they came; where the files of a load are follows from the load
alone, so that they can be counted while they are there.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from connector.errors import SpoolDamaged
from connector.spool.candidates import DELETED, PLACE, ROW, VALUE
from connector.spool.hashes import hashes
from connector.spool.segments import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from connector.core.loads import Load

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_HINT = "check the disk of spool.directory"


class _Part(NamedTuple):
    """A scratch file, and the rows that were written to it."""

    path: Path
    rows: int


def scratch_of(load: Load) -> Path:
    """Return where the scratch files of `load` are, as long as there are any."""
    return load.segments[0].path.parent / f"{load.id}.scratch"


def scratch_bytes(directory: Path) -> int:
    """Return the bytes of the scratch files below `directory`; 0 where there are none."""
    try:
        with os.scandir(directory) as files:
            return sum(file.stat().st_size for file in files)
    except OSError:  # another thread deletes them
        return 0


@contextmanager
def spread(tables: Iterable[pa.Table], parts: int, directory: Path) -> Iterator[Iterator[Iterator[pa.Table]]]:
    """Yield the rows of `tables` by part, each as tables of some rows; `directory` is made, and gone at the end.

    Raises:
        SpoolFull: the disk did not take them.
        SpoolDamaged: the disk lost some of them.
    """
    with disk_errors(directory):
        try:
            directory.mkdir(exist_ok=True)
            written = _write(tables, [directory / f"{number}.arrow" for number in range(parts)])
            yield (_read(part) for part in written)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _write(tables: Iterable[pa.Table], paths: Sequence[Path]) -> Sequence[_Part]:
    """Write the rows to one file each; none is made where no row comes."""
    rows = np.zeros(len(paths), np.int64)
    with ExitStack() as files:
        writers: list[pa.ipc.RecordBatchStreamWriter] = []
        for table in tables:
            writers = writers or [_writer(path, table.schema, files) for path in paths]
            part = (_hashes(table) >> np.uint64(32)) % np.uint64(len(paths))
            order = np.argsort(part.astype(np.uint16), kind="stable")
            bounds = np.searchsorted(part[order], np.arange(len(paths) + 1))
            rows += np.diff(bounds)
            by_part = table.take(pa.array(order)).combine_chunks()
            for writer, first, stop in zip(writers, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                if stop > first:
                    writer.write_table(by_part.slice(first, stop - first))
    return [_Part(path, count) for path, count in zip(paths, rows.tolist(), strict=True) if writers]


def _writer(path: Path, schema: pa.Schema, files: ExitStack) -> pa.ipc.RecordBatchStreamWriter:
    file = files.enter_context(pa.OSFile(str(path), "wb"))
    return files.enter_context(pa.ipc.new_stream(file, schema, options=_OPTIONS))


def _read(part: _Part) -> Iterator[pa.Table]:
    rows = 0
    try:
        with pa.OSFile(str(part.path)) as file, pa.ipc.open_stream(file) as batches:
            for batch in batches:
                rows += batch.num_rows
                yield pa.table(batch)
    except (OSError, pa.ArrowInvalid) as e:
        raise SpoolDamaged(f"{part.path} cannot be read back: {e}", hint=_HINT) from e
    if rows != part.rows:
        raise SpoolDamaged(f"{part.path} holds {rows} rows instead of {part.rows}", hint=_HINT)


def _hashes(table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return hashes([table.column(n) for n in table.column_names if n not in (ROW, PLACE, DELETED, VALUE)])
