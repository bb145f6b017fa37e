"""Dead letters as the messages that they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.core.offsets import OffsetRange
from connector.core.revived import DROPPED, FIELDS, PREFIX, Revived, origin_of, own_headers, value_dropped
from tests.fakes import FakeMessage

Headers = list[tuple[str, bytes | None]]

ADDED: Headers = [(PREFIX + field, b"7" if field in ("partition", "offset") else b"orders") for field in FIELDS]
ORIGIN = OffsetRange("orders", 7, 7, 8)


def test_a_revived_message_is_what_it_was_at_the_place_where_it_stands() -> None:
    letter = FakeMessage("dead", 1, 30, b"value", b"key", [("trace", b"1"), *ADDED])
    origin = origin_of(letter)
    assert origin == ORIGIN
    revived = Revived(letter, origin)
    assert (revived.topic(), revived.partition(), revived.offset()) == ("dead", 1, 30)
    assert (revived.key(), revived.value(), revived.headers()) == (b"key", b"value", [("trace", b"1")])
    assert (revived.timestamp(), revived.origin) == (letter.timestamp(), ORIGIN)


@pytest.mark.parametrize(
    "headers",
    [
        None,
        ADDED[1:],
        [(PREFIX + "topic", b"t"), (PREFIX + "partition", b"x"), (PREFIX + "offset", b"1")],
        [(PREFIX + "topic", b"t"), (PREFIX + "partition", b"1"), (PREFIX + "offset", None)],
        [(PREFIX + "topic", b"\xff"), (PREFIX + "partition", b"1"), (PREFIX + "offset", b"1")],
    ],
)
def test_without_readable_headers_the_origin_is_not_known(headers: Headers | None) -> None:
    assert origin_of(FakeMessage(headers_=headers)) is None


def test_a_letter_says_that_its_value_was_dropped() -> None:
    assert value_dropped(FakeMessage(headers_=[*ADDED, (DROPPED, b"9")]))
    assert not value_dropped(FakeMessage(headers_=ADDED))
    assert not value_dropped(FakeMessage())


NAMES = st.sampled_from([*(name for name, _ in ADDED[:3]), DROPPED, "trace", "a"])
OWN = st.lists(st.tuples(NAMES.filter(lambda n: n != DROPPED), st.one_of(st.none(), st.binary(max_size=3))), max_size=6)


@given(OWN)
def test_the_headers_of_the_user_are_as_they_were_whatever_their_names(own: Headers) -> None:
    assert own_headers([*own, *ADDED]) == own
    assert own_headers([*own, *ADDED, (DROPPED, b"9")]) == own
    assert origin_of(FakeMessage(headers_=[*own, *ADDED])) == ORIGIN
