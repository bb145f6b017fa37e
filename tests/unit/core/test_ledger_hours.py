"""The ledger over the hours: what their turn leaves of it, what refusals close and teach, and how it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from connector.core.entries import Kind
from connector.core.hours import HOUR
from tests.unit.core.book import NOON, SLOT, Book, after

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def book() -> Book:
    """A ledger whose only writer was there at noon."""
    made = Book()
    made.write(0.0)
    return made


# --- the turn of the hour -----------------------------------------------------------------------------------------


def test_with_the_hour_all_begins_anew(book: Book) -> None:
    book.live(3000)
    book.claim(0.0, "x")
    book.claim(0.0, "y", "b", in_flight=1)
    ledger = book.write(HOUR - 3000 + 1)
    assert (ledger.earned, ledger.spent, ledger.replays, ledger.claims, ledger.grants) == (0.0, 0, 0, {}, {})
    assert not ledger.spenders
    assert [w.replica for w in ledger.replicas] == ["a"]
    assert after(ledger.opens_at()) == HOUR + 1 + SLOT


def test_who_was_alive_in_one_hour_earns_in_the_next_only_once_it_has_spoken(book: Book) -> None:
    book.live(3600 - 15, "a", "b", share=0.5)
    book.write(16.0, share=0.5)
    assert book.write(15.0, share=0.5).earned == 0.5
    book.write(0.0, replica="b", share=0.5)
    assert book.write(15.0, share=0.5).earned == 1.5


def test_in_the_last_three_seconds_nothing_is_granted(book: Book) -> None:
    book.live(3585)
    book.claim(HOUR - 3585 - 3.0, "x")
    assert book.granted == []
    assert after(book.ledger.opens_at()) == HOUR


def test_just_before_that_a_push_is_granted(book: Book) -> None:
    book.live(3585)
    book.claim(HOUR - 3585 - 3.1, "x")
    assert book.granted == ["x"]


def test_what_was_granted_in_one_hour_is_not_given_back_to_the_next(book: Book) -> None:
    book.live(3585)
    book.claim(0.0, "x")
    book.live(30)
    assert book.end(1.0, "x", spent=False).spent == 0


# --- refusals -----------------------------------------------------------------------------------------------------


def test_a_refusal_closes_the_ledger_for_all(book: Book) -> None:
    book.live(60)
    book.write(0.0, Kind.CLOSED, "b", until=NOON + 100)
    book.claim(0.0, "x")
    assert after(book.ledger.opens_at()) == 100
    assert book.ledger.limit == 250
    book.write(39.0)
    assert book.granted == []
    book.write(1.0)
    assert book.granted == ["x"]


def test_a_closed_hour_opens_with_the_next_or_later(book: Book) -> None:
    book.write(0.0, Kind.CLOSED, until=NOON + HOUR + 100)
    assert book.ledger.left(book.team) == 0
    assert after(book.ledger.opens_at()) == HOUR + 100


def test_a_shorter_refusal_does_not_open_what_a_longer_one_closed(book: Book) -> None:
    book.write(0.0, Kind.CLOSED, until=NOON + 500)
    assert book.write(0.0, Kind.CLOSED, until=NOON + 5).closed_until == NOON + 500


def test_no_refusal_is_remembered_for_longer_than_a_reader_reads_back(book: Book) -> None:
    assert book.write(60.0, Kind.CLOSED, until=NOON + 99 * HOUR).closed_until == NOON + 4 * HOUR


def limits(book: Book, hours: int) -> Iterator[float]:
    """Yield the limit of each of the next hours."""
    for _ in range(hours):
        yield book.write(HOUR).limit


def test_what_a_refusal_taught_counts_from_the_next_hour_and_fades(book: Book) -> None:
    book.write(0.0, Kind.CLOSED, limit=150.0, until=NOON)
    assert book.ledger.limit == 250
    assert list(limits(book, 5)) == [150, 175, 193.75, 207.8125, 250]


def test_the_worst_lesson_of_an_hour_counts(book: Book) -> None:
    for limit in (180.0, 120.0, 150.0):
        book.write(1.0, Kind.CLOSED, limit=limit, until=NOON)
    assert next(limits(book, 1)) == 120
    assert book.ledger.rate == pytest.approx(120)


def test_lessons_that_do_not_count_any_more_are_forgotten(book: Book) -> None:
    book.write(0.0, Kind.CLOSED, limit=25.0, until=NOON)
    book.write(5 * HOUR, Kind.CLOSED, limit=200.0, until=NOON)
    assert next(limits(book, 1)) == 200


# --- how it stands ------------------------------------------------------------------------------------------------


def test_left_is_what_was_earned_and_what_the_rest_of_the_hour_brings_in(book: Book) -> None:
    book.live(1800)
    assert book.ledger.left(NOON + 1800) == 240
    book.claim(0.0, "x")
    assert book.ledger.left(NOON + 1800) == 239
    assert book.ledger.left(NOON + HOUR) == 240
    book.write(0.0, Kind.CLOSED, until=NOON + 3300)
    assert book.ledger.left(NOON + 1800) == 139


def test_without_income_nothing_is_granted_before_the_turn() -> None:
    book = Book()
    book.claim(0.0, "x", share=0.0)
    assert after(book.ledger.opens_at()) == HOUR
