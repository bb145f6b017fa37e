"""Owns the way back from a segment's file: its columns as those of the load, and who is to blame when it fails.

Never writes. Invariant: a value comes back as a record of its type would stand in a batch of the wanted one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from connector.core.columns import OF_ARROW
from connector.core.conform import convert
from connector.errors import SpoolDamaged

if TYPE_CHECKING:
    from connector.core.loads import Segment


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return `table` with exactly the columns of `schema`: widened, or null where it had none."""
    names = {name.lower(): name for name in table.column_names}
    columns = [
        _widened(table.column(names[f.name.lower()]), f.type)
        if f.name.lower() in names
        else pa.nulls(table.num_rows, f.type)
        for f in schema
    ]
    return pa.table(columns, schema=schema)


def _widened(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if column.type == wanted:
        return column
    chunks = (convert(chunk, OF_ARROW[column.type], OF_ARROW[wanted]).values for chunk in column.chunks)
    return pa.chunked_array(chunks, wanted)


class reading:  # noqa: N801 - reads as a statement
    """Name the segment that cannot be read back."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (OSError, pa.ArrowInvalid)):
            raise SpoolDamaged(
                f"{self._segment.path.name} cannot be read back: {error}", hint="check the disk of spool.directory"
            ) from error
