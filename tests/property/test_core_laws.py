"""Core: offsets, names and types keep their promises whatever comes."""

from __future__ import annotations

from functools import reduce
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from connector.core.columns import Column, ColumnType, TableSchema, length_step, widened
from connector.core.names import MAX_NAME, column_names, safe_name
from connector.core.offsets import OffsetRange, TopicPartition, merge_ranges, safe_offsets

PARTITIONS = st.builds(TopicPartition, st.sampled_from("ab"), st.integers(0, 2))
POSITIONS = st.dictionaries(PARTITIONS, st.integers(0, 50))
RANGES = st.builds(
    lambda tp, start, size: OffsetRange(tp.topic, tp.partition, start, start + size),
    PARTITIONS,
    st.integers(0, 50),
    st.integers(1, 9),
)
HOLDERS = st.lists(st.lists(RANGES, max_size=4), max_size=4)


@given(POSITIONS, HOLDERS)
def test_nothing_above_a_held_offset_is_safe(
    positions: dict[TopicPartition, int], held: list[list[OffsetRange]]
) -> None:
    safe = safe_offsets(positions, held)
    assert safe.keys() == positions.keys()
    assert all(safe[tp] <= positions[tp] for tp in safe)
    assert all(safe[r.tp] <= r.start for holder in held for r in holder if r.tp in safe)
    starts = {r.tp: r.start for holder in held for r in holder}
    assert all(safe[tp] == positions[tp] for tp in safe if tp not in starts)


@given(POSITIONS, HOLDERS, st.data())
def test_what_is_safe_never_goes_back_while_less_is_held_and_positions_move_on(
    positions: dict[TopicPartition, int], held: list[list[OffsetRange]], data: st.DataObject
) -> None:
    before = safe_offsets(positions, held)
    fewer = [[r for r in holder if data.draw(st.booleans())] for holder in held]
    later = {tp: p + data.draw(st.integers(0, 5)) for tp, p in positions.items()}
    after = safe_offsets(later, fewer)
    assert all(after[tp] >= before[tp] for tp in before)


@given(st.lists(RANGES))
def test_merged_ranges_cover_all_and_are_one_a_partition(ranges: list[OffsetRange]) -> None:
    merged = {r.tp: r for r in merge_ranges(ranges)}
    assert len(merged) == len(merge_ranges(ranges)) == len({r.tp for r in ranges})
    assert all(merged[r.tp].start <= r.start and r.end <= merged[r.tp].end for r in ranges)


PARTS = st.sampled_from(
    ["a", "A", "a_b", "a.b", "b", "_", "", "1", "é", "epoch", "x" * 130, "X" * 130 + "!", "\x1f"]
) | st.text(max_size=4)
PATHS = st.lists(st.lists(PARTS, min_size=1, max_size=3).map(tuple), max_size=8)


@given(PATHS, PATHS, st.sets(st.sampled_from(["_kafka_offset", "a_b", "A"])))
def test_names_are_distinct_safe_and_stay(
    first: list[tuple[str, ...]], second: list[tuple[str, ...]], reserved: set[str]
) -> None:
    names = column_names(second, early := column_names(first, {}, reserved=reserved), reserved=reserved)
    assert early.items() <= names.items()
    assert names.keys() == {*first, *second}
    folded = [name.lower() for name in names.values()]
    assert len(set(folded)) == len(folded)
    assert not {r.lower() for r in reserved} & set(folded)
    for name in names.values():
        assert safe_name(name) == name
        assert len(name) <= MAX_NAME
    assert column_names(first, {}, reserved=reserved) == early


@given(st.lists(PARTS.map(lambda p: (p,)), max_size=5, unique=True), st.randoms())
def test_a_table_that_exists_gives_its_names_again_in_any_order(paths: list[tuple[str, ...]], random: object) -> None:
    names = column_names(paths, {})
    again = list(paths)
    random.shuffle(again)  # type: ignore[attr-defined]
    lives: dict[tuple[str, ...], str] = {}
    for path in again:
        lives = column_names([path], lives, columns=names.values())
    assert lives == names


TYPES = st.sampled_from(list(ColumnType))


@given(TYPES, TYPES, TYPES)
def test_widening_is_a_join(a: ColumnType, b: ColumnType, c: ColumnType) -> None:
    assert widened(a, b) is widened(b, a)
    assert widened(a, a) is a
    assert widened(widened(a, b), c) is widened(a, widened(b, c))


COLUMNS = st.lists(st.builds(Column, st.sampled_from(["a", "A", "b", "c"]), TYPES, st.integers(0, 99)), max_size=4)


@given(COLUMNS, COLUMNS)
def test_a_schema_only_widens_and_the_order_of_what_comes_does_not_matter(
    standing: list[Column], coming: list[Column]
) -> None:
    schema = TableSchema().joined(standing)
    joined = schema.joined(coming)
    assert [c.name for c in joined.columns][: len(schema.columns)] == [c.name for c in schema.columns]
    for before, after in zip(schema.columns, joined.columns, strict=False):
        assert widened(before.type, after.type) is after.type
        assert before.length <= after.length <= length_step(after.length)
    assert joined.joined(coming) is joined
    for order in permutations(coming):
        other = reduce(lambda s, c: s.joined([c]), order, schema)
        assert {(c.name.lower(), c.type, c.length) for c in other.columns} == {
            (c.name.lower(), c.type, c.length) for c in joined.columns
        }


@given(COLUMNS, COLUMNS)
def test_established_types_never_move(standing: list[Column], coming: list[Column]) -> None:
    schema = TableSchema().joined(standing).established()
    after = schema.joined(coming)
    assert [c.type for c in after.columns][: len(schema.columns)] == [c.type for c in schema.columns]
