"""What a replay does where messages of its range are gone: which offset it goes on from, or why it stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from connector.core.bounds import Range
from connector.core.offsets import TopicPartition
from connector.kafka.bounded import BoundedStarts
from tests.unit.kafka.reader import settings

if TYPE_CHECKING:
    from confluent_kafka import TopicPartition as ClientPartition

TP = TopicPartition("orders", 0)


class Log:
    """A partition that has the offsets from `low` to `high`."""

    def __init__(self, low: int, high: int) -> None:
        self._has = low, high

    def get_watermark_offsets(self, _: ClientPartition, **__: Any) -> tuple[int, int]:
        return self._has


def starts(low: int, high: int = 100, policy: str = "halt", *, from_earliest: bool, whole: bool) -> BoundedStarts:
    found = BoundedStarts(
        settings("127.0.0.1:1", on_data_loss=policy), {TP: Range(10, 60)}, from_earliest=from_earliest, whole=whole
    )
    found.consumer = cast("Any", Log(low, high))
    return found


@pytest.mark.parametrize("policy", ["halt", "earliest", "latest"])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("low", "expected"), [(40, 40), (60, 60), (80, 60)])
def test_from_earliest_the_range_begins_with_what_is_there(
    policy: str, low: int, expected: int, *, whole: bool
) -> None:
    found = starts(low, policy=policy, from_earliest=True, whole=whole)
    assert found.after_loss(TP, 10) == expected
    assert (found.lost, found.gone) == ({"orders": expected - 10}, {})


@pytest.mark.parametrize("policy", ["halt", "earliest", "latest"])
@pytest.mark.parametrize(("wanted", "from_earliest"), [(10, False), (20, False), (20, True)])
def test_a_table_is_never_replaced_by_less_than_was_asked_for(policy: str, wanted: int, *, from_earliest: bool) -> None:
    found = starts(40, policy=policy, from_earliest=from_earliest, whole=True)
    assert found.after_loss(TP, wanted) is None
    assert found.gone == {TP: f"messages {wanted} to 39 were deleted before they were read"}
    assert "--abandon" in found.hint(TP)
    assert "on_data_loss" not in found.hint(TP)


@pytest.mark.parametrize("policy", ["earliest", "latest"])
@pytest.mark.parametrize(("wanted", "from_earliest"), [(10, False), (20, False), (20, True)])
def test_elsewhere_the_setting_lets_it_go_on_with_what_is_there(
    policy: str, wanted: int, *, from_earliest: bool
) -> None:
    found = starts(40, policy=policy, from_earliest=from_earliest, whole=False)
    assert found.after_loss(TP, wanted) == 40
    assert (found.lost, found.gone) == ({"orders": 40 - wanted}, {})


def test_without_the_setting_it_stands_still_and_names_both_ways_out() -> None:
    found = starts(40, from_earliest=False, whole=False)
    assert found.after_loss(TP, 10) is None
    assert "set kafka.on_data_loss to earliest" in found.hint(TP)
    assert "--abandon" in found.hint(TP)


def test_a_partition_that_ends_below_its_range_can_only_be_forgotten() -> None:
    found = starts(0, 50, "earliest", from_earliest=True, whole=False)
    assert found.after_loss(TP, 10) is None
    assert found.gone == {TP: "it ends at 50, below 60: the topic was made anew, or cut"}
    assert "on_data_loss" not in found.hint(TP)


@pytest.mark.parametrize("policy", ["halt", "earliest", "latest"])
def test_what_is_there_after_all_is_read_from_where_it_was(policy: str) -> None:
    found = starts(15, policy=policy, from_earliest=False, whole=False)
    assert found.after_loss(TP, 20) == 20
    assert (found.lost, found.gone) == ({}, {})
