"""The spool directory and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from connector.config import Memory, Spool
from connector.core.columns import COORDINATES
from connector.core.flush import Trigger
from connector.core.loads import Target
from connector.errors import ConfigError, SpoolUnavailable
from connector.spool.parts import scratch_of, spread
from connector.spool.spool import DiskSpool
from tests.unit.spool.test_buffer_and_chunks import NARROW, add

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[DiskSpool]:
    made = DiskSpool(Spool(directory=tmp_path, bytes=1 << 20, chunk_bytes=1 << 16), Memory(buffer_bytes=1 << 20))
    yield made
    made.close()


def test_two_processes_cannot_share_a_directory(spool: DiskSpool, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="used by another process"):
        DiskSpool(Spool(directory=tmp_path), Memory())
    assert spool.used == 0


def test_a_directory_that_cannot_be_made_is_a_problem_of_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"spool\.directory"):
        DiskSpool(Spool(directory=tmp_path / "file"), Memory())


def test_a_disk_without_place_for_a_table_is_asked_again_later(spool: DiskSpool, tmp_path: Path) -> None:
    records = tmp_path / "records"
    records.rmdir()
    records.write_text("no directory")
    with pytest.raises(SpoolUnavailable, match=r"spool\.directory: cannot use .*writable volume") as caught:
        spool.buffer(Target("t", ()))
    assert caught.value.wait > 0
    records.unlink()
    assert spool.buffer(Target("t", ())).fill.records == 0


def test_records_of_an_earlier_process_are_gone_and_its_schemas_stay(tmp_path: Path) -> None:
    settings = Spool(directory=tmp_path)
    first = DiskSpool(settings, Memory())
    (tmp_path / "records" / "left-over").write_text("x")
    first.remember("t", NARROW)
    first._lock.close()
    second = DiskSpool(settings, Memory())
    assert not list((tmp_path / "records").iterdir())
    remembered = second.remembered("t")
    assert remembered
    assert remembered.arrow() == NARROW.arrow()
    assert all(c.established for c in remembered.columns)
    assert second.remembered("u") is None
    second.close()


def test_loads_count_until_they_are_released(spool: DiskSpool, tmp_path: Path) -> None:
    for keys, copies in (((), 1), (COORDINATES, 1), (("id",), 2)):
        buffer = spool.buffer(Target(f"t{len(keys)}", keys))
        add(buffer, [("a", 1)])
        load = buffer.flush(NARROW, Trigger.AGE)
        spool.keep(load)
        assert spool.used == load.size * copies
        spool.release(load)
        assert spool.used == 0
    assert not [p for p in (tmp_path / "records").rglob("*") if p.is_file()]


def test_scratch_files_count_as_long_as_they_are_there_where_they_are_more_than_what_replaces_them(
    spool: DiskSpool,
) -> None:
    buffer = spool.buffer(Target("t", ("id",)))
    numbers = np.random.default_rng(1)
    add(buffer, [(numbers.bytes(50).hex(), 1) for _ in range(1000)])
    load = buffer.flush(NARROW, Trigger.AGE)
    spool.keep(load)
    for rows in (1, 100_000):
        with spread([pa.table({"id": numbers.integers(1 << 62, size=rows)})], 2, scratch_of(load)):
            scratch = sum(file.stat().st_size for file in scratch_of(load).iterdir())
            assert (scratch > load.size) == (rows > 1)
            assert spool.used == load.size + max(load.size, scratch)
        assert spool.used == 2 * load.size


def test_full_row_groups_spill_first_then_the_largest_buffers(spool: DiskSpool) -> None:
    many, some, few = (spool.buffer(Target(name, ())) for name in ("many", "some", "few"))
    add(few, [("x" * 100, 1)] * 10)
    assert spool.overflowing() == []
    add(many, [("", 1)] * 100_000)
    assert spool.overflowing() == ["many"]
    add(some, [("x" * 100, 1)] * 20_000)
    assert spool.overflowing() == ["many", "some"]
    for buffer in (many, some):
        buffer.spill()
    assert spool.overflowing() == []
    assert spool.memory == few.pending_bytes


def test_the_spool_is_full_at_its_limit(spool: DiskSpool) -> None:
    buffer = spool.buffer(Target("t", ()))
    assert not spool.full()
    add(buffer, [(f"{j * 7919**3 % 10**12}" * 4, j) for j in range(50_000)])
    buffer.spill()
    assert spool.full()
    buffer.clear()
    assert not spool.full()
