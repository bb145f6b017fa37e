"""Loads: what goes up is what came, the last record of a key wins, whatever was spilled, widened or lost between.

A tombstone is the last record of its key as any other one is: then the key goes up as a delete.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from connector.config import Table
from connector.core.columns import ARROW, Column, ColumnType, TableSchema
from connector.core.flush import Trigger
from connector.core.loads import Target
from connector.core.messages import Decoded, Deletes, MessageBatch
from connector.core.offsets import TopicPartition
from connector.formats import make_decoder
from connector.spool.buffer import TableBuffer
from connector.spool.chunks import build_chunks
from connector.spool.segments import check_file
from tests.fakes import FakeMessage

if TYPE_CHECKING:
    from connector.core.loads import Load


class Batch(NamedTuple):
    """One poll: (partition, key, value as JSON text) a message; then perhaps a spill, a new file, a partition lost."""

    messages: list[tuple[int, int, str]]
    spill: bool
    lost: int | None


def batches_of(*values: str) -> st.SearchStrategy[list[Batch]]:
    messages = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.sampled_from(values)), max_size=6)
    return st.lists(st.builds(Batch, messages, st.booleans(), st.none() | st.none() | st.integers(0, 2)), max_size=6)


# an integer that stood among doubles is written as one when text comes later, so these two do not meet here
BATCHES = batches_of("1", "2", "2.5", "9007199254740993", "null") | batches_of(
    "1", "9007199254740993", '"x"', "null", "true"
)


PART_ROWS = st.sampled_from([1, 2, 5, 1000])  # among how many rows the last of a key is chosen at once


def rows_of(load: Load, part_rows: int, *, deletes: bool = False) -> list[dict[str, Any]]:
    chunks = [chunk for chunk in build_chunks(load, part_rows) if chunk.deletes is deletes]
    assert all(check_file(c.path, c.rows) == c.size for c in chunks)
    tables = [pq.read_table(c.path) for c in chunks]
    assert len({tuple(t.schema) for t in tables}) <= 1, "chunks of one load agree on their columns"
    return [row for table in tables for row in table.to_pylist()]


def text(value: str, wide: str) -> Any:
    """Return what a column of type `wide` holds of a value."""
    if value == "null":
        return None
    if wide == "STRING":
        return value.strip('"')
    return {"FLOAT": float, "INTEGER": int, "BOOLEAN": bool}[wide](value if wide != "BOOLEAN" else 1)


@given(BATCHES, st.sampled_from([("k",), ("K", "p"), ("v",), ()]), PART_ROWS)
def test_the_last_record_of_a_key_wins_by_partition_and_offset(
    batches: list[Batch], keys: tuple[str, ...], part_rows: int
) -> None:
    decoder = make_decoder(Table(topics=["t"], format="json", keys=list(keys), append=not keys), TableSchema(), None)
    model: dict[tuple[int, int], tuple[int, int, str]] = {}  # (partition, offset) → (key, partition, value)
    offsets = [0, 0, 0]
    with tempfile.TemporaryDirectory() as directory:
        buffer = TableBuffer(Target("t", keys), Path(directory), 1 << 16)
        for batch in batches:
            messages = []
            for p, k, v in batch.messages:
                messages.append(FakeMessage("t", p, offsets[p], f'{{"k":{k},"p":{p},"v":{v}}}'.encode()))
                if not ("v" in keys and v == "null"):
                    model[p, offsets[p]] = (k, p, v)
                offsets[p] += 1
            taken = MessageBatch.of("t", messages)
            buffer.add(taken, decoder.decode(taken), decoder.schema, 0.0)
            if batch.spill:
                buffer.spill()
            if batch.lost is not None:
                buffer.drop({TopicPartition("t", batch.lost)})
                model = {at: row for at, row in model.items() if at[0] != batch.lost}
        load = buffer.flush(decoder.schema, Trigger.AGE)
        found = rows_of(load, part_rows)
        assert found == rows_of(load, part_rows), "a load may be built again"

    column = decoder.schema.get("v")
    wide = column.type.value if column else "STRING"
    rows = [(k, p, text(v, wide)) for _, (k, p, v) in sorted(model.items())]
    if keys:
        at = {"k": 0, "p": 1, "v": 2}
        rows = list({tuple(row[at[key.lower()]] for key in keys): row for row in rows}.values())
    assert sorted(map(repr, rows)) == sorted(repr((r["k"], r["p"], r.get("v"))) for r in found)
    assert {r.tp.partition for r in load.ranges} == {p for p, _ in model} if model else not found


class Poll(NamedTuple):
    """One poll: (partition, key, value, None for a tombstone) a message; then perhaps a spill, a partition lost."""

    messages: list[tuple[int, int, int | None]]
    spill: bool
    lost: int | None


def polls(values: st.SearchStrategy[int | None]) -> st.SearchStrategy[list[Poll]]:
    messages = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), values), max_size=6)
    return st.lists(st.builds(Poll, messages, st.booleans(), st.none() | st.none() | st.integers(0, 2)), max_size=6)


NULL = -1  # as a value: a record whose `v` is null
Log = dict[tuple[int, int], tuple[int, int | None]]  # (partition, offset) → (key, value)


def loaded(batches: list[Poll], directory: Path, target: Target) -> tuple[Load, Log]:
    """Return the load that the table's decoder and buffer make of `batches`, and what is left of the log."""
    settings: dict[str, Any] = {"keys": list(target.keys), "order_by": target.order_by}
    decoder = make_decoder(Table(topics=["t"], format="json", **settings), TableSchema(), None)
    buffer, log, offsets = TableBuffer(target, directory, 1 << 16), {}, [0, 0, 0]
    for batch in batches:
        messages = []
        for p, k, v in batch.messages:
            value = None if v is None else f'{{"k":{k},"p":{p},"v":{"null" if v == NULL else v}}}'.encode()
            key = f'{{"k":{k},"p":{p}}}' if len(target.keys) > 1 else f"{k}"
            messages.append(FakeMessage("t", p, offsets[p], value, key.encode()))
            log[p, offsets[p]] = k, v
            offsets[p] += 1 + k  # other messages may have stood between
        taken = MessageBatch.of("t", messages)
        decoded = decoder.decode(taken)
        assert not decoded.rejects
        buffer.add(taken, decoded, decoder.schema, 0.0)
        if batch.spill:
            buffer.spill()
        if batch.lost is not None:
            buffer.drop({TopicPartition("t", batch.lost)})
            log = {at: row for at, row in log.items() if at[0] != batch.lost}
    assert {r.tp.partition for r in buffer.held} == {p for p, _ in log}, "a tombstone holds its offset too"
    return buffer.flush(decoder.schema, Trigger.AGE), log


