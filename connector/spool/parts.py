"""Owns the parts of rows that are too many for memory: scratch files, by the hash of the rows' keys.

Never keeps a file beyond its `with` block. Invariant: all rows of a key are in one part, in the order in which they
came.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from connector.spool.candidates import DELETED, PLACE, ROW, VALUE
from connector.spool.hashes import hashes
from connector.spool.segments import disk_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


@contextmanager
def spread(tables: Iterable[pa.Table], parts: int, directory: Path) -> Iterator[Iterator[Iterator[pa.Table]]]:
    """Yield the rows of `tables` by part, each as tables of some rows; scratch files go below `directory`.

    Raises:
        SpoolFull: the disk did not take them.
    """
    with disk_errors(directory), tempfile.TemporaryDirectory(dir=directory) as name:
        paths = [Path(name) / f"{number}.arrow" for number in range(parts)]
        _write(tables, paths)
        yield (_read(path) for path in paths)


def _write(tables: Iterable[pa.Table], paths: Sequence[Path]) -> None:
    with ExitStack() as files:
        writers: list[pa.ipc.RecordBatchStreamWriter] = []
        for table in tables:
            writers = writers or [_writer(path, table.schema, files) for path in paths]
            part = (_hashes(table) >> np.uint64(32)) % np.uint64(len(paths))
            order = np.argsort(part.astype(np.uint16), kind="stable")
            bounds = np.searchsorted(part[order], np.arange(len(paths) + 1)).tolist()
            by_part = table.take(pa.array(order)).combine_chunks()
            for number, writer in enumerate(writers):
                if bounds[number + 1] > bounds[number]:
                    writer.write_table(by_part.slice(bounds[number], bounds[number + 1] - bounds[number]))


def _writer(path: Path, schema: pa.Schema, files: ExitStack) -> pa.ipc.RecordBatchStreamWriter:
    file = files.enter_context(pa.OSFile(str(path), "wb"))
    return files.enter_context(pa.ipc.new_stream(file, schema, options=_OPTIONS))


def _read(path: Path) -> Iterator[pa.Table]:
    if path.exists():
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as batches:
            for batch in batches:
                yield pa.table(batch)


def _hashes(table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return hashes([table.column(n) for n in table.column_names if n not in (ROW, PLACE, DELETED, VALUE)])
