"""Loads: what goes up is what came, the last record of a key wins, whatever was spilled, widened or lost between."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from connector.config import Table
from connector.core.columns import TableSchema
from connector.core.flush import Trigger
from connector.core.loads import Target
from connector.core.messages import MessageBatch
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


def rows_of(load: Load) -> list[dict[str, Any]]:
    chunks = build_chunks(load)
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


@given(BATCHES, st.sampled_from([("k",), ("K", "p"), ("v",), ()]))
def test_the_last_record_of_a_key_wins_by_partition_and_offset(batches: list[Batch], keys: tuple[str, ...]) -> None:
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
        found = rows_of(load)
        assert found == rows_of(load), "a load may be built again"

    column = decoder.schema.get("v")
    wide = column.type.value if column else "STRING"
    rows = [(k, p, text(v, wide)) for _, (k, p, v) in sorted(model.items())]
    if keys:
        at = {"k": 0, "p": 1, "v": 2}
        rows = list({tuple(row[at[key.lower()]] for key in keys): row for row in rows}.values())
    assert sorted(map(repr, rows)) == sorted(repr((r["k"], r["p"], r.get("v"))) for r in found)
    assert {r.tp.partition for r in load.ranges} == {p for p, _ in model} if model else not found
