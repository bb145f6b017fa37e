"""Our own entries: what is known of them by the time they are sent, acknowledged and read back."""

from __future__ import annotations

from functools import partial

import pytest

from connector.core.entries import Anchor
from connector.kafka.ledger_appends import Appends, Moment

UTC = 1_800_000_000.0


def at(mono: float) -> Moment:
    return Moment(mono, UTC + mono)


@pytest.mark.parametrize("read_first", [False, True])
def test_an_entry_that_is_read_back_is_the_anchor_whichever_word_comes_first(*, read_first: bool) -> None:
    appends = Appends()
    number = appends.sent(at(1))
    steps = [partial(appends.acknowledged, number, 7, 1.1), partial(appends.read, 7, UTC + 1.05, UTC + 1.2)]
    for step in reversed(steps) if read_first else steps:
        step()
    assert appends.anchor == Anchor(sent=1, at=UTC + 1.05)
    assert appends.trouble(100, 8) is None


def test_entries_of_others_are_no_anchor_and_are_not_kept() -> None:
    appends = Appends()
    appends.read(6, UTC, UTC)
    number = appends.sent(at(1))
    appends.read(7, UTC + 1, UTC + 1)
    appends.acknowledged(number, 8, 1.1)
    assert appends.anchor is None
    assert not appends._seen


def test_an_entry_that_is_not_acknowledged_is_trouble_until_it_is_read_back() -> None:
    appends = Appends()
    number = appends.sent(at(1))
    assert appends.trouble(6, 0) is None
    assert appends.trouble(6.1, 0) == "an entry is not acknowledged after 5 s"
    appends.acknowledged(number, 0, 7)
    appends.read(0, UTC + 6, UTC + 7)
    assert appends.trouble(8, 1) is None


def test_an_entry_that_failed_is_trouble_until_a_later_one_is_read_back() -> None:
    appends = Appends()
    earlier, failed, later = appends.sent(at(1)), appends.sent(at(2)), appends.sent(at(3))
    appends.refused(failed, "no")
    appends.acknowledged(earlier, 0, 3)
    appends.read(0, UTC + 3, UTC + 3)
    assert appends.trouble(4, 1) == "an entry was not taken: no"
    appends.acknowledged(later, 1, 4)
    appends.read(1, UTC + 4, UTC + 4)
    assert appends.trouble(4, 2) is None


def test_an_entry_that_was_taken_must_be_readable_soon() -> None:
    appends = Appends()
    appends.acknowledged(appends.sent(at(1)), 5, 2)
    assert appends.trouble(7, 5) is None
    assert appends.trouble(7.1, 5) == "an entry that was taken cannot be read after 5 s"
    assert appends.trouble(7.1, 6) is None, "it was passed, for what it was"


def test_an_entry_whose_offset_nobody_knows_is_neither_anchor_nor_trouble() -> None:
    appends = Appends()
    appends.acknowledged(appends.sent(at(1)), -1, 2)
    assert appends.trouble(100, 0) is None
    assert appends.anchor is None


@pytest.mark.parametrize(
    ("broker", "trouble"),
    [(-59, None), (-61, "about -60 s"), (0, None), (30, None), (89, None), (92, "about +60 s")],
)
def test_the_brokers_clock_must_agree_with_ours(broker: float, trouble: str | None) -> None:
    appends = Appends()
    appends.acknowledged(appends.sent(at(0)), 0, 1)
    appends.read(0, UTC + broker, UTC + 30)  # it was appended within these 30 s, by our clock
    found = appends.trouble(30, 1)
    assert (trouble in found) if found and trouble else found is trouble


def test_a_ledger_made_anew_has_no_anchor_and_nothing_on_its_way() -> None:
    appends = Appends()
    appends.acknowledged(appends.sent(at(1)), 0, 1)
    appends.read(0, UTC + 1, UTC + 1)
    appends.acknowledged(appends.sent(at(2)), 1, 2)
    number = appends.sent(at(3))
    appends.forget()
    assert appends.anchor is None
    assert appends.trouble(3, 0) == "an entry was not taken: the ledger was made anew"
    appends.acknowledged(number, 0, 3)
    appends.read(0, UTC + 3, UTC + 3)
    assert appends.anchor is None


def test_an_anchor_never_goes_back() -> None:
    appends = Appends()
    first, second = appends.sent(at(1)), appends.sent(at(2))
    appends.read(0, UTC + 1, UTC + 2)
    appends.read(1, UTC + 2, UTC + 2)
    appends.acknowledged(second, 1, 3)
    appends.acknowledged(first, 0, 3)
    assert appends.anchor == Anchor(sent=2, at=UTC + 2)
