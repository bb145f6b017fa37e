"""Owns the spool directory and its limits: who may use it, how much of it is used, and what must go to disk next.

Never decides what to push. Invariant: one process uses a directory, and what an earlier one left of records is gone,
since Kafka holds the truth; what it learnt of table schemas stays.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, NamedTuple, TextIO

from connector.core.columns import COORDINATES, TableSchema
from connector.core.names import safe_name
from connector.errors import ConfigError, SpoolUnavailable
from connector.spool.buffer import TableBuffer
from connector.spool.chunks import discard_chunks
from connector.spool.parts import scratch_bytes, scratch_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from connector.config import Memory
    from connector.config import Spool as SpoolSettings
    from connector.core.loads import Load, Target

_SPOOL_SECONDS = 5.0  # after the disk refused a directory, before it is tried again
_SPOOL_HINT = "make room, or mount a writable volume there"
_PRESSED = 0.8  # of the limit: from here on the largest buffer goes first
_SPARE_DISK = 64 << 20  # a disk is called full while this much is left: one row group more must always fit


class _Kept(NamedTuple):
    """A load that is not released: the bytes of its segments, and where its scratch files may be."""

    size: int
    scratch: Path | None

    @property
    def used(self) -> int:
        """Bytes that it takes, or may take at any time."""
        return self.size + (max(self.size, scratch_bytes(self.scratch)) if self.scratch else 0)


class DiskSpool:
    """The spool of one process. Raises ConfigError when the directory cannot be used."""

    def __init__(self, spool: SpoolSettings, memory: Memory) -> None:
        self._limit, self._chunk_bytes, self._memory_limit = spool.bytes, spool.chunk_bytes, memory.buffer_bytes
        self._directory = spool.directory
        self._records = spool.directory / "records"
        self._schemas = spool.directory / "schemas"
        self._buffers: dict[str, TableBuffer] = {}
        self._loads: dict[str, _Kept] = {}
        try:
            self._schemas.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(spool.directory / "lock")
            shutil.rmtree(self._records, ignore_errors=True)
            self._records.mkdir()
        except BlockingIOError:
            raise ConfigError(
                [f"spool.directory: {spool.directory} is used by another process: give each its own"]
            ) from None
        except OSError as e:
            raise ConfigError(
                [f"spool.directory: cannot use {spool.directory}: {e.strerror}: mount a writable volume there"]
            ) from None

    def buffer(self, target: Target) -> TableBuffer:
        """Return the buffer of a table; its files go to a directory of their own; raises SpoolUnavailable."""
        if target.table not in self._buffers:
            directory = self._records / f"{len(self._buffers)}-{safe_name(target.table)}"
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise SpoolUnavailable(
                    f"spool.directory: cannot use {directory}: {e.strerror}", wait=_SPOOL_SECONDS, hint=_SPOOL_HINT
                ) from None
            self._buffers[target.table] = self._new_buffer(target, directory)
        return self._buffers[target.table]

    def _new_buffer(self, target: Target, directory: Path) -> TableBuffer:
        return TableBuffer(target, directory, self._chunk_bytes)

    @property
    def used(self) -> int:
        """Bytes on disk: buffers, and loads that are not released."""
        return sum(b.disk_bytes for b in self._buffers.values()) + sum(kept.used for kept in self._loads.values())

    @property
    def memory(self) -> int:
        """Bytes of records in memory."""
        return sum(b.pending_bytes for b in self._buffers.values())

    def full(self) -> bool:
        """Return whether the limit, or the disk itself, leaves no room for more."""
        return self.used >= self._limit or shutil.disk_usage(self._directory).free < _SPARE_DISK

    def pressed(self) -> bool:
        """Return whether the limit is near, so that the largest buffer must go first."""
        return self.used >= self._limit * _PRESSED or self.full()

    def overflowing(self) -> Sequence[str]:
        """Return the tables to spill now: those with a full row group, then the largest until memory is in bounds."""
        tables = [table for table, buffer in self._buffers.items() if buffer.must_spill]
        excess = self.memory - sum(self._buffers[t].pending_bytes for t in tables) - self._memory_limit
        if excess > 0:
            for table in sorted(self._buffers, key=lambda t: -self._buffers[t].pending_bytes):
                if excess <= 0:
                    break
                if table not in tables:
                    tables.append(table)
                    excess -= self._buffers[table].pending_bytes
        return tables

    def keep(self, load: Load) -> None:
        """Count the files of a load until it is released.

        A load whose last records of a key must be chosen may be written a second time; until then there may be scratch
        files in the place of that.
        """
        rewritten = load.target.keys and load.target.keys != COORDINATES
        self._loads[load.id] = _Kept(load.size, scratch_of(load) if rewritten else None)

    def release(self, load: Load) -> None:
        """Delete the files of a load that is done or given up."""
        self._loads.pop(load.id, None)
        for segment in load.segments:
            segment.path.unlink(missing_ok=True)
        discard_chunks(load)

    def close(self) -> None:
        """Delete all records and let another process use the directory."""
        for buffer in self._buffers.values():
            buffer.clear()
        shutil.rmtree(self._records, ignore_errors=True)
        self._lock.close()

    def remember(self, table: str, schema: TableSchema) -> None:
        """Keep the columns that a table has on the platform, for the next start."""
        path = self._schemas / f"{safe_name(table)}.json"
        fresh = path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(schema.to_wire(table, ())), encoding="utf-8")
            os.replace(fresh, path)  # noqa: PTH105 - the atomic one
        except OSError:
            fresh.unlink(missing_ok=True)  # the platform's own list of jobs is asked first anyway

    def remembered(self, table: str) -> TableSchema | None:
        """Return the columns kept by `remember`, or None."""
        try:
            return TableSchema.from_wire(json.loads((self._schemas / f"{safe_name(table)}.json").read_bytes()))
        except (OSError, ValueError, KeyError):
            return None


def check_directory(spool: SpoolSettings) -> str:
    """Return what can be said of the spool directory; it may be in use. Raises ConfigError when it is not writable."""
    try:
        spool.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=spool.directory) as probe:
            probe.write(b"kafka-celonis")
        free = shutil.disk_usage(spool.directory).free
    except OSError as e:
        raise ConfigError(
            [f"spool.directory: cannot write to {spool.directory}: {e.strerror}: mount a writable volume there"]
        ) from None
    text = f"{spool.directory.resolve()} is writable, {free >> 20:,} MiB are free"
    if free < spool.bytes:
        text += f" (less than spool.bytes, {spool.bytes >> 20:,} MiB: consumption pauses when the disk is full)"
    return text


def _locked(path: Path) -> TextIO:
    """Return the open lock file at `path`; the lock lives as long as it is open. Raises BlockingIOError."""
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise
    return lock
