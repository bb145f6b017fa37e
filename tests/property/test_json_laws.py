"""JSON: read in columns or message by message, the table is the same, batch after batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from connector.config import Table
from connector.core.columns import ColumnType, TableSchema
from connector.formats.decoder import TableDecoder
from connector.formats.json_objects import JsonFormat
from tests.fakes import message_batch

if TYPE_CHECKING:
    from connector.core.messages import Decoded

NAMES = st.sampled_from(["a", "b", "A", "a.b", "a_b", "c d", "1", ""])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "12", "1.5", "true", "2020-01-01", 'ü\n"\\', "\u2028\x7f"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=4
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)
# tables whose columns keep their sort, now and then broken by another, as real ones are
STEADY = st.fixed_dictionaries(
    {"id": st.integers(0, 9), "name": st.sampled_from(["x", "y"])},
    optional={
        "price": st.integers(0, 9) | st.floats(0, 9),
        "o": st.fixed_dictionaries({}, optional={"p": st.booleans()}),
    },
)
DUMPED = (OBJECTS | STEADY | STEADY).map(orjson.dumps)
SPREAD = STEADY.map(lambda o: b" " + orjson.dumps(o, option=orjson.OPT_INDENT_2) + b"\r\n")
RAW = st.sampled_from(
    [
        b'{"id":1,"id":"x"}', b'{"name":null,"name":"y","id":2}', b'{"id":-0}', b'{"price":-0}', b'{"price":1e400}',
        b'{"price":12345678901234567890123}', b'{"price":0.1e1}', b'{"id":1}{"id":2}', b'{"id":1', b',"id":2}', b"}{",
        b'{"name":"', b'"}', b"[]", b'{"price":NaN}', b'{"price":-Infinity}', b'{"name":"\xff"}', b'{"new":null}',
        b'{"id":9223372036854775808}', b'{"o":1}', b'{"o":{"p":null,"q":null}}', b'{"o":{"p":{}}}', b'{"n":{}}',
        b"\xef\xbb\xbf{}", b'{"name":"\\ud83d"}',
    ]
)  # fmt: skip
MUTATED = st.builds(
    lambda value, at, byte: value[:at] + bytes([byte]) + value[at + 1 :],
    DUMPED,
    st.integers(0, 40),
    st.sampled_from(b'{}[]",:\\ \n0e-.x\x00\xc3'),
)
MESSAGES = st.lists(st.one_of(DUMPED, DUMPED, SPREAD, RAW, MUTATED, st.none()), max_size=5)
TABLES = st.fixed_dictionaries(
    {"append": st.booleans()},
    optional={
        "columns": st.dictionaries(
            st.sampled_from(["id", "price", "name"]),
            st.one_of(st.builds(lambda t: {"type": t}, st.sampled_from(list(ColumnType))), st.just({"exclude": True})),
        )
    },
)


def plain(decoded: Decoded) -> Any:
    cells = [column.to_pylist() for column in decoded.batch.columns]
    rejects = sorted((r.offset, r.reason, r.detail) for r in decoded.rejects)
    return decoded.batch.schema, cells, decoded.rows.tolist(), rejects, decoded.tombstones, decoded.nulled_dates


def tables(settings: dict[str, Any]) -> tuple[TableDecoder, TableDecoder]:
    table = Table(topics=["t"], format="json", **settings)
    fast, slow = (TableDecoder(table, JsonFormat(columnar=c), TableSchema()) for c in (True, False))
    return fast, slow


@given(
    TABLES,
    st.lists(MESSAGES | st.lists(STEADY.map(orjson.dumps), min_size=1, max_size=4), max_size=6),
    st.integers(0, 6),
)
def test_both_readers_make_the_same_table_batch_after_batch(
    settings: dict[str, Any], batches: list[list[bytes | None]], established: int
) -> None:
    fast, slow = tables(settings)
    for number, values in enumerate(batches):
        messages = message_batch(*values)
        ours = fast.decode(messages)
        assert plain(ours) == plain(slow.decode(messages))
        assert fast.schema == slow.schema
        ours.batch.validate(full=True)
        every = [*ours.rows.tolist(), *(r.offset for r in ours.rejects)]
        assert sorted(every) == [i for i, v in enumerate(values) if v is not None]
        if number == established:
            fast.establish()
            slow.establish()


@given(st.lists(STEADY, min_size=1, max_size=4))
def test_a_value_is_found_in_its_column_as_it_was_sent(objects: list[dict[str, Any]]) -> None:
    fast, _ = tables({"append": True})
    for _ in range(2):
        found = fast.decode(message_batch(*map(orjson.dumps, objects))).batch.to_pylist()
        for row, sent in zip(found, objects, strict=True):
            flat = {
                **{k: v for k, v in sent.items() if k != "o"},
                **{f"o_{k}": v for k, v in sent.get("o", {}).items()},
            }
            assert {k: v for k, v in row.items() if v is not None} == flat


@given(OBJECTS, st.lists(OBJECTS, max_size=3), st.lists(OBJECTS, max_size=3))
def test_what_becomes_of_a_message_does_not_depend_on_those_beside_it(
    one: dict[str, Any], before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    alone, _ = tables({"append": True})
    among, _ = tables({"append": True})
    batch = [*before, one, *after]
    for decoder in (alone, among):  # the same table, with the same columns, established
        decoder.decode(message_batch(*map(orjson.dumps, batch)))
        decoder.establish()
    single = alone.decode(message_batch(orjson.dumps(one)))
    many = among.decode(message_batch(*map(orjson.dumps, batch)))
    mine = {int(n): row for n, row in zip(many.rows, many.batch.to_pylist(), strict=True)}.get(len(before))
    found = single.batch.to_pylist()
    assert [r.reason for r in single.rejects] == [r.reason for r in many.rejects if r.offset == len(before)]
    assert found == ([] if mine is None else [mine])
    assert not any(isinstance(v, float) and math.isnan(v) for row in found for v in row.values())
