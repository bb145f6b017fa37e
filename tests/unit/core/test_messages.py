"""Messages of one poll, in columns."""

from __future__ import annotations

from connector.core.messages import MessageBatch, Span, reject
from connector.core.offsets import OffsetRange, TopicPartition
from connector.core.revived import Revived
from tests.fakes import FakeMessage


def test_messages_are_grouped_by_partition_in_offset_order() -> None:
    messages = [FakeMessage("t", p, o, b"%d-%d" % (p, o)) for p, o in ((1, 7), (0, 3), (1, 9), (0, 4))]
    batch = MessageBatch.of("t", messages)
    assert batch.values == [b"0-3", b"0-4", b"1-7", b"1-9"]
    assert [m.offset() for m in batch.messages] == batch.offsets.tolist() == [3, 4, 7, 9]
    assert batch.spans == (Span(OffsetRange("t", 0, 3, 5), 0, 2), Span(OffsetRange("t", 1, 7, 10), 2, 4))
    assert batch.ranges == (OffsetRange("t", 0, 3, 5), OffsetRange("t", 1, 7, 10))


def test_messages_that_are_in_order_stay_as_they_are() -> None:
    messages = [FakeMessage("t", 0, 1), FakeMessage("t", 2, 0, None)]
    batch = MessageBatch.of("t", messages)
    assert batch.messages is messages
    assert batch.values == [b"1", None]


def test_no_messages_cover_nothing() -> None:
    assert MessageBatch.of("t", []).spans == ()


def test_a_reject_holds_exactly_its_own_offset() -> None:
    batch = MessageBatch.of("t", [FakeMessage("t", 3, 8)])
    made = reject(batch, 0, "broken", "why")
    assert (made.message, made.tp, made.offset) == (batch.messages[0], TopicPartition("t", 3), 8)
    assert made.range == OffsetRange("t", 3, 8, 9)


def test_a_dead_letter_is_held_where_it_stands_and_named_after_where_it_came_from() -> None:
    origin = OffsetRange("orders", 2, 70, 71)
    batch = MessageBatch.of("dead", [Revived(FakeMessage("dead", 0, 8), origin)])
    assert (batch.ranges, batch.origins) == ((OffsetRange("dead", 0, 8, 9),), [origin])
    again = reject(batch, 0, "broken", "why")
    assert (again.range, again.origin) == (OffsetRange("dead", 0, 8, 9), origin)


def test_a_message_that_is_no_dead_letter_comes_from_where_it_is() -> None:
    batch = MessageBatch.of("t", [FakeMessage("t", 3, 8)])
    assert batch.origins is None
    assert MessageBatch.of("t", []).origins is None
    assert reject(batch, 0, "broken", "why").origin == OffsetRange("t", 3, 8, 9)
