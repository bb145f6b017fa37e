"""Where partitions are read from first, and of which of them the client still asks for that."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END
from confluent_kafka import TopicPartition as ClientPartition

from connector.core.intents import Committed
from connector.core.offsets import TopicPartition
from connector.kafka.starts import Starts
from tests.unit.kafka.reader import settings

OLD, NEW = TopicPartition("orders", 0), TopicPartition("orders", 1)
COMMITTED = {OLD: Committed(7), NEW: Committed(-1)}


class Client:
    """Knows the offset at a time: 5, or none that is so late."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offsets_for_times(self, partitions: list[ClientPartition], **_: Any) -> list[ClientPartition]:
        return [ClientPartition(p.topic, p.partition, self._offset) for p in partitions]


@pytest.mark.parametrize(
    ("start", "at_time", "offset", "looks_up"),
    [
        ("earliest", 5, OFFSET_BEGINNING, {NEW}),
        ("latest", 5, OFFSET_END, {NEW}),
        ("2026-01-01T00:00:00Z", 5, 5, set()),
        ("2026-01-01T00:00:00Z", OFFSET_END, OFFSET_END, {NEW}),
    ],
)
def test_what_is_committed_starts_there_and_what_is_new_as_told(
    start: str, at_time: int, offset: int, looks_up: set[TopicPartition]
) -> None:
    starts = Starts(settings("127.0.0.1:1", start=start))
    starts.consumer = cast("Any", Client(at_time))
    assert [(p.partition, p.offset) for p in starts.of(COMMITTED)] == [(0, 7), (1, offset)]
    assert starts.looking_up == looks_up


def test_a_start_is_looked_up_until_something_of_the_partition_comes_or_it_goes_away() -> None:
    starts = Starts(settings("127.0.0.1:1"))
    starts.of({OLD: Committed(-1), NEW: Committed(-1)})
    starts.found([OLD])
    assert starts.looking_up == {NEW}
    starts.forget([NEW])
    assert not starts.looking_up
