"""Owns the spool of tables that are replaced as a whole: each is one load, which takes its partitions to their ends.

Never lets a part of a table go first to make room. Invariant: a load carries each of its partitions up to the end of
what is read, also where no row came of the last messages before it (a commit marker, a reject, a tombstone that is
ignored): by that end alone a later process knows that the table is done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from connector.errors import ConnectorError
from connector.spool.buffer import TableBuffer
from connector.spool.spool import DiskSpool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from connector.config import Memory
    from connector.config import Spool as SpoolSettings
    from connector.core.columns import TableSchema
    from connector.core.flush import Trigger
    from connector.core.loads import Load, Target
    from connector.core.offsets import TopicPartition

    Ends = Mapping[TopicPartition, int]


class WholeBuffer(TableBuffer):
    """A buffer that is flushed once all is read up to `ends` (the next offsets after it)."""

    def __init__(self, target: Target, directory: Path, chunk_bytes: int, ends: Ends) -> None:
        super().__init__(target, directory, chunk_bytes)
        self._ends = ends

    def flush(self, schema: TableSchema, trigger: Trigger) -> Load:
        """Seal everything into a load that reaches to the ends; raises SpoolFull like `add`."""
        load = super().flush(schema, trigger)
        return replace(load, ranges=tuple(r._replace(end=self._ends[r.tp]) for r in load.ranges))


class WholeSpool(DiskSpool):
    """A spool in which a whole table must find place before anything of it can be pushed.

    Raises:
        ConfigError: the directory cannot be used.
    """

    def __init__(self, spool: SpoolSettings, memory: Memory, ends: Ends) -> None:
        super().__init__(spool, memory)
        self._ends = ends

    def pressed(self) -> bool:
        """Return that nothing must be pushed; raises ConnectorError when there is no place for the rest."""
        if self.full():
            raise ConnectorError(
                f"the table does not fit into the spool ({self.used >> 20:,} MiB are used)",
                hint="raise spool.bytes, or give spool.directory a larger volume, then give the same command again",
            )
        return False

    def _new_buffer(self, target: Target, directory: Path) -> TableBuffer:
        return WholeBuffer(target, directory, self._chunk_bytes, self._ends)