@given(polls(st.none() | st.integers(0, 9)), st.booleans(), PART_ROWS)
def test_a_key_ends_up_either_upserted_or_deleted_by_its_last_record(
    batches: list[Poll],
    compound: bool,  # noqa: FBT001
    part_rows: int,
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        load, log = loaded(batches, Path(directory), Target("t", ("p", "k") if compound else ("k",)))
        upserts, deletes = rows_of(load, part_rows), rows_of(load, part_rows, deletes=True)
        assert upserts == rows_of(load, 1000), "a load may be built again, in other parts"
        assert deletes == rows_of(load, 1000, deletes=True)
    last = {((p, k) if compound else (k,)): v for (p, _), (k, v) in sorted(log.items())}
    key = (lambda row: (row["p"], row["k"])) if compound else (lambda row: (row["k"],))
    assert sorted((key(r), r["v"]) for r in upserts) == sorted((k, v) for k, v in last.items() if v is not None)
    assert sorted(map(key, deletes)) == sorted(k for k, v in last.items() if v is None)
    assert all(len(row) == len(load.target.keys) for row in deletes), "deletes go up as keys alone"


@given(polls(st.none() | st.integers(NULL, 3)) | polls(st.integers(NULL, 3)), PART_ROWS)
def test_behind_its_last_tombstone_the_highest_value_of_order_by_wins(batches: list[Poll], part_rows: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        load, log = loaded(batches, Path(directory), Target("t", ("k",), "v"))
        upserts, deletes = rows_of(load, part_rows), rows_of(load, part_rows, deletes=True)
    behind: dict[int, list[tuple[int, int]]] = {}  # key → (value, partition) of the records that compete
    for (p, _), (k, v) in sorted(log.items()):
        if v is None:
            behind[k] = []
        else:
            behind.setdefault(k, []).append((v, p))
    winners = {k: max(enumerate(found), key=lambda c: (c[1][0], c[0]))[1] for k, found in behind.items() if found}
    assert sorted((r["k"], NULL if r.get("v") is None else r["v"], r["p"]) for r in upserts) == sorted(
        (k, *winner) for k, winner in winners.items()
    )
    assert sorted(r["k"] for r in deletes) == sorted(k for k, found in behind.items() if not found)


# like above, integers do not meet doubles where text may come later
KEYS: list[list[Any]] = [
    [1, 2, -7, (1 << 53) + 1, 2.5, 1e22, -0.0, 0],
    [1, 2, -7, (1 << 53) + 1, "1", "x", "1e5", "", True],
    [2.5, 1e22, 1.0, "1.0", "1e22", "x", False],
]


@given(
    st.sampled_from(KEYS).flatmap(
        lambda keys: st.lists(st.lists(st.sampled_from(keys), min_size=1, max_size=4), min_size=1, max_size=4)
    ),
    st.booleans(),
    PART_ROWS,
    st.data(),
)
def test_a_tombstone_deletes_the_row_of_the_record_with_its_key(
    polled: list[list[Any]],
    spills: bool,  # noqa: FBT001
    part_rows: int,
    data: st.DataObject,
) -> None:
    decoder = make_decoder(Table(topics=["t"], format="json", keys=["id"]), TableSchema(), None)
    with tempfile.TemporaryDirectory() as directory:
        buffer, offset = TableBuffer(Target("t", ("id",)), Path(directory), 1 << 16), 0

        def take(values: list[tuple[bytes | None, bytes]]) -> None:
            nonlocal offset
            taken = MessageBatch.of("t", [FakeMessage("t", 0, offset + i, *v) for i, v in enumerate(values)])
            decoded = decoder.decode(taken)
            assert not decoded.rejects
            buffer.add(taken, decoded, decoder.schema, 0.0)
            offset += len(values)
            if spills:
                buffer.spill()

        for values in polled:
            take([(orjson.dumps({"id": v}), b"") for v in values])
        for values in data.draw(st.permutations(polled)):
            take([(None, orjson.dumps({"id": v})) for v in values])
        load = buffer.flush(decoder.schema, Trigger.AGE)
        assert rows_of(load, part_rows) == []
        assert (
            1 <= len(rows_of(load, part_rows, deletes=True)) <= len({(type(v), v) for values in polled for v in values})
        )


Keyed = tuple[bool, list[tuple[int, bool]]]  # whether the key column is wide by now, and (key, deleted) a message


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=5)), max_size=6),
    st.sampled_from([ColumnType.FLOAT, ColumnType.STRING]),
    PART_ROWS,
)
def test_deletes_and_records_compare_as_what_their_keys_have_widened_to(
    batches: list[Keyed], wide: ColumnType, part_rows: int
) -> None:
    python: type = float if wide is ColumnType.FLOAT else str
    expected: dict[Any, tuple[bool, int]] = {}
    kind, offset = ColumnType.INTEGER, 0
    with tempfile.TemporaryDirectory() as directory:
        buffer = TableBuffer(Target("t", ("k",)), Path(directory), 1 << 16)
        for widens, rows in batches:
            kind = wide if widens else kind
            keys = pa.array([k if kind is ColumnType.INTEGER else python(k) for k, _ in rows], ARROW[kind])
            gone, places = np.array([deleted for _, deleted in rows], np.bool_), np.arange(len(rows))
            schema = TableSchema((Column("k", kind), Column("at", ColumnType.INTEGER)))
            batch = pa.record_batch([keys, pa.array(places + offset)], schema=schema.arrow())
            deletes = Deletes(batch.select(["k"]).filter(pa.array(gone)), places[gone])
            messages = MessageBatch.of("t", [FakeMessage("t", 0, offset + i) for i in range(len(rows))])
            buffer.add(messages, Decoded(batch.filter(pa.array(~gone)), places[~gone], deletes=deletes), schema, 0.0)
            expected.update({python(k): (deleted, offset + i) for i, (k, deleted) in enumerate(rows)})
            offset += len(rows)
        load = buffer.flush(TableSchema((Column("k", wide), Column("at", ColumnType.INTEGER))), Trigger.AGE)
        upserts, removed = rows_of(load, part_rows), rows_of(load, part_rows, deletes=True)
    assert sorted((r["k"], r["at"]) for r in upserts) == sorted(
        (k, at) for k, (gone, at) in expected.items() if not gone
    )
    assert sorted(r["k"] for r in removed) == sorted(k for k, (gone, _) in expected.items() if gone)
