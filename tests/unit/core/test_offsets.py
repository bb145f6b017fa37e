"""Ranges, and what may be committed."""

from __future__ import annotations

import pytest

from connector.core.offsets import OffsetRange, TopicPartition, merge_ranges, safe_offsets

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def at(start: int, end: int, partition: int = 0) -> OffsetRange:
    return OffsetRange("t", partition, start, end)


def test_they_are_written_as_people_read_them() -> None:
    assert str(A) == "t[0]"
    assert str(at(3, 7)) == "t[0]@3..7"
    assert at(3, 7, 1).tp == B


def test_ranges_of_a_partition_merge_into_one_from_the_lowest_to_the_highest() -> None:
    merged = merge_ranges([at(5, 7, 1), at(3, 4), at(8, 9), at(0, 1, 1)])
    assert merged == (at(3, 9), at(0, 7, 1))
    assert merge_ranges([]) == ()


@pytest.mark.parametrize(
    ("positions", "held", "safe"),
    [
        pytest.param({A: 9}, [], {A: 9}, id="with nothing held the position is safe"),
        pytest.param({A: 9}, [[at(4, 6)], [at(2, 3), at(7, 8)]], {A: 2}, id="the lowest of all holders counts"),
        pytest.param({A: 9, B: 5}, [[at(4, 6)]], {A: 4, B: 5}, id="partitions do not hold one another back"),
        pytest.param({A: 3}, [[at(4, 6)]], {A: 3}, id="after a seek back the position is lower than what is held"),
        pytest.param({B: 5}, [[at(4, 6)]], {B: 5}, id="a partition without a position is not ours"),
    ],
)
def test_what_may_be_committed(
    positions: dict[TopicPartition, int], held: list[list[OffsetRange]], safe: dict[TopicPartition, int]
) -> None:
    assert safe_offsets(positions, held) == safe
